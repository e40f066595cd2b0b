"""Key steps: pairs a second at 200 tokens a side on one core, and agreement with the textbook table.

    python benchmarks/keysteps.py [--tokens N] [--pairs N] [--rounds N] [--check N] [--json FILE]

Three sorts of pairs: unrelated texts of many and of few different tokens (the dearest there are: no common prefix,
nothing to skip), and texts that differ in one token of seven, as a mended rationale does. The table of the textbook
stands beside as the floor. Both take turns, round by round; time is that of the process.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence

from board import figures
from feints.curate.keysteps import key_steps

Pair = tuple[list[int], list[int]]


def textbook(a: Sequence[int], b: Sequence[int]) -> list[bool]:
    """Key tokens of `a` by the plain table and the trace back: delete, insert, diagonal."""
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    a, b = a[start:], b[start:]
    table = [list(range(len(b) + 1))]
    for i, token in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            row.append(min(table[-1][j] + 1, row[-1] + 1, table[-1][j - 1] + (token != other)))
        table.append(row)
    marks, i, j = [False] * len(a), len(a), len(b)
    while i or j:
        if i and table[i][j] == table[i - 1][j] + 1:
            i -= 1
            marks[i] = True
        elif j and table[i][j] == table[i][j - 1] + 1:
            j -= 1
        else:
            i, j = i - 1, j - 1
            marks[i] = a[i] != b[j]
    return [False] * start + marks


def unrelated(random_: random.Random, tokens: int, letters: int) -> Pair:
    """Two texts that share nothing but their alphabet."""
    first, second = ([random_.randrange(letters) for _ in range(tokens)] for _ in range(2))
    return first, second


def alike(random_: random.Random, tokens: int) -> Pair:
    """A text, and the same with one token of seven left out, replaced or doubled."""
    first = [random_.randrange(2000) for _ in range(tokens)]
    second: list[int] = []
    for token in first:
        change = random_.random()
        second += [] if change < 0.05 else [random_.randrange(2000)] if change < 0.1 else [token]
        second += [random_.randrange(2000)] if change > 0.95 else []
    return first, second


def rate(mark: Callable[[list[int], list[int]], object], pairs: Sequence[Pair]) -> float:
    """Pairs a second."""
    started = time.process_time()
    for pair in pairs:
        mark(*pair)
    return len(pairs) / (time.process_time() - started)


def check(count: int) -> None:
    """Stop with an error where a random pair is marked otherwise than by the table."""
    random_ = random.Random(0)
    for number in range(count):
        letters = random_.choice((2, 3, 5, 40))
        a, b = ([random_.randrange(letters) for _ in range(random_.randrange(9))] for _ in range(2))
        right, wrong = key_steps(a, b)
        if right.tolist() != textbook(a, b) or wrong.tolist() != textbook(b, a):
            raise SystemExit(f"pair {number} is marked otherwise: {a} {b}")
    print(f"{count:,} random pairs are marked as by the textbook table")


def main() -> None:
    """Print a line per sort of pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=200, help="tokens a side")
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", type=int, default=100_000, help="random pairs held against the table")
    parser.add_argument("--json", help="where to write the figures")
    arguments = parser.parse_args()
    check(arguments.check)
    random_ = random.Random(1)
    sorts: dict[str, Callable[[], Pair]] = {
        "unrelated, 2,000 different tokens": lambda: unrelated(random_, arguments.tokens, 2000),
        "unrelated, 30 different tokens": lambda: unrelated(random_, arguments.tokens, 30),
        "one token of seven changed": lambda: alike(random_, arguments.tokens),
    }
    found = []
    for name, draw in sorts.items():
        pairs = [draw() for _ in range(arguments.pairs)]
        few = pairs[: max(1, len(pairs) // 100)]
        sides: dict[str, list[float]] = {figures.OURS: [], "textbook table": []}
        for _ in range(arguments.rounds):
            sides[figures.OURS].append(rate(key_steps, pairs))
            sides["textbook table"].append(rate(lambda a, b: (textbook(a, b), textbook(b, a)), few))
        what = f"both masks of pairs of {arguments.tokens} tokens, {name}"
        found.append(figures.Figure(what=what, unit="pairs/s", better="more", sides=sides))
        print(figures.line(found[-1]), flush=True)
    note = f"{arguments.check:,} random pairs of up to 8 tokens are marked as by the textbook table."
    figures.write(arguments.json, found, notes=[note])


if __name__ == "__main__":
    main()
