"""Decides what the lab teacher says to each kind of request, mistakes and failures included."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from feints.lab.mistakes import Mistake, MistakeKind
from feints.lab.prompts import Ask, Wanted, stated_answer
from feints.lab.reading import Fact, Reading
from feints.lab.teacher_diagnosis import comment, error_kind, label, reminder
from feints.lab.teacher_settings import LabTeacherSettings
from feints.lab.teacher_texts import REFUSAL, in_lines, in_words, keypoints, rambling
from feints.lab.teacher_working import Bungler, Worked, work_rightly
from feints.lab.world import generate
from feints.records import Form

_PLAINEST_VARIETY = 0.25
_TRIES = 250
_MOST_STEPS = 4
"""Of a new problem: more would be the world's `longer` test set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One reply, with what only the teacher knows of it."""

    text: str
    """The whole reply."""
    answer: int | None = None
    """The answer it gives."""
    mistakes: tuple[Mistake, ...] = ()
    """Mistakes made on purpose."""
    chances: tuple[Mistake, ...] = ()
    """Mistakes that could have been made where the teacher was free to."""
    compensated: bool = False
    """Whether two mistakes cancel."""
    failure: str = ""
    """refused, rambling or no_answer; "" for a proper reply."""
    label: str = ""
    """The label given (label only)."""


class Author:
    """Writes replies; all chance comes from the generator it is handed."""

    def __init__(self, settings: LabTeacherSettings, bungler: Bungler) -> None:
        self.settings = settings
        self.bungler = bungler

    def say(
        self, wanted: Wanted, reading: Reading, rng: random.Random, temperature: float, counting: bool = False
    ) -> Said:
        """The reply to one request; `counting` fills in `chances`."""
        # What happens at all is drawn before what depends on it: raising a rate then leaves other draws alone.
        scale = self.settings.mistakes.scale(temperature)
        variety = max(_PLAINEST_VARIETY, min(1.0, temperature / 0.7))
        fails, kind = rng.random(), rng.random()
        if wanted.ask is Ask.NEW_PROBLEM:
            return Said(text=new_problem(reading, rng, wanted.harder))
        if wanted.ask is Ask.LABEL:
            text, letters = label(reading, wanted.shown, rng, self.settings.label_error)
            return Said(text=text, label=letters)
        if wanted.ask is Ask.KIND:
            kind_said = error_kind(reading, wanted.shown)
            return Said(text=kind_said, label=kind_said)
        if fails < self.settings.failure * scale:
            return self._fail(wanted, reading, rng, kind, variety)
        worked, extra = self._worked(wanted, reading, rng, scale, counting)
        said = self._written(wanted, reading, worked, rng, variety, answered=True)
        return Said(
            text=f"{extra} {said}" if extra else said,
            answer=worked.answer if "solution" in wanted.fields or not wanted.fields else None,
            mistakes=worked.mistakes,
            chances=worked.chances,
            compensated=worked.compensated,
        )

    def _worked(
        self, wanted: Wanted, reading: Reading, rng: random.Random, scale: float, counting: bool
    ) -> tuple[Worked, str]:
        """The steps of this reply, and what is said before them."""
        exact = wanted.form is not Form.COT
        if wanted.ask is Ask.WRONG:
            right = {reading.answer, stated_answer(wanted.shown), wanted.hint}
            avoided = frozenset(answer for answer in right if answer is not None)
            wrong = self.bungler.work_wrongly(reading, rng, avoided, exact_arithmetic=exact)
            # One larger is wrong whatever the problem; reached only where no single mistake changes the answer.
            return wrong or work_rightly(reading, max(avoided) + 1), ""
        if wanted.hint is not None:
            worked = self._hinted(wanted.hint, reading, rng, scale, exact)
        else:
            careful = scale / 2 if wanted.ask is Ask.TAILORED else scale
            seen = _distractors(wanted, reading)
            worked = self.bungler.work(
                reading, rng, scale=careful, exact_arithmetic=exact, distractors=seen, counting=counting
            )
            lucky = rng.random() < self.settings.lucky
            if lucky and not worked.mistakes and not exact:
                worked = self.bungler.compensate(reading, rng) or worked
        if wanted.ask is not Ask.TAILORED:
            return worked, ""
        return worked, reminder(reading, wanted.shown) if wanted.alone else comment(reading, wanted.shown, rng)

    def _hinted(self, hint: int, reading: Reading, rng: random.Random, scale: float, exact: bool) -> Worked:
        """Steps towards a stated answer: nearly always its right ones, now and then bent until it comes out."""
        draw = rng.random()
        if hint != reading.answer:
            if draw < self.settings.false_hint_obeyed and not exact:
                return work_rightly(reading, hint)
            return self.bungler.work(reading, rng, scale=scale / 2, exact_arithmetic=exact)
        if draw < self.settings.hint_failure:
            missed = self.bungler.work_wrongly(reading, rng, frozenset((hint,)), exact_arithmetic=exact)
            return missed or work_rightly(reading)
        if draw < self.settings.hint_failure + self.settings.hint_forced and not exact:
            return self.bungler.compensate(reading, rng) or work_rightly(reading)
        return work_rightly(reading)

    def _written(
        self, wanted: Wanted, reading: Reading, worked: Worked, rng: random.Random, variety: float, *, answered: bool
    ) -> str:
        if wanted.form is Form.COT:
            solution = in_words(worked, rng, variety, worked.answer if answered else None)
        else:
            solution = in_lines(wanted.form, worked, rng, variety, answered)
        if wanted.ask is not Ask.KEYPOINTS:
            return solution
        misused = {m.step for m in worked.mistakes if m.kind is MistakeKind.MISUNDERSTANDING}
        used = {o.index for step in worked.steps if step.index in misused for o in step.operands if o.origin == "fact"}
        shown = [fact for fact in reading.facts if fact.relevant or fact.index in used]
        return keypoints(wanted.fields, reading, shown, solution)

    def _fail(self, wanted: Wanted, reading: Reading, rng: random.Random, kind: float, variety: float) -> Said:
        begun = work_rightly(reading)
        if kind < 0.25 or len(begun.steps) == 1:
            return Said(text=REFUSAL, failure="refused")
        if kind < 0.5:
            return Said(text=rambling(reading, rng), failure="rambling")
        # The last step is missing too: its result would be read as the answer.
        begun = replace(begun, steps=begun.steps[:-1])
        text = self._written(wanted, reading, begun, rng, variety, answered=False)
        return Said(text=text, failure="no_answer")


def _distractors(wanted: Wanted, reading: Reading) -> tuple[Fact, ...] | None:
    """Irrelevant facts in sight: where the request lists useful information, only those it lists."""
    if any(fact in wanted.context for fact in reading.useful):
        return tuple(fact for fact in reading.irrelevant if fact.numbers and fact.text in wanted.context)
    return None


def new_problem(reading: Reading, rng: random.Random, harder: bool) -> str:
    """A fresh problem of the training split: as many steps and the same kinds of events, or one step more."""
    steps = min(_MOST_STEPS, len(reading.steps) + harder)
    kinds = {step.kind for step in reading.steps}
    best, best_fit = "", (-99, -99, -99)
    for _ in range(_TRIES):
        # The index is far above any that a training set counts up to.
        problem = generate("train", rng.randrange(10**7, 10**9), seed=1)
        more_noise = problem.irrelevant if harder and steps == len(reading.steps) else 0
        fit = (-abs(problem.steps - steps), len(kinds & set(problem.kinds)), more_noise)
        if fit > best_fit:
            best, best_fit = problem.question, fit
        if fit[0] == 0 and fit[1] >= min(2, len(kinds)) and not (harder and steps == len(reading.steps)):
            break
    return best
