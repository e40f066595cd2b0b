"""Starts one confined program and waits for it; a process of its own, started by path, that imports nothing of ours.

Seconds count from the mark that the runner writes to standard error when it has loaded what the program imports.
Arguments: seconds, bytes of memory, path of the runner, folder of installed packages, then every readable path.
Standard input and output are one memory file of fixed size: the program goes in, its value comes out.
"""

from __future__ import annotations

import os
import resource
import select
import sys

_START_LIMIT = 30.0
"""Seconds that our runner may take to load what the program imports, on a busy machine."""
_UNGUARDED = (
    "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes utimensat futimesat "
    "setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr setpriority"
)
"""Calls that change files and that Landlock does not guard: found by the escape corpus."""


def main() -> None:
    """Confine, run, kill what does not end; exit code 3: the time was up, 4: the memory."""
    seconds, memory, runner, packages = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    sys.path.append(packages)
    import sandlock  # noqa: PLC0415  an extra

    # Inherited; backstops only, since sandbox and timer hold the same limits.
    processor = int(seconds) + 8
    resource.setrlimit(resource.RLIMIT_CPU, (processor, processor))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    sandbox = sandlock.Sandbox(
        fs_readable=sys.argv[5:],
        fs_writable=["/dev/null"],
        max_memory=2 * memory,
        max_processes=1,
        max_open_files=64,
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
    if not ready:
        process.kill()
        sys.exit(1)
    os.read(process.stderr.fileno(), 1)
    reason = process.wait(timeout=seconds).reason.name
    sys.exit({"EXITED": 0, "TIMEOUT": 3, "KILLED": 4}.get(reason, 1))


if __name__ == "__main__":
    main()
