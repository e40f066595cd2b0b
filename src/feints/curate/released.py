"""Examples as TDG's code makes them (TDG-D1): the whole padded sequence is learnt, and no end of sequence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from feints.records import Example


def whole_and_padded(examples: Iterable[Example], pad_id: int) -> tuple[Example, ...]:
    """Prompt, rationale and padding to the longest of all examples, every token of them with weight 1.

    The end of sequence is taken off; learning to write padding is what stops such a student. The pad tokens stand in
    the target, so they are part of the loss whatever rows the examples are laid out in.
    """
    found = list(examples)
    longest = max((len(e.prompt_ids) + len(e.target_ids) - 1 for e in found), default=0)
    made = []
    for example in found:
        body = example.target_ids[:-1]
        pads = longest - len(example.prompt_ids) - len(body)
        target = body + (pad_id,) * pads
        # A rationale as long as the longest has no padding; one without any token left would have no target.
        target = target or (pad_id,)
        made.append(replace(example, target_ids=target, weights=(1.0,) * (len(example.prompt_ids) + len(target))))
    return tuple(made)
