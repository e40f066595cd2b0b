"""Text from models made harmless to look at: what is invisible or turns the line round is shown by name."""

from __future__ import annotations

import re

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, tab and newline excepted
    "\u200b\u2028\u2029\u2060-\u2064\ufeff\ufff9-\ufffb"  # no width, or a line break that is none
    "\u202a-\u202e\u2066-\u206f"  # embeddings, overrides, isolates
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"  # no characters: half pairs cannot even be written as UTF-8
    "\U000e0000-\U000e007f]"  # tags, which hide whole sentences
)


def shown(text: str) -> str:
    """`text` with every control, override or half character replaced by a visible name; tab and newline stay."""
    return _UNSEEN.sub(_name, text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """`shown(text)` without line breaks, for a table cell or a terminal line."""
    return " ".join(shown(text).split())


def _name(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)  # the control pictures, in the same order
    return "\u2421" if code == 0x7F else f"⟨U+{code:04X}⟩"
