"""Plain text answers: equal after case, quotes, spacing and final punctuation are set aside."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from feints.verify.findings import Finding

CHECKER = "text"
_TEX_BOX = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox|textnormal)\s*\{([^{}]*)\}")
_QUOTED = re.compile(r"\s*[\"“”'‘`*]+\s*([^\"“”`*]+?)\s*[\"“”'’`*]+")


_HOUR = re.compile(r"(\d)\s*([ap])\.?\s?m\b\.?")
_OPENING = re.compile(r"(?:it\s+(?:is|was)\s+|it's\s+)?(?:(?:on|in|at)\s+)?(?:an?\s+|the\s+)?(?=\w)")
_SENTENCE = re.compile(r"(?<=\w)(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bMrs)(?<!\bSt)(?<!\bProf)(?<!\.[A-Z])[.!]\s+(?=[A-Z])")
"""Where a sentence ends; not behind Dr. and U.S."""
_EXPLAINED = re.compile(
    r",\s+(?=(?:an?|the|which|who|where|as|because|since)\b)|\s+(?=\([^()]*\)[.!]?\s*\Z|(?:because|since)\b)|\s+[-–—]\s+(?=[a-z])"
)
"""Where an explanation of the answer begins: "Paris, the capital of France"."""


@lru_cache(maxsize=1 << 12)
def normal(text: str) -> str:
    """Case folded, Unicode made one, quotes and outer punctuation dropped, space collapsed."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace("’", "'").replace("‘", "'")
        text = re.sub("[“”]", '"', text).replace("–", "-").replace("−", "-")
    if "\\" in text:
        text = _TEX_BOX.sub(r"\1", text).replace("\\ ", " ")
    text = re.sub(r"[\"`*$]", "", text)
    text = text.strip(" \t\n.,;:!?'") if re.search(r"\w", text) else text.strip().rstrip(".")
    return re.sub(r"\s+", " ", text).strip().casefold()


def loose(text: str) -> str:
    """What tells texts apart: `normal`, commas, hyphens as space, hours written one way, without what may open it."""
    text = _HOUR.sub(lambda hour: f"{hour[1]} {hour[2]}m", _OPENING.sub("", normal(text)))
    return re.sub(r"\s+", " ", re.sub(r"[,;/-]", " ", text)).strip()


def compare(gold: str, span: str) -> Finding:
    """Compare a stated answer with the gold text; the quoted part counts where the answer opens with a quote.

    What is shown is read without the gold answer, so that a vote tells right and wrong answers apart alike.
    """
    said = span.strip()
    quoted = _QUOTED.match(said)
    readings = [said, quoted[1]] if quoted else [said]
    readings.append(_SENTENCE.split(said, maxsplit=1)[0])
    wanted, told = normal(gold), loose(gold)
    readings.append(_EXPLAINED.split(readings[-1], maxsplit=1)[0])
    shown = readings[1].strip() if quoted else readings[-1].strip() or said
    for reading in readings:
        if normal(reading) == wanted or (told and loose(reading) == told):
            return Finding(True, shown, CHECKER, "same text")
    if not shown:
        return Finding(None, None, CHECKER, "no text is stated")
    return Finding(False, shown, CHECKER, "another text")
