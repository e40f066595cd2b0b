"""Starts confined programs, one at a time; a process of its own, started by path, that imports nothing of ours.

It lives on from one program to the next, for loading sandlock takes ten times as long as starting a program.
Seconds count from the mark that the runner writes to standard error when it has loaded what the program imports.
Arguments: seconds, bytes of memory, path of the runner, folder of installed packages, then every readable path.
Standard input is a socket. A byte with a memory file of fixed size comes in for each program: the program stands in
the file, and its value will. A byte goes out: 0, the program ended; 1, it was ended otherwise; 3, the time was up;
4, the memory; 5, it never began.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import select
import socket
import struct
import sys

_START_LIMIT = 30.0
"""Seconds that our runner may take to load what the program imports, on a busy machine."""
_UNGUARDED = (
    # change files, or read what is written beside their content
    "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes utimensat futimesat file_setattr "
    "setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat "
    "getxattr lgetxattr fgetxattr getxattrat listxattr llistxattr flistxattr listxattrat file_getattr "
    "inotify_init inotify_init1 fanotify_init sync syncfs "
    # reach for other processes: their limits, their place on the processors, their memory
    "prlimit64 setpriority ioprio_set sched_setaffinity sched_setscheduler sched_setparam sched_setattr "
    "migrate_pages move_pages process_madvise process_mrelease kcmp "
    # are the administrator's
    "chroot open_tree fsopen fspick fsmount move_mount mount_setattr clock_settime clock_adjtime adjtimex settimeofday "
    "sethostname setdomainname syslog modify_ldt mq_open mq_unlink"
)
"""Calls that neither Landlock nor sandlock keeps from a program: found by the escape corpus."""
_SOCKET = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""Audit number of the machine, and the number of its call `socket`."""
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 24, 38, 22


def drop_rights() -> None:
    """Leave root's rights to none that is started from here, whatever user we are."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if os.geteuid() == 0:
        for right in range(64):
            prctl(_PR_CAPBSET_DROP, right, 0, 0, 0)


def deny_sockets() -> None:
    """Refuse every new socket to all that is started from here, by a filter beside sandlock's.

    Landlock guards TCP's connect and bind only: Fast Open and multipath TCP went past it.

    Raises:
        OSError: the machine is of another kind, or has no such filters.
    """
    audit, number = _SOCKET.get(platform.machine(), (0, 0))
    if not number:
        raise OSError(f"no filter for {platform.machine()}")
    load, jump_if_equal, end = 0x20, 0x15, 0x06
    refused, allowed = 0x00050000 | 1, 0x7FFF0000
    steps = (
        (load, 0, 0, 4),
        (jump_if_equal, 0, 2, audit),
        (load, 0, 0, 0),
        (jump_if_equal, 1, 0, number),
        (end, 0, 0, allowed),
        (end, 0, 0, refused),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_PR_SET_SECCOMP, 2, program, 0, 0):
        raise OSError(ctypes.get_errno(), "the filter was refused")


def serve(seconds: float, memory: int, runner: str, packages: str, readable: list[str]) -> int:
    """Confine and run the program on standard input, kill it if it does not end; the byte that tells how it went."""
    import sandlock  # noqa: PLC0415  an extra

    sandbox = sandlock.Sandbox(
        fs_readable=readable,
        fs_writable=["/dev/null"],
        max_memory=2 * memory,
        max_processes=1,
        clean_env=True,
        env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
        random_seed=0,
        no_coredump=True,
        extra_deny_syscalls=_UNGUARDED.split(),
    )
    process = sandbox.popen(
        [sys.executable, "-I", "-S", "-B", runner, packages], stderr=sandlock.sandbox.StdioMode.PIPED
    )
    with process.stderr as mark:
        ready, _, _ = select.select([mark], [], [], _START_LIMIT)
        if not ready or os.read(mark.fileno(), 1) != b"S":
            process.kill()
            process.wait()
            return 5
        reason = process.wait(timeout=seconds).reason.name
    return {"EXITED": 0, "TIMEOUT": 3, "KILLED": 4}.get(reason, 1)


def main() -> None:
    """Give up rights and room for good, then serve until the socket is closed from the other side."""
    seconds, memory = float(sys.argv[1]), int(sys.argv[2])
    runner, packages, *readable = sys.argv[3:]
    # No copy of the socket is inherited by a program.
    channel = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    sys.path.append(packages)
    drop_rights()
    deny_sockets()
    # Inherited, and not to be raised again without root's rights.
    processor = int(seconds) + 8
    resource.setrlimit(resource.RLIMIT_CPU, (processor, processor))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    os.dup2(null, 0)
    while True:
        message, places, _, _ = socket.recv_fds(channel, 1, 1)
        if not message:
            return
        for stream in (0, 1):
            os.dup2(places[0], stream)
        os.close(places[0])
        try:
            code = serve(seconds, memory, runner, packages, readable)
        except Exception:  # the sandbox failed, not the program
            code = 5
        for stream in (0, 1):
            os.dup2(null, stream)
        channel.send(bytes([code]))


if __name__ == "__main__":
    main()
