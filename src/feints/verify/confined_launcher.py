"""Starts one confined program and waits for it; a process of its own, started by path, that imports nothing of ours.

Seconds count from the mark that the runner writes to standard error when it has loaded what the program imports.
Arguments: seconds, bytes of memory, path of the runner, folder of installed packages, then every readable path.
Standard input and output are one memory file of fixed size: the program goes in, its value comes out.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import select
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


def main() -> None:
    """Confine, run, kill what does not end; exit code 3: the time was up, 4: the memory, 5: it never began."""
    seconds, memory, runner, packages = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    sys.path.append(packages)
    import sandlock  # noqa: PLC0415  an extra

    drop_rights()
    deny_sockets()
    # Inherited, and not to be raised again without root's rights.
    processor = int(seconds) + 8
    resource.setrlimit(resource.RLIMIT_CPU, (processor, processor))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    sandbox = sandlock.Sandbox(
        fs_readable=sys.argv[5:],
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
    ready, _, _ = select.select([process.stderr], [], [], _START_LIMIT)
    if not ready or os.read(process.stderr.fileno(), 1) != b"S":
        process.kill()
        sys.exit(5)
    reason = process.wait(timeout=seconds).reason.name
    sys.exit({"EXITED": 0, "TIMEOUT": 3, "KILLED": 4}.get(reason, 1))


if __name__ == "__main__":
    try:
        main()
    except Exception:  # the sandbox failed, not the program
        sys.exit(5)
