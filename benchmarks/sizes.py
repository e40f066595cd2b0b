"""What installing costs: packages and MB of feints, of feints[train] and of each peer, in fresh environments.

python benchmarks/sizes.py [--json FILE]
"""

from __future__ import annotations

import argparse

from board import environments, figures

TORCH_FREE = ("curator", "distilabel", "math-verify")


def main() -> None:
    """Install what is not installed yet, and weigh it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="where to write the figures")
    arguments = parser.parse_args()
    weights = {}
    for name in environments.known():
        environments.install(name)
        weights[name] = environments.weigh(name)
    with_torch = tuple(name for name in weights if name not in (*TORCH_FREE, *environments.OWN))
    found = []
    for own, peers, what in (("feints", TORCH_FREE, "core"), ("feints-train", with_torch, "with training")):
        for place, unit in ((0, "packages"), (1, "MB")):
            sides = {figures.OURS: [float(weights[own][place])]} | {p: [float(weights[p][place])] for p in peers}
            found.append(figures.Figure(what=f"installed, {what}", unit=unit, better="less", sides=sides))
    for figure in found:
        print(figures.line(figure))
    figures.write(arguments.json, found)


if __name__ == "__main__":
    main()
