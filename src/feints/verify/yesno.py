"""Yes and no, true and false, valid and invalid."""

from __future__ import annotations

import re

from feints.verify.findings import Finding

CHECKER = "boolean"
_YES = ("yes", "true", "correct", "valid", "right", "plausible", "yeah", "yep")
_NO = ("no", "false", "incorrect", "invalid", "wrong", "implausible", "untrue", "nope")
_WORD = re.compile(
    rf"\b(?P<not>not\s+(?:a\s+)?|isn't\s+)?(?P<word>{'|'.join((*_YES, *_NO))})\b"
    r"(?P<after>\s*(?:or|and|/)\s*(?:no|yes|false|true|invalid|valid)\b)?",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"(?:[\s\"'*_:(\[$]|\\text\{|\\boxed\{|most\s+likely|probably|likely|definitely|clearly|simply|actually|"
    r"technically|a\b|an\b|the\b|statement\b|argument\b|is\b|deductively\b|that\b|it\b|also\b)*",
    re.IGNORECASE,
)


def read_truth(text: str) -> bool | None:
    """What `text` states: the word it opens with, or else the only such word that ends a clause."""
    lead = _LEAD.match(text)
    first = _WORD.match(text, lead.end() if lead else 0)
    if first:
        return None if first["after"] else _value(first)
    ending = {
        _value(match)
        for match in _WORD.finditer(text)
        if not match["after"] and re.match(r"[\"'*)\]}]*(?:[.,;:!]|\s*$)", text[match.end() :])
    }
    return ending.pop() if len(ending) == 1 else None


def _value(match: re.Match[str]) -> bool:
    return (match["word"].lower() in _YES) != bool(match["not"])


def gold_truth(answer: str) -> bool | None:
    """The truth value a gold answer states, if it is one such word."""
    word = answer.strip().strip(".\"'").lower()
    return True if word in _YES else False if word in _NO else None


def compare(gold: bool, span: str) -> Finding:
    """Compare a stated answer with the gold truth value."""
    said = read_truth(span)
    if said is None:
        return Finding(None, None, CHECKER, f"neither yes nor no is stated in {span.strip()[:60]!r}")
    match = _WORD.search(span)
    extracted = match[0] if match else ("yes" if said else "no")
    return Finding(said == gold, extracted, CHECKER, f"says {extracted}")
