"""Key steps of real chains: natural pairs of recorded GPT-3.5 rationales of MATH, the share of key tokens, the time.

    python benchmarks/real_pairs.py [--data FILE] [--read N] [--out FILE] [--words N] [--most N]

Every wrong rationale is paired with a right one of its problem (labels are those of the file). Tokens are those of a
byte-level BPE trained on the same file, since no published one can be fetched everywhere; give --tokenizer to use
another. Prints median and quartiles of the share of key tokens on both sides and the time; writes pairs to read,
key tokens in [square brackets] (right) and {braces} (wrong). Nothing of the data is kept in the repository.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from feints.curate.dual import natural_pairs
from feints.curate.keysteps import Mask, key_steps
from feints.records import Rationale
from feints.train.scratch import texts_of

END = -1


def rationales(rows: Sequence[dict[str, Any]]) -> tuple[list[Rationale], list[Rationale]]:
    """Right and wrong ones; those not judged are left out."""
    piles: dict[bool, list[Rationale]] = {True: [], False: []}
    for row in rows:
        for number, sample in enumerate(row["samples"]):
            if sample["correct"] is not None and sample["text"].strip():
                name = f"{row['id']}/{number}"
                piles[sample["correct"]].append(Rationale(id=name, problem_id=row["id"], text=sample["text"].strip()))
    return piles[True], piles[False]


def make_tokenizer(texts: Path, words: int) -> Tokenizer:
    """A byte-level BPE of the file's own texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=words, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts_of(texts), trainer)
    return tokenizer


def quartiles(name: str, shares: Sequence[float]) -> str:
    """A line such as "right: 31 % [18, 47]"."""
    low, middle, high = statistics.quantiles(shares, n=4)
    return f"{name}: median {middle:.1%}, quartiles {low:.1%} and {high:.1%}, mean {statistics.fmean(shares):.1%}"


def marked(ids: Sequence[int], mask: Mask, decode: Callable[[list[int]], str], around: str) -> str:
    """The text with its key tokens between the two marks, neighbours joined."""
    parts: list[str] = []
    start = 0
    while start < len(ids):
        end = start
        while end < len(ids) and mask[end] == mask[start]:
            end += 1
        text = decode([token for token in ids[start:end] if token != END]) + ("<end>" if END in ids[start:end] else "")
        parts.append(f"{around[0]}{text}{around[1]}" if mask[start] else text)
        start = end
    return "".join(parts)


def _arguments() -> argparse.Namespace:
    default = Path(__file__).resolve().parents[2] / "shared/data/rationales/math_train_gpt35_8samples.jsonl.gz"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json instead of one trained here")
    parser.add_argument("--words", type=int, default=32_000)
    parser.add_argument("--most", type=int, default=10**9, help="most pairs")
    parser.add_argument("--read", type=int, default=10, help="pairs written out to read")
    parser.add_argument("--out", type=Path, default=Path("runs/real_pairs.txt"))
    return parser.parse_args()


def main() -> int:
    """Print the figures and write pairs to read."""
    arguments = _arguments()
    if not arguments.data.is_file():
        print(f"no such file: {arguments.data}; give --data", file=sys.stderr)
        return 1
    with gzip.open(arguments.data, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    right, wrong = rationales(rows)
    by_id = {row.id: row for row in (*right, *wrong)}
    pairs = natural_pairs(right, wrong, seed=0)[: arguments.most]
    began = time.perf_counter()
    given = arguments.tokenizer
    tokenizer = Tokenizer.from_file(str(given)) if given else make_tokenizer(arguments.data, arguments.words)
    trained = time.perf_counter() - began
    used = sorted({name for pair in pairs for name in (pair.right_id, pair.wrong_id)})
    encoded = tokenizer.encode_batch([by_id[name].text for name in used], add_special_tokens=False)
    ids = {name: (*found.ids, END) for name, found in zip(used, encoded, strict=True)}
    began = time.process_time()  # others may be at work on the same cores
    masks = [key_steps(ids[pair.right_id], ids[pair.wrong_id]) for pair in pairs]
    seconds = time.process_time() - began
    lengths = [len(ids[name]) for pair in pairs for name in (pair.right_id, pair.wrong_id)]
    problems = len({pair.problem_id for pair in pairs})
    print(f"{len(pairs):,} pairs of {problems:,} problems; {len(right):,} right and {len(wrong):,} wrong rationales")
    print(f"median {statistics.median(lengths):.0f} tokens a text, longest {max(lengths):,}; tokenizer of "
          f"{tokenizer.get_vocab_size():,} tokens, {trained:.0f} s")  # fmt: skip
    print(quartiles("right", [float(mask.mean()) for mask, _ in masks]))
    print(quartiles("wrong", [float(mask.mean()) for _, mask in masks]))
    apart = sum(bool(mask.mean() <= 0.5) for mask, _ in masks)
    print(f"{apart:,} pairs ({apart / len(pairs):.1%}) are kept by drop_disjoint: at most half the right text is key")
    print(f"{seconds:.1f} s for key steps, {len(pairs) / seconds:,.0f} pairs/s; "
          f"{sum(not mask.any() for mask, _ in masks):,} pairs without a key token on the right side")  # fmt: skip
    questions = {row["id"]: row["question"] for row in rows}
    shown = random.Random(0).sample(range(len(pairs)), min(arguments.read, len(pairs)))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", encoding="utf-8") as file:
        for number in shown:
            pair, (one, other) = pairs[number], masks[number]
            right_text = marked(ids[pair.right_id], one, tokenizer.decode, "[]")
            wrong_text = marked(ids[pair.wrong_id], other, tokenizer.decode, "{}")
            file.write(f"=== {pair.problem_id}\n{questions[pair.problem_id]}\n")
            file.write(f"--- right, {one.mean():.0%} key\n{right_text}\n")
            file.write(f"--- wrong, {other.mean():.0%} key\n{wrong_text}\n\n")
    print(f"{len(shown)} pairs to read: {arguments.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
