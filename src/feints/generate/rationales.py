"""Problems x prompt x samples -> requests, and completions -> rationales."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from feints.generate.prompt import Prompt
from feints.generate.source import Completion, Request, Sampling
from feints.records import Form, Origin, Problem, Rationale, content_hash


def requests_for(
    problems: Iterable[Problem],
    prompt: Prompt,
    sampling: Sampling,
    *,
    samples: int,
    seed: int,
    filled: Mapping[str, Mapping[str, str]] | None = None,
) -> list[tuple[Problem, Request]]:
    """`samples` requests per problem, in order of problem, then sample index.

    Args:
        problems: what is asked.
        prompt: the text around each problem.
        sampling: how completions are drawn.
        samples: how many per problem.
        seed: of the run.
        filled: per problem id, texts for the prompt's further slots (a hint, a wrong rationale).
    """
    asked: list[tuple[Problem, Request]] = []
    for problem in problems:
        messages = prompt.messages(problem, **(filled or {}).get(problem.id, {}))
        for index in range(samples):
            request = Request(messages=messages, sampling=sampling, sample_index=index, seed=seed)
            asked.append((problem, request))
    return asked


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
