"""The result in a few sentences: the top of the page and of the terminal."""

from __future__ import annotations

from feints.report.accuracy import over_seeds, p_value, percent, points, told_apart
from feints.report.contents import Arm, ArmRole, ComparisonRow, RunContents

INTERVAL_MEANING = (
    "Brackets hold a 95 % interval: about one in twenty of such intervals misses the share that endlessly many "
    "problems of the same kind would give. Where a run has several training seeds, the figure is their mean and the "
    "interval covers the choice of problems only; the single seeds are drawn beside it, and each paired comparison "
    "says how it treats them."
)


def summary(contents: RunContents) -> tuple[str, ...]:
    """What a reader should take away, one sentence each; every figure with its interval."""
    sets = contents.problem_sets()
    if not sets:
        return ("This run holds no examined solver yet, so there is no result to report.",)
    main = sets[0]
    sentences = [_sentence(contents, contents.arm(name), main) for name in contents.solvers()]
    found = [sentence for sentence in sentences if sentence]
    first = next((row for row in contents.comparisons if row.problem_set == main), None)
    return (*found, compared(first)) if first else tuple(found)


def compared(row: ComparisonRow) -> str:
    """One paired comparison as a sentence that says whether the two can be told apart."""
    seeds = f" over {row.seeds} training seeds" if row.seeds > 1 else ""
    test = p_value(row.p) if row.p is not None else "an interval over seeds and problems together"
    figures = f"{points(row)}, {test}"
    if not told_apart(row):
        return (
            f"On the same {row.problems:,} problems{seeds}, {row.a} and {row.b} cannot be told apart: "
            f"the difference is {figures}."
        )
    verb = "ahead of" if row.difference > 0 else "behind"
    return f"On the same {row.problems:,} problems{seeds}, {row.a} is {verb} {row.b} by {figures}."


def _sentence(contents: RunContents, arm: Arm, problem_set: str) -> str:
    scores = contents.scores_of(arm.name, problem_set)
    if not scores:
        return ""
    accuracy = over_seeds(scores)
    subject = {
        ArmRole.METHOD: arm.name,
        ArmRole.CONTROL: f"Its control {arm.name}" + (f" ({arm.explanation})" if arm.explanation else ""),
        ArmRole.FLOOR: "The untrained student",
        ArmRole.OTHER: arm.name,
    }[arm.role]
    if not accuracy.judged:
        return f"{subject}: none of {accuracy.problems:,} answers could be judged."
    seeds = f" (mean of {len(scores)} training seeds)" if len(scores) > 1 else ""
    left_out = (
        f"; {accuracy.not_counted:,} answers could not be judged and are left out" if accuracy.not_counted else ""
    )
    return f"{subject} solves {percent(accuracy)} of {accuracy.problems:,} {problem_set} problems{seeds}{left_out}."
