"""Environments of the peers: one each under .bench, exactly the versions of benchmarks/peers, installed once."""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINS, PLACE = ROOT / "benchmarks" / "peers", ROOT / ".bench"
OWN = {"feints": ".", "feints-train": ".[train]"}
"""Our own installations, made as a user makes them, to be weighed beside the peers'."""


def known() -> list[str]:
    """Every environment that can be made."""
    return [*OWN, *sorted(path.stem for path in PINS.glob("*.txt"))]


def interpreter(name: str) -> Path:
    """The Python of an environment."""
    return PLACE / name / "bin" / "python"


def install(name: str) -> Path:
    """Make the environment of a peer unless it is there as pinned; its Python.

    torch comes first and by itself, so that a machine with a build of its own (CPU, another CUDA) takes that one.

    Raises:
        SystemExit: no such peer, or pip could not install it.
    """
    if name not in known():
        raise SystemExit(f"no peer is called {name!r}; known: {', '.join(known())}")
    pins = ROOT / "constraints.txt" if name in OWN else PINS / f"{name}.txt"
    lines = [line.strip() for line in pins.read_text(encoding="utf-8").splitlines() if line[:1].isalnum()]
    wanted = hashlib.sha256("\n".join([OWN.get(name, ""), *lines, _own_needs(name)]).encode()).hexdigest()
    stamp, python = PLACE / name / "installed", interpreter(name)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"installing {name} into {PLACE / name}", flush=True)
    _run(sys.executable, "-m", "venv", "--clear", str(PLACE / name))
    pip = (str(python), "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check")
    torch = [line for line in lines if line.startswith("torch==")]
    if torch and name != "feints":
        _run(*pip, *torch)
    _run(*pip, *(("--constraint", str(pins), f"{ROOT}{OWN[name][1:]}") if name in OWN else ("-r", str(pins))))
    stamp.write_text(wanted, encoding="utf-8")
    return python


def _own_needs(name: str) -> str:
    return (ROOT / "pyproject.toml").read_text(encoding="utf-8") if name in OWN else ""


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")


def weigh(name: str) -> tuple[int, float]:
    """Packages and MB of an environment, pip and setuptools left out."""
    look = (
        "import json, importlib.metadata as m, pathlib, sysconfig\n"
        "place = pathlib.Path(sysconfig.get_paths()['purelib'])\n"
        "tools = ('pip', 'setuptools')\n"
        "names = {d.metadata['Name'].lower() for d in m.distributions()} - set(tools)\n"
        "files = [f for f in place.rglob('*') if f.is_file() and not f.is_symlink()\n"
        "         and not f.relative_to(place).parts[0].lower().startswith((*tools, '_distutils_hack'))\n"
        "         and '__pycache__' not in f.parts]\n"
        "print(json.dumps([len(names), sum(f.stat().st_size for f in files) / 1e6]))\n"
    )
    done = subprocess.run([str(interpreter(name)), "-I", "-c", look], capture_output=True, text=True, check=True)
    packages, size = json.loads(done.stdout)
    return int(packages), float(size)


def main() -> None:
    """Install the environments named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", nargs="*", help="all unless named")
    for name in parser.parse_args().peers or known():
        install(name)
        print(f"{name}: {weigh(name)[0]} packages, {weigh(name)[1]:.0f} MB")


if __name__ == "__main__":
    main()
