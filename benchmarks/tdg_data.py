"""NEG and POS sets out of recorded MATH rationales: counts beside those of the TDG specification, and label repairs.

    python benchmarks/tdg_data.py ../shared/data/rationales/math_train_gpt35_8samples.jsonl.gz --repairs repairs.jsonl

Two labels are compared: the released rule (last boxed expressions equal as strings after the normalisation of the MATH
data set) and the recorded one, mended by hand where rules disagree. A negative that states the right answer without a
box is a repair. The length filter counts characters of question, newline and rationale.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from collections import Counter
from pathlib import Path

NEG_CHARACTERS, NCE_CHARACTERS = 1600, 1200
PUBLISHED = {
    "gpt35": {"right": (21_127, 20_849, 20_545), "wrong": (38_873, 33_143)},
    "gpt4": {"right": (28_117, 27_587, 26_505), "wrong": (31_883, 27_583)},
}
"""Section 8, over all 7,500 problems: all samples, those below 1,600 characters, those below 1,200 where given."""
SPANS = ("all", f"below {NEG_CHARACTERS}", f"below {NCE_CHARACTERS}")
_SQRT = re.compile(r"\\sqrt(\w)")
_FRAC = re.compile(r"\\frac(\w)(\w)")
_SLASH = re.compile(r"(-?\d+)/(\d+)")


def boxed(text: str) -> str | None:
    """What the last box of a text holds; None without one."""
    starts = [match.end() for match in re.finditer(r"\\f?boxed\s*\{", text)]
    if not starts:
        return None
    depth, start = 1, starts[-1]
    for end in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            return text[start:end]
    return None


def normal(answer: str) -> str:
    """String rules of section 1: look, units, degrees, percent, leading zeros, short prefixes, bare arguments."""
    text = answer.replace("\n", "").replace("\\!", "").replace("\\\\", "\\")
    text = text.replace("tfrac", "frac").replace("dfrac", "frac").replace("\\left", "").replace("\\right", "")
    text = text.replace("^{\\circ}", "").replace("^\\circ", "").replace("\\$", "").replace("\\%", "").replace("%", "")
    if "\\text{ " in text:
        text = text.split("\\text{ ")[0]
    text = text.replace(" .", " 0.").replace("{.", "{0.")
    text = "0" + text if text.startswith(".") else text
    if text.count("=") == 1 and len(text.split("=")[0]) <= 2:
        text = text.split("=")[1]
    text = _FRAC.sub(r"\\frac{\1}{\2}", _SQRT.sub(r"\\sqrt{\1}", text).replace(" ", ""))
    text = "\\frac{1}{2}" if text == "0.5" else text
    return _SLASH.sub(r"\\frac{\1}{\2}", text) if _SLASH.fullmatch(text) else text


def released_label(gold: str, text: str) -> bool:
    """Right as the released code has it; gold is the boxed part of the data set's solution."""
    said = boxed(text)
    return said is not None and normal(said) == normal(gold)


def beside(model: str, counts: Counter[tuple[str, str, str]], problems: int) -> list[str]:
    """Ours, by the released rule, beside the specification's: samples a problem, and the share each filter keeps."""
    lines = []
    for side, known in PUBLISHED[model].items():
        own = [counts["released", span, side] for span in SPANS]
        lines.append(f"{side}: {own[0] / problems:.3f} samples a problem, specification {known[0] / 7500:.3f}")
        for span, here, there in list(zip(SPANS, own, known, strict=False))[1:]:
            lines.append(f"{side}, {span}: {here / own[0]:.1%} kept, specification {there / known[0]:.1%}")
    return lines


def main() -> None:
    """Count and print; write the repairs where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rationales", type=Path)
    parser.add_argument("--repairs", type=Path, help="JSONL of ids and texts whose label the recorded one mends")
    options = parser.parse_args()
    counts: Counter[tuple[str, str, str]] = Counter()
    kinds: Counter[str] = Counter()
    repairs, problems = [], 0
    with gzip.open(options.rationales, "rt", encoding="utf-8") as stream:
        for row in map(json.loads, stream):
            problems += 1
            for index, sample in enumerate(row["samples"]):
                length = len(row["question"]) + 1 + len(sample["text"])
                old, new = released_label(row["answer"], sample["text"]), sample["correct"]
                sides = {"released": "right" if old else "wrong"}
                sides["mended"] = {True: "right", False: "wrong", None: "not judged"}[new]
                for rule, side in sides.items():
                    counts[rule, "all", side] += 1
                    counts[rule, f"below {NEG_CHARACTERS}", side] += length < NEG_CHARACTERS
                    counts[rule, f"below {NCE_CHARACTERS}", side] += length < NCE_CHARACTERS
                if new is not old:
                    box = "boxed" if boxed(sample["text"]) is not None else "no box"
                    kinds[f"{sides['released']} -> {sides['mended']}, {box}"] += 1
                    repairs.append({"id": row["id"], "sample": index, "released": old, "mended": new, "box": box})
    print(f"{options.rationales.name}: {problems:,} problems, {sum(kinds.values()):,} labels mended")
    for rule in ("released", "mended"):
        for span in SPANS:
            right, wrong, rest = (counts[rule, span, side] for side in ("right", "wrong", "not judged"))
            share = 100 * right / max(1, right + wrong)
            print(f"{rule:9} {span:11} right {right:6,}  wrong {wrong:6,}  not judged {rest:4,}  {share:5.1f} % right")
    for kind, count in kinds.most_common():
        print(f"  {count:6,}  {kind}")
    for model in PUBLISHED:
        if model in options.rationales.name:
            print("\n".join(beside(model, counts, problems)))
    if options.repairs:
        options.repairs.write_text("".join(json.dumps(row) + "\n" for row in repairs), encoding="utf-8")


if __name__ == "__main__":
    main()
