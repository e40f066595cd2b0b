from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from feints.report.visible import one_line, shown


@given(st.text(st.characters(codec=None, categories=None)))
def test_nothing_invisible_is_left(text: str) -> None:
    kept = shown(text)
    kept.encode("utf-8")
    assert not [c for c in kept if unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n"]
    assert not [c for c in kept if unicodedata.bidirectional(c) in ("RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI")]
    assert shown(kept) == kept


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_plain_text_is_untouched(text: str) -> None:
    assert shown(text) == text


def test_names_are_readable() -> None:
    assert shown("a\x00b\u202ec\x1b[31m\x7f") == "a␀b⟨U+202E⟩c␛[31m␡"
    assert shown("\ud800\U000e0041") == "⟨U+D800⟩⟨U+E0041⟩"
    assert shown("a\r\nb\tc") == "a\nb\tc"
    assert one_line("a\r\n  b\tc\rd") == "a b c␍d"


def test_other_scripts_are_untouched() -> None:
    for text in ("שלום", "مرحبا بكم", "न\u200d", "👩\u200d🚀", "1 200 €"):
        assert shown(text) == text
