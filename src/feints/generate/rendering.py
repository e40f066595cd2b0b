"""Messages and texts to token ids and back, one class for training and inference, so both see the same ids.

Torch-side: takes a transformers tokenizer, so nothing of the core imports this file at load.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from jinja2.exceptions import TemplateError

from feints.errors import StudentError
from feints.generate.reply import CLOSING, OPENING, split_thinking
from feints.generate.source import Message
from feints.records import content_hash

_SENTINEL = "zqxjkvbw"
_THOUGHT = "wbvkjxqz"


class Renderer:
    """Turns messages into prompt ids and a rationale into target ids.

    With a chat template (`chat` None or True, when the tokenizer has one) the prompt is the template's own rendering
    with its generation prompt. Otherwise it is plain: contents in order, an assistant turn on the line after its
    question, every other turn after a blank line, one line break at the end.

    Prompt and target are tokenised apart and joined: no merge crosses the seam. Both sides of it are stripped of
    white space of the text, the line break of the prompt is the boundary, so no word hangs on a leading space.
    """

    def __init__(self, tokenizer: Any, chat: bool | None = None, seq2seq: bool = False) -> None:
        has_template = bool(getattr(tokenizer, "chat_template", None))
        if chat and not has_template:
            raise StudentError(
                "chat is asked for, but the tokenizer has no chat template; leave chat out, or set false"
            )
        self.tokenizer = tokenizer
        self.chat = has_template if chat is None else chat
        self.seq2seq = seq2seq
        self._folds_system = self.chat and not self._template_takes_system()
        if self.end_id is None:
            raise StudentError("the tokenizer has no end-of-sequence token, so a student could never learn to stop")

    # ----------------------------------------------------------------------------------------------------- to ids

    def prompt_text(self, messages: Sequence[Message]) -> str:
        """The exact text that is tokenised as the prompt."""
        if not messages:
            raise StudentError("a prompt needs at least one message")
        if self.chat:
            return self._template(messages, generation=True)
        parts: list[str] = []
        for message in messages:
            if parts:
                parts.append("\n" if message.role == "assistant" else "\n\n")
            parts.append(message.content.strip())
        return "".join([*parts, "\n"])

    def prompt_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Ids of the context: never two beginnings of sequence, never an end of sequence inside a causal prompt.

        Raises:
            StudentError: the chat template refuses these messages.
        """
        text = self.prompt_text(messages)
        if self.chat:
            return self._single_start(self._encode(text, special=False))
        return self.raw_ids(text)

    def raw_ids(self, prompt: str) -> tuple[int, ...]:
        """Ids of a raw prompt with the special tokens the tokenizer itself puts around a text."""
        ids = self._encode(prompt, special=True)
        if not self.seq2seq:
            while ids and ids[-1] == self.tokenizer.eos_token_id and ids[-1] != self.tokenizer.bos_token_id:
                ids = ids[:-1]
        return self._single_start(ids)

    def target_ids(self, text: str, thinking: str = "") -> tuple[int, ...]:
        """Ids of what is learnt; the last one ends the turn and is always there."""
        ids = self._encode(self.target_text(text, thinking), special=False)
        return (*ids, self._require_end())

    def target_text(self, text: str, thinking: str = "") -> str:
        """The exact text that is tokenised as the target."""
        body = text.strip()
        if thinking.strip() or self.opens_thinking:  # what a prompt has opened is closed, also around nothing
            opening, closing = self._thinking_marks
            body = f"{opening}{thinking.strip()}{closing}{body}"
        return body

    # ----------------------------------------------------------------------------------------------------- and back

    def decode(self, ids: Sequence[int]) -> tuple[str, str]:
        """Text and thinking of generated ids, read up to the first id that ends generation."""
        kept: list[int] = []
        for token in ids:
            if token in self.stop_ids:
                break
            kept.append(int(token))
        raw = self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        text, thinking = split_thinking(raw)
        return self._without_special(text), self._without_special(thinking)

    @cached_property
    def end_id(self) -> int | None:
        """The token that ends a target: the chat template's end of turn where it has one, else end of sequence."""
        if self.chat:
            rendered = self._render([{"role": "user", "content": "a"}, {"role": "assistant", "content": _SENTINEL}])
            after = self._encode(rendered.rpartition(_SENTINEL)[2].strip(), special=False)
            special = set(self.tokenizer.all_special_ids) | set(self.tokenizer.added_tokens_decoder)
            for token in after:
                if token in special:
                    return token
        eos = self.tokenizer.eos_token_id
        return None if eos is None else int(eos)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Every id that ends generation."""
        eos = self.tokenizer.eos_token_id
        return frozenset({self._require_end()} | (set() if eos is None else {int(eos)}))

    @cached_property
    def tokenizer_hash(self) -> str:
        """Hash of all that turns messages into ids; examples made under another one are refused."""
        tokenizer = self.tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            vocabulary: Any = sorted(tokenizer.get_vocab().items())
        else:
            vocabulary = json.loads(backend.to_str())
            vocabulary["truncation"] = vocabulary["padding"] = None
        template = tokenizer.chat_template if self.chat else None
        special = {name: str(token) for name, token in sorted(tokenizer.special_tokens_map.items())}
        opened = ["opens thinking"] * self.opens_thinking  # every other template keeps the hash it always had
        return content_hash("renderer 1", vocabulary, special, template, self.chat, self.seq2seq, *opened)

    # ----------------------------------------------------------------------------------------------------- inside

    def _encode(self, text: str, *, special: bool) -> tuple[int, ...]:
        ids = self.tokenizer(text, add_special_tokens=special, return_attention_mask=False, verbose=False)["input_ids"]
        return tuple(ids)

    def _single_start(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        start = self.tokenizer.bos_token_id
        while start is not None and len(ids) > 1 and ids[0] == start and ids[1] == start:
            ids = ids[1:]
        return ids

    def _require_end(self) -> int:
        if self.end_id is None:
            raise StudentError("the tokenizer has no end-of-sequence token, so a student could never learn to stop")
        return self.end_id

    def _without_special(self, text: str) -> str:
        for token in self.tokenizer.all_special_tokens:
            text = text.replace(token, "")
        return text.strip()

    def _template_takes_system(self) -> bool:
        """Whether a system turn is rendered (some templates refuse it, some drop it)."""
        try:
            rendered = self._render([{"role": "system", "content": _SENTINEL}, {"role": "user", "content": "a"}])
        except StudentError:
            return False
        return _SENTINEL in rendered

    def _template(self, messages: Sequence[Message], *, generation: bool) -> str:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        if self._folds_system and turns[0]["role"] == "system":
            if len(turns) < 2 or turns[1]["role"] != "user":
                raise StudentError("the chat template takes no system turn, and no user turn follows to fold it into")
            folded = f"{turns[0]['content'].strip()}\n\n{turns[1]['content'].strip()}"
            turns = [{"role": "user", "content": folded}, *turns[2:]]
        try:
            return self._render(turns, generation=generation)
        except StudentError as error:
            roles = ", ".join(turn["role"] for turn in turns)
            raise StudentError(
                f"the chat template refuses the turns ({roles}): {error.__cause__}; reorder them or set chat: false"
            ) from error

    def _render(self, turns: list[dict[str, str]], *, generation: bool = False) -> str:
        try:
            return str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=generation))
        except (TemplateError, ValueError) as error:
            raise StudentError(
                f"the student's chat template cannot be rendered: {error}; mend it, or set student.chat: false"
            ) from error

    @cached_property
    def opens_thinking(self) -> bool:
        """Whether the template's generation prompt ends within hidden reasoning, which a target then begins with."""
        return self.chat and self._render([{"role": "user", "content": "a"}], generation=True).rstrip().endswith(
            OPENING
        )

    @cached_property
    def _thinking_marks(self) -> tuple[str, str]:
        """What the template writes before and after hidden reasoning; the common marks where it has no say.

        What the prompt ends in is not written again.
        """
        fallback = ("" if self.opens_thinking else f"{OPENING}\n", f"\n{CLOSING}\n\n")
        if not self.chat:
            return fallback
        question = {"role": "user", "content": "a"}
        thought = {"role": "assistant", "content": _SENTINEL, "reasoning_content": _THOUGHT}
        opened = self._render([question], generation=True)
        whole = self._render([question, thought])
        if not whole.startswith(opened) or _THOUGHT not in whole:
            return fallback
        before, _, rest = whole[len(opened) :].partition(_THOUGHT)
        return before, rest.partition(_SENTINEL)[0]
