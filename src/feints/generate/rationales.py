"""Problems x prompt x samples -> requests -> completions -> rationales."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from feints.generate.adaptive import sample_adaptively
from feints.generate.budget import Budget
from feints.generate.ledger import Ledger
from feints.generate.progress import SamplingProgress
from feints.generate.prompt import Prompt
from feints.generate.sample import INTERRUPTED, sample_all
from feints.generate.settings import SamplingSettings
from feints.generate.source import Completion, Request, Sampling, TextSource
from feints.records import Form, Judgement, Origin, Problem, Rationale, content_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """One problem put to a text source with what the prompt says besides; a problem may be put several times."""

    problem: Problem
    """What is asked."""
    filled: Mapping[str, str] = field(default_factory=dict)
    """Texts for the prompt's further slots: a hint, a wrong rationale."""
    parent: str | None = None
    """Id of the rationale that is mended, corrupted, answered or continued."""
    sample: int = 0
    """Index of its first sample; where two askings say the same, different ones get two replies instead of one."""


def requests_for(
    problems: Iterable[Problem],
    prompt: Prompt,
    sampling: Sampling,
    *,
    samples: int,
    seed: int,
    first: int = 0,
    filled: Mapping[str, Mapping[str, str]] | None = None,
) -> list[tuple[Problem, Request]]:
    """`samples` requests per problem, in order of problem, then sample index.

    Args:
        problems: what is asked.
        prompt: the text around each problem.
        sampling: how completions are drawn.
        samples: how many per problem.
        seed: of the run.
        first: sample index of the first one.
        filled: per problem id, texts for the prompt's further slots (a hint, a wrong rationale).
    """
    asked: list[tuple[Problem, Request]] = []
    for problem in problems:
        messages = prompt.messages(problem, **(filled or {}).get(problem.id, {}))
        for index in range(first, first + samples):
            request = Request(messages=messages, sampling=sampling, sample_index=index, seed=seed)
            asked.append((problem, request))
    return asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What came of a list of askings."""

    answered: tuple[tuple[Asking, Request, Completion], ...]
    """In order of asking, then sample index."""
    left: str = ""
    """What stayed unanswered, such as "28 requests"; "" if nothing did."""
    why: str = ""
    """What stopped it."""

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl+C stopped it, rather than a budget or the source."""
        return self.why == INTERRUPTED


def ask_all(
    source: TextSource,
    askings: Sequence[Asking],
    prompt: Prompt,
    settings: SamplingSettings,
    *,
    judge: Callable[[Problem, Completion], Judgement],
    ledger: Ledger,
    budget: Budget,
    watcher: SamplingProgress,
) -> Asked:
    """Every asking with its requests and completions, as far as budget and Ctrl+C let it come.

    Args:
        source: who is asked.
        askings: what; each is sampled as often as the settings say.
        prompt: the text around each.
        settings: how completions are drawn.
        judge: says whether a completion is right, where sampling is adaptive.
        ledger: where replies are kept.
        budget: the most that may be spent.
        watcher: shows how far it is.
    """
    most = settings.adaptive.maximum if settings.adaptive else settings.n
    named = {f"{asking.problem.id}#{place}": asking for place, asking in enumerate(askings)}
    requests = {name: _requests_of(asking, prompt, settings, most) for name, asking in named.items()}
    if settings.adaptive is None:
        sampled = sample_all(source, [r for own in requests.values() for r in own], ledger, budget, watcher)
        completions = dict(sampled.answered)
        pairs = ((named[name], request) for name, own in requests.items() for request in own)
        return Asked(
            answered=tuple((asking, r, completions[r]) for asking, r in pairs if r in completions),
            left=_counted(len(sampled.unsent), "requests"),
            why=sampled.report.why_unsent,
        )

    def verdict(name: str, completion: Completion) -> Judgement:
        return judge(named[name].problem, completion)

    found = sample_adaptively(source, requests, settings.adaptive, verdict, ledger, budget, watcher, watcher)
    return Asked(
        answered=tuple((named[used.problem_id], used.request, used.completion) for used in found.used),
        left=_counted(len(found.unfinished), "problems"),
        why=found.report.why_unsent,
    )


def _counted(number: int, unit: str) -> str:
    return f"{number:,} {unit}" if number else ""


def _requests_of(asking: Asking, prompt: Prompt, settings: SamplingSettings, samples: int) -> list[Request]:
    filled = {asking.problem.id: asking.filled}
    pairs = requests_for(
        [asking.problem],
        prompt,
        settings.sampling(),
        samples=samples,
        seed=settings.seed,
        first=asking.sample,
        filled=filled,
    )
    return [request for _, request in pairs]


def rationale_from(
    problem: Problem,
    request: Request,
    completion: Completion,
    *,
    prompt: Prompt,
    author: str,
    form: Form = Form.COT,
    origin: Origin = Origin.SAMPLED,
    round: int = 0,
    parent: str | None = None,
) -> Rationale:
    """The record of one completion, with everything known about its making."""
    return Rationale(
        id=content_hash("rationale", problem.id, completion.key, parent),
        problem_id=problem.id,
        text=completion.text,
        thinking=completion.thinking,
        form=form,
        origin=origin,
        author=author,
        round=round,
        parent=parent,
        prompt_id=prompt.id,
        prompt_hash=content_hash("messages", [asdict(message) for message in request.messages]),
        ledger_key=completion.key,
        sample_index=request.sample_index,
        temperature=request.sampling.temperature,
        top_p=request.sampling.top_p,
        max_tokens=request.sampling.max_tokens,
        finish=completion.finish,
        prompt_tokens=completion.usage.prompt_tokens,
        completion_tokens=completion.usage.completion_tokens,
        cost=completion.cost,
    )
