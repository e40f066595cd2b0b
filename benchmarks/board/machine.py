"""Where a benchmark ran: commit, cores, processor, Python, versions of libraries."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NAMED = (
    "aiohttp", "bespokelabs-curator", "datasets", "distilabel", "math-verify", "numpy", "openai", "pydantic-monty",
    "sandlock", "sympy", "tokenizers", "torch", "transformers", "trl", "z3-solver",
)  # fmt: skip
"""Libraries whose version explains a figure."""


def machine() -> dict[str, Any]:
    """The computer, and how busy it is at this moment."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": processor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def processor() -> str:
    """Its name, as the system gives it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions(python: str | Path | None = None) -> dict[str, str]:
    """Versions of the libraries that explain a figure, of this environment or of another one's interpreter."""
    if python is not None:
        done = subprocess.run([str(python), __file__], capture_output=True, text=True, check=True)
        found: dict[str, str] = json.loads(done.stdout)
        return found
    here = {(one.metadata["Name"] or "").lower().replace("_", "-"): one.version for one in distributions()}
    return {name: here[name] for name in NAMED if name in here}


def commit() -> str:
    """The commit, and a plus sign where source files differ from it."""
    words = ["git", "rev-parse", "--short", "HEAD"]
    head = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    changed = ["git", "status", "--porcelain", "--", "src", "benchmarks/*.py", "benchmarks/peers", "benchmarks/board"]
    dirty = subprocess.run(changed, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return head + ("+" if dirty else "")


if __name__ == "__main__":
    print(json.dumps(versions()))
