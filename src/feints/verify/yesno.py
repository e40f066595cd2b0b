"""Yes and no, true and false, valid and invalid, and what turns one into the other."""

from __future__ import annotations

import re

from feints.verify.findings import Finding

CHECKER = "boolean"
_YES = ("yes", "true", "correct", "valid", "right", "plausible", "yeah", "yep")
_NO = ("no", "false", "incorrect", "invalid", "wrong", "implausible", "untrue", "nope")
_WORD = re.compile(
    rf"\b(?P<not>not\s+(?:a\s+)?|isn['’]t\s+)?(?P<word>{'|'.join((*_YES, *_NO))})\b"
    r"(?P<after>\s*(?:or|and|/)\s*(?:no|yes|false|true|invalid|valid)\b)?",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"(?:[\s\"'*_:(\[$]|\\text\{|\\boxed\{|most\s+likely|probably|likely|definitely|clearly|simply|actually|"
    r"technically|a\b|an\b|the\b|statement\b|argument\b|is\b|deductively\b|that\b|it\b|also\b)*",
    re.IGNORECASE,
)
_NEGATION = re.compile(
    r"\bnot\s+the\s+case\s+that\b|\b(?<!or\s)not\b(?!\s+only\b)|\b(?:never|cannot|hardly|neither|unlikely|nothing|none|nobody|far\s+from)\b"
    r"|\b\w+n['’]t\b|\bno\s+(?:way|longer)\b|\b(?:in|under)\s+no\b",
    re.IGNORECASE,
)
_NOR = re.compile(r"\bnor\b", re.IGNORECASE)
_UNSURE = re.compile(
    r"(?:\bnot|\bcannot|n['’]t)(?:\s+\w+){0,2}?"
    r"\s+(?:sure|certain|clear|known?|determined?|conclude|say|said|tell|told|whether)\b",
    re.IGNORECASE,
)
"""What follows is neither said nor denied."""
_CLAUSE = re.compile(
    r"[.;:!?]|,\s*(?=(?:so|thus|therefore|hence|then|but|yet|and|which|because|since|as|while|although|though|"
    r"yes|no|true|false|valid|invalid)\b)"
    r"|(?<!not)\s(?=(?:but|because|since|therefore|thus|hence|although|though|while|then)\b"
    r"|(?:so|and)\s+(?:the|it|this|that|is|yes|no)\b)",
    re.IGNORECASE,
)
"""Where a clause ends: at a stop, at a connector behind a comma, at a few connectors without one."""
_CONDITION = re.compile(r"\s*(?:if|when|since|because|although|though|while|as|even|given)\b[^,]*,", re.IGNORECASE)
_PARENTHESIS = re.compile(
    r",\s*(?:however|indeed|in\s+fact|of\s+course|though)\s*,|(?<=\bnot),\s*(?:therefore|thus|then)\s*,", re.IGNORECASE
)
_QUOTED = re.compile(r"\"(?:[^\"\s]+[^\S\n]){2,}[^\"\n]*\"|“(?:[^”\s]+[^\S\n]){2,}[^”\n]*”")
"""A sentence in quotes, not a word."""
_VERB = re.compile(r"\b(?:is|are|was|were|seems|sounds|looks)\b", re.IGNORECASE)
_RAISING = re.compile(r"\s*(?:the\s+case|think|believe|agree|feel|see\s+how|mean|find)\b", re.IGNORECASE)
"""What lets a negation reach into the clause it governs: "I don't think that is true"."""


def read_truth(text: str) -> bool | None:
    """What `text` states: the word it opens with, or else the only such word that ends a clause."""
    said = _read(text)
    return None if said is None else said[0]


def _read(text: str) -> tuple[bool, str] | None:
    """The truth value stated, and the words that state it, a negation included."""
    lead = _LEAD.match(text)
    first = _WORD.match(text, lead.end() if lead else 0)
    if first:
        return None if first["after"] else (_value(first), first[0])
    # A quoted sentence is what is judged: its own negations say nothing about it.
    text = _QUOTED.sub('""', _PARENTHESIS.sub(" ", text))
    stated: dict[bool, str] = {}
    for match in _WORD.finditer(text):
        if match["after"] or not re.match(r"[\"'*)\]}]*(?:[.,;:!]|\s*$)", text[match.end() :]):
            continue
        value, start = _in_clause(text, match)
        if value is None:
            return None
        stated.setdefault(value, text[start : match.end()].strip())
    return stated.popitem() if len(stated) == 1 else None


def _in_clause(text: str, match: re.Match[str]) -> tuple[bool | None, int]:
    """What a word says behind the negations of its clause, and where the first begins; None where that is open."""
    start = max((stop.end() for stop in _CLAUSE.finditer(text, 0, match.start("word"))), default=0)
    condition = _CONDITION.match(text, start, match.start("word"))
    start = condition.end() if condition else start
    before = text[start : match.start("word")]
    affirmed = match["word"].lower() in _YES
    negations = list(_NEGATION.finditer(before))
    if not negations:
        nor = _NOR.search(before)
        return affirmed != bool(nor), start + nor.start() if nor else match.start()
    reach = before[negations[0].end() :]
    verb = _VERB.search(reach) and not _RAISING.match(reach) and "case" not in negations[0][0]
    if len(negations) > 1 or verb or _UNSURE.search(before):
        return None, start
    return not affirmed, start + negations[0].start()


def _value(match: re.Match[str]) -> bool:
    return (match["word"].lower() in _YES) != bool(match["not"])


def gold_truth(answer: str) -> bool | None:
    """The truth value a gold answer states, if it is one such word."""
    word = answer.strip().strip(".\"'").lower()
    return True if word in _YES else False if word in _NO else None


def compare(gold: bool, span: str) -> Finding:
    """Compare a stated answer with the gold truth value."""
    said = _read(span)
    if said is None:
        return Finding(None, None, CHECKER, f"neither yes nor no is stated in {span.strip()[:60]!r}")
    return Finding(said[0] == gold, said[1], CHECKER, f"says {said[1][:60]}")
