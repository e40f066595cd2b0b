"""Fuzzes the checkers and parsers: mutated real answers of every kind must neither crash, hang nor go unchecked.

    python benchmarks/fuzz.py [--count 200000] [--seed 0] [--kinds number latex ...] [--save FILE] [--json FILE]

Real answers come from ../shared/data: the labelled triples, recorded rationales and recorded programs; equations and
constraints are made of the programs. Case i is drawn from (seed, i) alone, so any case can be made again. A crash is
any exception but the documented error about a gold answer; a hang is more than `--limit` seconds of computing in this
process, a program's or solver's own deadline being its limit. What fails is written to `--save` (the data is not ours
to commit: shorten it, and add it to tests/verify/test_fuzzed.py); `--again FILE` judges such a file anew. Exit code 1
with a crash, a hang or a disagreement, 4 with nothing but more than 0.1 % not_checked.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from board import figures
from feints.records import AnswerKind, Choice, Finish, Form, Judgement, Problem, Verdict
from feints.verify.gold import gold_error
from feints.verify.judge import Item, judge
from feints.verify.pool import CheckerPool
from mutation import Case, mutated

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SAVED = Path(__file__).resolve().parents[1] / "runs" / "fuzz-failures.jsonl"
SHARES = {"number": 25, "latex": 30, "choice": 12, "boolean": 10, "text": 10, "pot": 3, "eot": 5, "sat": 5}
"""Per cent of the cases of each kind."""
NAMES = {"number": "number", "option": "choice", "yesno": "boolean", "text": "text", "latex": "latex"}
MOST = 0.001
"""Share of cases that may end as not_checked."""
GARBLED = "not_checked for want of a readable gold answer"
"""Where the gold answer itself was mutated: its fault, counted apart."""
UNCHECKED = "saved as not checked"
BATCH, EVERY = 600, 10
"""Cases of a batch; of every so many batches the pool's workers judge all, and must agree."""


class Hang(BaseException):
    """More computing than a text may take; no Exception, so that nothing catches it on the way."""


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSONL file."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def load(folder: Path) -> dict[str, list[Case]]:
    """Real answers by kind."""
    found: dict[str, list[Case]] = {kind: [] for kind in SHARES}
    for name in ("unit_pairs.jsonl", "math_pairs.jsonl", "responses.jsonl.gz"):
        for row in rows(folder / "answer_check" / name):
            options = [(option["label"], option["text"]) for option in row.get("options") or ()]
            kind = NAMES[row.get("answer_type", "latex")]
            found[kind].append(Case(kind, row["gold"], row["response"], row.get("question") or "", options))
    for name in ("math_train_gpt35_8samples", "zero_shot_cot_davinci002", "bbh_code_davinci002", "tora_gsm8k"):
        for row in rows(folder / "rationales" / f"{name}.jsonl.gz"):
            kind = NAMES.get(row["answer_type"], "latex")
            options = [(option["label"], option["text"]) for option in row["options"] or ()]
            found[kind].append(Case(kind, row["answer"], row["samples"][0]["text"], row["question"], options))
    for row in rows(folder / "rationales" / "program_of_thoughts.jsonl.gz"):
        text = row["samples"][0]["text"]
        if "ans" not in text or not re.search(r"\d", row["answer"]):
            continue  # the letter of an option is no number that a program states
        found["pot"].append(Case("pot", row["answer"], text, row["question"], []))
        if all("=" in line and not line.startswith((" ", "if", "for")) for line in text.splitlines() if line.strip()):
            found["eot"].append(Case("eot", row["answer"], text, row["question"], []))
            found["sat"].append(Case("sat", row["answer"], f"{text}\nsolve(ans)", row["question"], []))
    return found


def item(case: Case) -> Item:
    """What the checker is given."""
    kind = AnswerKind.NUMBER if case.kind in ("pot", "eot", "sat") else AnswerKind(case.kind)
    choices = tuple(Choice(label=label, text=text) for label, text in case.options)
    problem = Problem(
        id="fuzz",
        question=case.question,
        answer=case.gold,
        answer_kind=kind,
        task="fuzz",
        split="test",
        choices=choices,
    )
    return problem, case.text, "", Finish.UNKNOWN


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises Hang in what computes for longer; other processes of the machine do not count."""

    def ring(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


class Fuzzer:
    """Judges cases and keeps account."""

    def __init__(self, pool: CheckerPool, limit: float, save: Path) -> None:
        self.pool, self.limit, self.save = pool, limit, save
        self.counts: Counter[tuple[str, str]] = Counter()
        self.failures: list[dict[str, Any]] = []

    def batch(self, cases: list[Case], whole: bool) -> None:
        """Judge a batch; with `whole`, the pool judges all of it as well."""
        by_form: dict[Form, list[tuple[Case, Item]]] = {}
        for case in cases:
            asked = self.guarded(case, "gold", lambda case=case: self.readable(case))
            if asked is not None:
                form = Form(case.kind) if case.kind in ("pot", "eot", "sat") else Form.COT
                by_form.setdefault(form, []).append((case, asked))
        verdicts: list[tuple[Case, Verdict]] = []
        for form, asked_for in by_form.items():
            verdicts += self.plain(asked_for, whole) if form is Form.COT else self.executed(asked_for, form)
        for case, verdict in verdicts:
            if verdict.value is Judgement.NOT_CHECKED and case.gold_mutated:
                self.counts[case.kind, GARBLED] += 1
                continue
            self.counts[case.kind, verdict.value.value] += 1
            if verdict.value is Judgement.NOT_CHECKED:
                self.note(case, UNCHECKED, verdict.reason)

    def readable(self, case: Case) -> Item | None:
        """The item, unless its gold answer is refused, as a mutated one may be."""
        asked = item(case)
        if gold_error(asked[0]) is None:
            return asked
        self.counts[case.kind, "gold refused"] += 1
        return None

    def plain(self, asked: list[tuple[Case, Item]], whole: bool) -> list[tuple[Case, Verdict]]:
        """Texts judged here, one by one; what stays open, and everything with `whole`, by the pool."""
        found: list[tuple[Case, Verdict]] = []
        left: list[tuple[Case, Item]] = []
        for case, one in asked:
            said = self.guarded(case, "judge", lambda one=one: judge(one[0], one[1]))
            if isinstance(said, Verdict):
                found.append((case, said))
            elif said is not None:
                left.append((case, one))
        found += zip([case for case, _ in left], self.pooled(left), strict=True)
        if whole:
            known = dict(found)
            fair = [(case, one) for case, one in asked if case in known]
            for (case, _), verdict in zip(fair, self.pooled(fair), strict=True):
                if verdict.value is not known[case].value:
                    self.note(case, "disagreement", f"{known[case].value} here, {verdict.value} in the pool")
        return found

    def pooled(self, asked: list[tuple[Case, Item]]) -> list[Verdict]:
        """All through the pool at once; one by one where that raises, to find which."""
        try:
            return self.pool.check_all([one for _, one in asked])
        except Exception:
            return [
                self.guarded(case, "pool", lambda one=one: self.pool.check(*one[:2])) or LOST for case, one in asked
            ]

    def executed(self, asked: list[tuple[Case, Item]], form: Form) -> list[tuple[Case, Verdict]]:
        """Programs, equations and constraints, in their sandboxes."""
        runs = [
            (case, self.guarded(case, form, lambda one=one: self.pool.check(*one[:2], form=form)))
            for case, one in asked
        ]
        return [(case, verdict) for case, verdict in runs if verdict is not None]

    def guarded(self, case: Case, where: str, run: Any) -> Any:
        """What `run` returns; None and a failure noted where it crashes or hangs."""
        try:
            with limited(self.limit):
                return run()
        except Hang:
            self.note(case, "hang", f"{where}: more than {self.limit:g} s of computing")
        except Exception as error:
            self.note(case, "crash", f"{where}: {type(error).__name__}: {error}"[:300])
        return None

    def note(self, case: Case, failure: str, why: str) -> None:
        """Keep a failing case where the regression test finds it."""
        self.counts[case.kind, failure] += 1
        self.failures.append({"failure": failure, "why": why, **case.record()})
        self.save.parent.mkdir(parents=True, exist_ok=True)
        with self.save.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.failures[-1]) + "\n")


LOST = Verdict(
    rationale_id="",
    value=Judgement.NOT_CHECKED,
    lenient=Judgement.NOT_CHECKED,
    extracted=None,
    checker="fuzz",
    reason="raised",
)


def report(fuzzer: Fuzzer, seconds: float) -> list[figures.Figure]:
    """A line per kind, and the figures."""
    found = []
    counts = fuzzer.counts
    verdicts = {value.value for value in Judgement}
    for kind in [*SHARES, "all"]:
        mine = Counter({what: n for what in {w for _, w in counts} if (n := _sum(counts, kind, what))})
        total = sum(
            n for what, n in mine.items() if what in verdicts or what in ("gold refused", GARBLED, "crash", "hang")
        )
        print(f"{kind:8} {total:8,} cases: {', '.join(f'{n:,} {what}' for what, n in mine.most_common())}")
        for what in ("crash", "hang", "disagreement", "not_checked") if kind == "all" else ():
            unit = f"of {total:,} cases"
            found.append(figures.Figure(what=what, unit=unit, better="", sides={figures.OURS: [float(mine[what])]}))
    cases = [f.unit for f in found]
    print(f"{cases[0]} in {seconds:.0f} s")
    return found


def _sum(counts: Counter[tuple[str, str]], kind: str, what: str) -> int:
    return sum(n for (own, said), n in counts.items() if said == what and kind in (own, "all"))


def draw(corpus: dict[str, list[Case]], kinds: list[str], seed: int, number: int) -> Case:
    """Case `number` of a seed."""
    rng = random.Random(f"{seed}/{number}")
    (kind,) = rng.choices(kinds, [SHARES[kind] for kind in kinds])
    return mutated(rng, rng.choice(corpus[kind]), corpus[kind])


def again(path: Path, limit: float) -> int:
    """Judge the cases of a file of failures anew; those that still fail are printed and counted."""
    names = set(Case.__dataclass_fields__)
    kept = [Case(**{name: value for name, value in row.items() if name in names}) for row in rows(path)]
    with CheckerPool() as pool, tempfile.TemporaryDirectory() as scratch:
        fuzzer = Fuzzer(pool, limit, Path(scratch) / "failures.jsonl")
        fuzzer.batch(kept, whole=True)
    for one in fuzzer.failures:
        print(f"{one['failure']}: {one['kind']}: {one['why']}: {one['text'][-120:]!r}")
    print(f"{len(fuzzer.failures)} of {len(kept)} cases still fail")
    return int(bool(fuzzer.failures))


def main() -> int:
    """Run all cases, with a progress bar where it is a terminal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=SHARES, default=list(SHARES))
    parser.add_argument("--limit", type=float, default=5.0, help="seconds of computing a text may take in this process")
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--save", type=Path, default=SAVED, help="where failing cases are appended")
    parser.add_argument("--again", type=Path, help="a file of failing cases to judge anew, instead of drawing cases")
    parser.add_argument("--json", help="where to write the figures")
    given = parser.parse_args()
    if given.again:
        return again(given.again, given.limit)
    if not given.data.is_dir():
        print(f"the real answers are not at {given.data}; give --data")
        return figures.SKIPPED
    corpus = load(given.data)
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with CheckerPool(workers=given.workers) as pool, Progress(*columns) as bar:
        pool.warm_up()
        fuzzer = Fuzzer(pool, given.limit, given.save)
        task = bar.add_task("fuzzing", total=given.count)
        for number, first in enumerate(range(given.start, given.start + given.count, BATCH)):
            places = range(first, min(first + BATCH, given.start + given.count))
            fuzzer.batch([draw(corpus, given.kinds, given.seed, place) for place in places], number % EVERY == 0)
            bar.update(task, advance=len(places), description=f"fuzzing, {len(fuzzer.failures)} failures")
    found = report(fuzzer, time.monotonic() - started)
    for one in fuzzer.failures[:20]:
        print(f"{one['failure']}: {one['kind']}: {one['why']}: {one['text'][-120:]!r}", file=sys.stderr)
    return ended(given, fuzzer, found)


def ended(given: argparse.Namespace, fuzzer: Fuzzer, found: list[figures.Figure]) -> int:
    """Write the figures; the exit code."""
    broken = sum(one["failure"] != UNCHECKED for one in fuzzer.failures)
    share = (len(fuzzer.failures) - broken) / given.count
    notes = [f"Seed {given.seed}, cases {given.start:,} to {given.start + given.count:,}."]
    if share > MOST:
        notes.append(f"Above the bar: {share:.2%} not checked where at most {MOST:.1%} should be.")
    figures.write(given.json, found, notes=notes)
    return 1 if broken else figures.MISSED if share > MOST else 0


if __name__ == "__main__":
    raise SystemExit(main())
