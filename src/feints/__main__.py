"""python -m feints: the command line."""

from __future__ import annotations

from feints.cli import main

main()
