"""LaTeX made plain: fonts, spacing, delimiters, synonyms and Unicode brought to one spelling, and cut into pieces."""

from __future__ import annotations

import re
import unicodedata

from feints.verify.words import SCALES

RELATIONS = ("\\leq", "\\geq", "\\neq", "\\approx", "\\equiv", "\\in", "=", "<", ">")
"""Relation signs after `clean`."""

_UNICODE = {
    "−": "-", "–": "-", "—": "-", "×": "\\cdot ", "⋅": "\\cdot ", "·": "\\cdot ", "÷": "/", "∗": "*", "≤": "\\leq ",
    "≥": "\\geq ", "⩽": "\\leq ", "⩾": "\\geq ", "≠": "\\neq ", "≈": "\\approx ", "π": "\\pi ", "∞": "\\infty ",
    "√": "\\sqrt ", "∪": "\\cup ", "∩": "\\cap ", "∈": "\\in ", "±": "\\pm ", "°": "^\\circ ", "º": "^\\circ ",
    "θ": "\\theta ", "α": "\\alpha ", "β": "\\beta ", "λ": "\\lambda ", "φ": "\\phi ",
    "ω": "\\omega ", "⟨": "\\langle ", "⟩": "\\rangle ", "∅": "\\emptyset ", "ℝ": "\\mathbb{R}", "’": "'", "‘": "'",
    "“": '"', "”": '"', "\u00a0": " ", "\u202f": " ", "\u2009": " ", "½": "\\frac{1}{2}", "¼": "\\frac{1}{4}",
    "¾": "\\frac{3}{4}", "⅓": "\\frac{1}{3}", "⅔": "\\frac{2}{3}",
}  # fmt: skip
_SYNONYMS = [
    (re.compile(r"\\(?:left|right|middle|bigl?|bigr?|Bigl?|Bigr?|biggl?|biggr?|Biggl?|Biggr?)(?![A-Za-z])\s*\.?"), ""),
    (
        re.compile(r"\\(?:displaystyle|textstyle|limits|nolimits|hfill|noindent|nonumber|phantom\{[^{}]*\})(?![a-z])"),
        "",
    ),
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\dbinom|\\tbinom|\\choose"), r"\\binom"),
    (re.compile(r"\\(?:leqslant|leqq|le)(?![A-Za-z])|<=|=<"), r"\\leq "),
    (re.compile(r"\\(?:geqslant|geqq|ge)(?![A-Za-z])|>="), r"\\geq "),
    (re.compile(r"\\(?:ne)(?![A-Za-z])|!=|\\not\s*="), r"\\neq "),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\(?:simeq|sim|thickapprox)(?![A-Za-z])"), r"\\approx "),
    (re.compile(r"\\(?:times|ast|bullet)(?![A-Za-z])"), r"\\cdot "),
    (re.compile(r"\\div(?![A-Za-z])"), "/"),
    (re.compile(r"\\(?:[lr]?vert|mid)(?![A-Za-z])"), "|"),
    (re.compile(r"\\[lr]?Vert(?![A-Za-z])"), r"\\|"),
    (re.compile(r"\\(?:lbrace)(?![A-Za-z])"), r"\\{"),
    (re.compile(r"\\(?:rbrace)(?![A-Za-z])"), r"\\}"),
    (re.compile(r"\\(?:ldots|cdots|dots|dotsc|dotsb|dotsm)(?![A-Za-z])|\.\.\.|…"), r"\\dots "),
    (re.compile(r"\\(?:varnothing|emptyset)(?![A-Za-z])"), r"\\emptyset "),
    (
        re.compile(r"\^\s*(?:\{\s*\\(?:circ|degree)\s*\}|\\(?:circ|degree))|\\degrees?(?![A-Za-z])|(?<=\d)\s*\\circ\b"),
        r"\\degree ",
    ),
    (
        re.compile(r"(?<![\\A-Za-z])(?:[Dd]egrees?|deg)\b(?!\s*(?:Celsius|Fahrenheit|[CF]\b))"),
        r"\\degree ",
    ),
    (re.compile(r"\\(?:quad|qquad)(?![A-Za-z])|(?<!\\)\\[;: ]|~"), " "),
    (re.compile(r"(?<!\\)\\,"), " "),
    (re.compile(r"\\colon(?![A-Za-z])"), ":"),
    (re.compile(r"\\(?:arcsin|sin\^\{-1\}|sin\^-1)(?![A-Za-z])"), r"\\arcsin "),
    (re.compile(r"\\(?:arccos|cos\^\{-1\}|cos\^-1)(?![A-Za-z])"), r"\\arccos "),
    (re.compile(r"\\(?:arctan|tan\^\{-1\}|tan\^-1)(?![A-Za-z])"), r"\\arctan "),
]
_FONT = re.compile(
    r"\\(?:mathrm|mathbf|mathit|mathsf|mathtt|mathcal|boldsymbol|bm|operatorname|rm|bf|overrightarrow|vec|underline)"
    r"\s*(?:\{([^{}]*)\}|(?=[A-Za-z\d]))"
)
TEXT_BOX = re.compile(r"\\(?:text|textbf|textit|textrm|textnormal|textup|mbox|hbox)\s*(?:\{([^{}]*)\}|\s([A-Za-z]))")
_BOX_AND_POWER = re.compile(TEXT_BOX.pattern + r"(?:\s*\^\s*\{?\d\}?)?")
_LAST_WORD = re.compile(r"(?<![\\A-Za-z])(?P<word>[A-Za-z][A-Za-z.'-]*)\s*(?P<power>\^\s*(?:[23]|\{\s*[23]\s*\}))?\s*$")
_OVER_ROOT = re.compile(r"(\\[dt]?frac\s*\{[^{}]*\})\s*(\\?sqrt\s*\{[^{}]*\})")
"""A fraction with a root in the place of its second group."""
_SCRIPT = re.compile("(?P<raised>[⁺⁻⁰¹²³⁴-⁹ⁿ]+)|[₀-₉]+")
"""Signs that are set high or low, each run of them one exponent or index."""
_SCALED = re.compile(rf"(?<=[\d}}])\s*(?P<box>\\(?:text|mathrm)\s*\{{\s*)?(?P<scale>{'|'.join(SCALES)})\b")
"""A word that multiplies the number before it, also at the head of a text box."""
_DIGIT = re.compile(r"(?![0-9])\d")
"""A decimal digit of another script, or as wide as a letter of it."""
_CHOOSE = re.compile(r"\{\s*([^{}]+?)\s*\\choose\s*([^{}]+?)\s*\}")
_BASED = re.compile(r"\\(?:text|mathrm)\s*\{\s*(\w+)\s*\}(?=\s*_)")
"""A numeral in a text box before its base."""
_MODULUS = re.compile(r"(?<=\d)\s*(?:\\pmod\s*(?:\{\s*\d+\s*\}|\d)|\(\s*\\?mod\s*\d+\s*\))\s*\Z")
"""What a remainder is a remainder of."""
_JOINED = re.compile(r"[-+*^=(\[]\s*\Z")
"""A sign that what follows belongs to."""
_LEADING_WORDS = re.compile(r"^(?:[A-Za-z]{2,}[ ,:]+)+(?=[-+\\(\[\d|])")
_UNITS = frozenset(
    (
        *("mm", "cm", "km", "ft", "in", "kg", "mg", "lb", "lbs", "oz", "hr", "hrs", "min", "mins", "sec", "mph", "kph"),
        *("ml", "mi", "yd", "usd", "cents", "cent", "units", "unit", "dollars", "dollar", "sq", "pm", "am"),
    )
)
_NAMED = re.compile(
    r"(?<![\\A-Za-z])(frac(?=\s*\{)|sqrt|sin|cos|tan|cot|sec|csc|ln|log|pi|infinity|infty|exp|cup)(?![A-Za-z])"
)
_ORDINAL = re.compile(r"(?<=\d)\s*\^?\s*\{?\s*(?:\\(?:text|textsuperscript|mathrm)\s*\{)?(?:th|st|nd|rd)\b\}{0,2}")
_ROW_SPACE = re.compile(r"\\\\\s*\[\s*-?[\d.]+\s*(?:ex|em|pt|mm|cm|in)\s*\]")
_PERIOD = re.compile(r"(?<![\d.])(\d+\.\d*?)(\d{1,3}?)\2+\s*(?:\\(?:ldots|dots|cdots|dotsc)|\.\.\.|…)")
_SCIENTIFIC = re.compile(r"(?<![\\A-Za-z\d.])(\d+(?:\.\d+)?)[eE]([-+]?\d{1,3})(?![\w.]\w)(?!\w)")
_THOUSANDS_SPACE = re.compile(r"(?<=\d)(?:\\[,; ]|[~\u00a0\u202f\u2009])(?=\d{3}(?!\d))")
_MIXED = re.compile(r"(?<![\d/^_{.])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d/.])")


def clean(text: str) -> str:
    """One spelling of `text`; mathematics delimiters, boxes and currency gone, text boxes kept."""
    text = re.sub(r"[ \t]{2,}", " ", text)  # a long run of blanks takes the patterns below minutes
    text = _SCIENTIFIC.sub(r"\1\\cdot 10^{\2}", _THOUSANDS_SPACE.sub("", text))
    if not text.isascii():
        text = _SCRIPT.sub(_braced, text)
        text = "".join(_UNICODE.get(char, char) for char in text)
        text = _DIGIT.sub(lambda match: str(unicodedata.decimal(match[0])), text)
    if "\\begin" not in text:
        text = re.sub(r"^\s*\\\\(?=\\[A-Za-z])", "", text)
        text = re.sub(r"\\\\(?=\s*(?:[*/=]|\+\s))", " ", text)
        text = re.sub(r"\\\\(?=[A-Za-z%$])", r"\\", text)
    text = re.sub(r"(?<!\\)\\([-+*=^])", r"\1", text)  # Markdown's way of writing them
    text = re.sub(r"\\begin\{(?:align|equation|gather)\*?\}|\\end\{(?:align|equation|gather)\*?\}|(?<!\\)&=", " ", text)
    text = _ORDINAL.sub("", _ROW_SPACE.sub(r"\\\\", text))
    text = re.sub(r"(?<=\d)(?:,(?:\\!|\{\})|\{,\})\s?(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"(?<=\d)\{,(\d{3})\}", r"\1", text)
    text = re.sub(r"\\[()\[\]]", " ", text).replace("{,}", ",").replace("\\!", "").replace("\\$", "").replace("$", " ")
    text = re.sub(r"=(?:\s*=)+", "=", text)
    text = _PERIOD.sub(r"\1\\overline{\2}", text)
    text = re.sub(r"\\inf(?=\s*[)\]])", r"\\infty", text)
    text = _OVER_ROOT.sub(r"\1{\2}", text)
    text = re.sub(r"\\(?:boxed|fbox)\s*", "", text).replace('\\"', " ")
    text = re.sub(r"\\left\s*\\\{(.*)\\right\s*\.", r"\1", text, flags=re.DOTALL)
    text = _CHOOSE.sub(r"\\binom{\1}{\2}", text)
    for pattern, plain in _SYNONYMS:
        text = pattern.sub(plain, text)
    text = _SCALED.sub(lambda m: rf" \cdot {SCALES[m['scale']]}{m['box'] or ' '}", text)
    for _ in range(3):
        text, changed = _FONT.subn(lambda m: m[1] or "", text)
        if not changed:
            break
    text = _BASED.sub(r"\1", re.sub(r"(?:\\text\s*)?\{\s*:\s*\}", ":", text))
    text = re.sub(r"^\s*%\s*", "", text.replace("\\%", "%")).replace("€", "").replace("£", "")
    text = _NAMED.sub(lambda m: "\\" + {"infinity": "infty"}.get(m[1], m[1]) + " ", text)
    text = re.sub(r"(?<=[\w)}])(\s*)\*\*\1(?=[\w({])", "^", text).replace("**", " ")
    text = _MIXED.sub(r"\1\\frac{\2}{\3}", text)
    text = re.sub(r"^(?:\s*\\\\)+(?![A-Za-z])|(?:\\\\\s*)+$", " ", text)
    text = re.sub(r"\s+", " ", text).strip().rstrip(".,;:? ").strip("`\"' ").strip()
    while text.endswith("}") and text.count("}") > text.count("{"):
        text = text[:-1].rstrip(". ")
    return re.sub(r"^(?:=|\\approx)\s*", "", text)


def _braced(script: re.Match[str]) -> str:
    """A run of raised or lowered signs as TeX has it."""
    plain = unicodedata.normalize("NFKC", script[0]).replace("−", "-")
    return f"{'^' if script['raised'] else '_'}{{{plain}}}"


def join_thousands(text: str) -> str:
    """`text` with 1,234 read as one number."""
    return re.sub(r"(?<![\d.])\d{1,3}(?:,\s?\d{3})+(?!\d)", _join, text)


def _join(match: re.Match[str]) -> str:
    """A blank after the comma is allowed only in every place at once (TeX's thin spaces), not by default."""
    return match[0] if ", " in match[0] else match[0].replace(",", "")


def has_thousands(text: str) -> bool:
    """Whether 1,234 occurs, which may be one number or two."""
    return re.search(r"\d,\d{3}(?!\d)", text) is not None


def split(text: str, signs: tuple[str, ...]) -> list[tuple[str, str]]:
    """Pieces of `text` outside all brackets, each with the sign before it ("" for the first)."""
    pieces, depth, start, sign, at = [], 0, 0, "", 0
    while at < len(text):
        if text.startswith("\\begin{", at):
            depth += 1
        elif text.startswith("\\end{", at):
            depth -= 1
        elif text[at] in "([{" or text.startswith("\\langle", at):
            depth += 1
        elif text[at] in ")]}" or text.startswith("\\rangle", at):
            depth -= 1
        elif depth <= 0:
            found = next((s for s in signs if _at(text, at, s)), None)
            if found is not None:
                pieces.append((sign, text[start:at].strip()))
                at += len(found)
                start, sign = at, found
                continue
        at += 1
    pieces.append((sign, text[start:].strip()))
    return pieces


def _at(text: str, at: int, sign: str) -> bool:
    if not text.startswith(sign, at):
        return False
    if sign[-1].isalpha():
        after = text[at + len(sign) : at + len(sign) + 1]
        return not after.isalpha() and (sign[0] == "\\" or not text[at - 1 : at].isalpha())
    return True


def words(text: str) -> str:
    """`text` without its text boxes' braces: what a reader sees as words."""
    for _ in range(2):
        text = TEXT_BOX.sub(lambda m: f" {m[1] if m[1] is not None else m[2]} ", text)
    return re.sub(r"\s+", " ", text).strip()


def is_words(text: str) -> bool:
    """Whether a cleaned answer is words and not mathematics: a text box alone, or letters that form a word."""
    inner = text.strip("() ")
    if TEXT_BOX.fullmatch(inner) is not None:
        return not re.fullmatch(r"[\d.,/\s]*", words(inner))
    return re.fullmatch(r"[A-Za-z][A-Za-z'\-]{3,}(?: [A-Za-z'\-]+)*", inner) is not None


def without_units(text: str, keep: str) -> str:
    """`text` without unit boxes and trailing words, but for letters of `keep` (the other answer: its symbols stay)."""
    text = _BOX_AND_POWER.sub(_unit_box, text)
    if "mod" not in keep:
        text = _MODULUS.sub("", text)
    kept = set(re.findall(r"(?<![\\A-Za-z])[A-Za-z]+", keep))
    whole = text
    while True:
        match = _LAST_WORD.search(text)
        if match is None or not match.start() or match["word"] in kept or not _is_unit(match):
            break
        if match["word"].lower() in ("a", "an") and text is whole:  # 3 a day, but 2 a
            break
        if _JOINED.search(text, 0, match.start()):  # 4a^3 + a^2
            break
        text = text[: match.start()].rstrip(" .,/-")
    return _LEADING_WORDS.sub("", re.sub(r"\s+", " ", text)).rstrip(" .,").lstrip(" ,")


def _is_unit(match: re.Match[str]) -> bool:
    """A unit may touch its number; another word of three letters must stand apart, or it is a product of symbols."""
    word, before = match["word"].strip(".'-"), match.string[match.start() - 1]
    if word.lower() in _UNITS:
        return not before.isalpha()
    if word in ("m", "s", "g", "h", "L", "F", "C", "K"):
        return before in " /"
    return (
        len(word) >= 3
        and (before in " /" or match["power"] is not None)
        or word.lower() in ("of", "per", "an", "is", "a")
    )


def _unit_box(match: re.Match[str]) -> str:
    content = (match[1] if match[1] is not None else match[2] or "").strip()
    if content.lower() in ("and", "or"):
        return f" {content.lower()} "
    if match.string[: match.start()].rstrip()[-1:].isdigit() and match.string[match.end() :].lstrip()[:1].isdigit():
        return " , "  # 3 hours 30 minutes is neither 330 nor 90
    return content if re.fullmatch(r"[\d.,/ -]+", content) else " "
