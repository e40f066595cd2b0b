"""Whether a stated answer is well-formed LaTeX at all: what is not, and no checker reads, is no answer."""

from __future__ import annotations

import re
import unicodedata

_COMMAND = re.compile(r"\\([A-Za-z]+)")
_NAMES = """
frac dfrac tfrac cfrac binom dbinom tbinom choose over sqrt root boxed fbox text textbf textit textrm textsf textsc
textsl textup texttt textnormal mathtt mathrm mathbf mathit mathsf mathbb mathcal mathfrak mathscr operatorname mbox
hbox emph bf rm it sf tt em boldsymbol bm pmb left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr
lfloor rfloor lceil rceil langle rangle lvert rvert lVert rVert vert Vert mid nmid parallel perp backslash lbrace
rbrace lbrack rbrack begin end hline cdot cdots ldots dots dotsb dotsc dotsm dotso vdots ddots times div pm mp ast
star circ bullet oplus ominus otimes oslash odot boxplus boxtimes uplus amalg wr cup cap bigcup bigcap sqcup setminus
in notin ni subset subseteq supset supseteq emptyset varnothing forall exists neg lnot land lor wedge vee le leq
leqslant ge geq geqslant lt gt ne neq not equiv approx sim simeq cong propto ll gg to rightarrow leftarrow Rightarrow
Leftarrow leftrightarrow Leftrightarrow longrightarrow mapsto implies iff infty partial nabla prime degree angle
triangle square Box blacksquare qed sum prod int iint oint lim limsup liminf sup inf max min arg det dim ker gcd lcm
deg hom exp log ln lg sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth mod bmod pmod pod equals
alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi omicron pi varpi rho
varrho sigma varsigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega
ell hbar imath jmath Re Im aleph overline underline bar hat widehat tilde widetilde vec dot ddot acute grave overbrace
underbrace overrightarrow overleftarrow stackrel overset underset substack phantom hphantom vphantom quad qquad hspace
vspace space thinspace enspace negthinspace displaystyle textstyle scriptstyle limits nolimits dollar percent euro
pounds cent S P dag ddagger copyright checkmark therefore because label tag nonumber notag cline color textcolor rule
raisebox smash mathop mathbin mathrel mathord array matrix small large Large normalsize tiny footnotesize cancel
bcancel xcancel colon colonneqq asymp models vdash top bot surd diamond Diamond clubsuit heartsuit spadesuit
allowbreak null dashv Vdash vDash prec preceq succ succeq lll ggg doteq lesssim gtrsim lessgtr subsetneq supsetneq
sqsubseteq sqsupseteq nsubseteq nless ngtr nleq ngeq ncong nexists nparallel smallsetminus biguplus bigvee bigwedge
bigoplus bigotimes bigodot coprod oiint iiint longleftarrow longleftrightarrow Longrightarrow Longleftarrow
Longleftrightarrow hookrightarrow rightharpoonup rightleftharpoons xrightarrow uparrow downarrow updownarrow nearrow
searrow leadsto hslash beth complement mho eth Finv wp triangleleft triangleright bigtriangleup bigtriangledown
measuredangle sphericalangle bigstar dagger lozenge ring breve check mathring varlimsup varliminf injlim projlim Pr
csch sech arctg tg ctg sgn flat natural sharp underbar boldmath unit SI num ohm micro AA aa ss ae oe AE OE
"""
_KNOWN = frozenset(_NAMES.split())
"""Commands of LaTeX and amsmath that may stand in an answer."""
_RELATION = r"(?:[=<>]|\\(?:leq?|geq?|neq?|lt|gt|approx|equiv)(?![A-Za-z]))"
_PRODUCT = r"\\(?:cdot|times|div)(?![A-Za-z])"
_SIGN = rf"(?:[-+*/^_]|{_RELATION}|{_PRODUCT}|\\(?:pm|mp|cup|cap|in|setminus)(?![A-Za-z]))"
_DANGLING = re.compile(
    "|".join(
        (
            rf"(?:[*/^_]|[-+]\s*[*/^_]|{_PRODUCT})\s*(?:[*/^_=<>)\]}}]|{_PRODUCT})",
            rf"{_SIGN}\s*\Z",
            rf"\A\s*(?:[/*^_,;!%&]|{_RELATION}|\\(?:cup|cap|in)(?![A-Za-z]))",
            rf"{_RELATION}\s*[,)}}]",
            r"\{\s*[=*/]",
            r"[\^_]\s*\{\s*\}",
            r"(?<![\^_{])[-+]\s*[),]",
            r"(?:[-+]\s*){3,}",
            r"[,(\[]\s*[,;!]",
            r"\(\s*\)",
            rf"(?:[-+*/({{]|(?<!\\)[=])\s*!|(?<!\.)\.\.(?!\.)|[-+*/({{]\s*{_RELATION}",
            rf"{_SIGN}\s*(?:(?<!\\)&|\\\\|\\end(?![A-Za-z]))",
            r"[-+*/]\s*\\?%|[-+]\s*[*/^_]|\{\s*,(?!\s*\})|[\w}]\{\s*\}\s*\Z|\^\s*-\s|\d\.[a-z]{2}",
            r"\\(?:inf|sup|in|cup|cap)\s*\d",
            r"[A-Za-z\d]\s*\\infty(?![A-Za-z])|\\infty\s*\d|(?<![A-Za-z])[A-Za-z\d]\s?∞|∞\s?\d",
        )
    )
)
"""Signs with nothing between them, after them, or before them; a member of infinity, a multiple of it."""
_ARGUMENTS = {"boxed": 1, "sqrt": 1} | dict.fromkeys(
    ("frac", "dfrac", "tfrac", "cfrac", "binom", "dbinom", "tbinom"), 2
)
_ARGUMENT = re.compile(
    r"\s*(?:\{(?!\s*\})|\\(?!(?:end|right|cdot|times|div|pm|mp|cup|cap|in|leq?|geq?|neq?|sqrt)(?![A-Za-z]))[A-Za-z]+|\w)"
)
"""How an argument may begin: a group that is not empty, a command, or one letter or digit."""
_FRAGMENT = re.compile(r"(?<![\\A-Za-z])([A-Za-z]{2,})\{")
"""Letters right before a group: what is left of a command."""
_LOST = ("frac", "dfrac", "tfrac", "binom", "boxed", "text", "mathrm", "overline", "begin", "end", "pmod")
"""Commands that mean nothing without their backslash."""
_BOX = re.compile(r"\\(?:text|mbox|hbox)(?:bf|it|rm|normal)?\s*\{[^{}]*\}")
"""Text among the signs."""
_ENVIRONMENT = re.compile(r"\\(begin|end)\s*\{([^{}]*)\}")
_MATRIX = re.compile(r"\\begin\s*\{[a-zA-Z]?matrix\}((?:(?!\\begin|\\end).)*)\\end", re.DOTALL)
_DELIMITERS = re.compile(r"(?<!\\)\\[()\[\]]")
_CODE = re.compile(
    r"```|\w`\w|[A-Za-z]{2,}\(\)|\bsolve\(|</?think>|#{2,}|<\||\bwhile True:|\bimport \w|\[asy\]", re.IGNORECASE
)
_AGAIN = re.compile(r"\b([A-Za-z]{2,})(?: \1\b){3,}|(?!\d)(.{2,40}?)\2{7,}")
"""Words or signs over and over; the digits of 0.666... are none."""
_TOWER = re.compile(r"\^\s*(?:\{[^{}]*\}|\w)\s*\^")
_SENSELESS = (
    (_TOWER, "one power follows another without braces"),
    (_AGAIN, "it says the same again and again"),
    (re.compile(r"(?<!\\)\\\Z"), "it ends in a backslash"),
    (_CODE, "code stands in it"),
    (re.compile(r"\d{50}"), "a number of fifty digits stands in it"),
    (re.compile(r"\A(?:We|If|Let|Using|Since|Because|At|Substituting)\s+(?:[a-z]{2}|\$)"), "it is prose"),
    (re.compile(r"\\text\s*\d"), "\\text lacks what belongs to it"),
)
"""What no answer holds, and why."""
_CONJUNCTION = re.compile(r"\b(?:and|or|not|the|is)\b", re.IGNORECASE)
_SHAPES = "°△▲□■○◯"
"""Symbols that mean something in mathematics, among the pictures of Unicode."""
_ABROAD = re.compile(r"[^\W\d_a-zA-Z\u00aa\u00b5\u00ba\u0370-\u03ff\u1f00-\u1fff\u2100-\u214f\U0001d400-\U0001d7ff]")
"""A letter of neither the Latin nor the Greek alphabet of mathematics."""
_ACCENTS = range(0x300, 0x370)
"""Marks put over letters and digits: means, recurring decimals."""
_ESCAPED = re.compile(r"\\[{}]")
_NO_SYMBOL = re.compile(r"(?<!\\)(?:\\\\)*\\[^A-Za-z\s,;:!()\[\]{}$%&#_|\\/.'\"<>=+*^~@?`]|(?:\\\\\s*){2}")
_ODD = ("Cc", "Cs", "Co", "Cn", "Cf")
"""Categories of characters nobody writes on purpose."""
_WORD = re.compile(r"[A-Za-z]{3,}")
_PROSE, _STORY = 4, 9
"""Words from which on a text is prose: without a digit or a command among them, and with."""


def malformed(text: str) -> str:
    """Why a text cannot be an answer in LaTeX, or nothing where it is well formed, readable or not."""
    text = text.strip().strip("$").strip().replace("√", "\\sqrt ")
    odd = next((letter for letter in text if unicodedata.category(letter) in _ODD and letter not in "\n\t\r"), "")
    if odd:
        return f"the character {ascii(odd)} stands in it"
    unknown = next((name for name in _COMMAND.findall(text) if name not in _KNOWN), "")
    if unknown:
        return f"\\{unknown} is no command of LaTeX"
    symbol = _NO_SYMBOL.search(text)
    if symbol:
        return f"{symbol[0]!r} is no command of LaTeX"
    said = len(_WORD.findall(_COMMAND.sub(" ", _BOX.sub(" ", text))))
    if "\\begin" not in text and said >= (_STORY if re.search(r"[\d\\]", text) else _PROSE):
        return "it is prose"
    if not _braced(_ESCAPED.sub("", text)) or (text.count("\\{") != text.count("\\}") and "\\right" not in text):
        return "its braces do not match"
    if _count(text, "left") != _count(text, "right") or not _closed_environments(text):
        return "what is opened in it is not closed"
    if _unmatched(text) or _crossed(text):
        return "its brackets do not match"
    return _without_sense(text)


def _without_sense(text: str) -> str:
    """What stands where it can mean nothing."""
    if not re.search(r"\w|\\[A-Za-z{]|[^\x00-\x7f]", _CONJUNCTION.sub("", text)):
        return "there is neither a number nor a word in it"
    stray = next((sign for sign in text if unicodedata.category(sign) == "So" and sign not in _SHAPES), "")
    if stray:
        return f"the picture {ascii(stray)} stands in it"
    senseless = next((why for pattern, why in _SENSELESS if pattern.search(text)), "")
    if senseless:
        return senseless
    abroad = next(filter(_abroad, _BOX.sub(" ", text)), "")
    if abroad:
        return f"{ascii(abroad)}, no letter of mathematics, stands among its signs"
    if "\\begin" not in text and re.search(r"(?<!\\)&", text):
        return "& stands outside of a matrix"
    if not all(map(_even, _MATRIX.findall(text))):
        return "the rows of its matrix are not of one length"
    lacking = next((name for name in _ARGUMENTS if not _has_arguments(text, name)), "")
    if lacking:
        return f"\\{lacking} lacks what belongs to it"
    fragment = next((word for word in _FRAGMENT.findall(text) if word not in _KNOWN or word in _LOST), "")
    if fragment:
        return f"{fragment!r} before a brace is no command of LaTeX"
    dangling = _DANGLING.search(text.rstrip(" .,$"))
    return f"{dangling[0].strip()!r} joins nothing" if dangling else ""


def _abroad(letter: str) -> bool:
    """Whether a letter, or a mark on one, is of a script that mathematics does not use."""
    mark = unicodedata.category(letter).startswith("M") and ord(letter) not in _ACCENTS
    return mark or _ABROAD.match(letter) is not None


def _even(matrix: str) -> bool:
    """Whether the rows of a matrix have as many entries each."""
    rows = [row for row in re.split(r"\\\\", matrix) if row.strip()]
    return len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) <= 1


def _has_arguments(text: str, name: str) -> bool:
    """Whether every command `name` is followed by as many arguments as it takes."""
    for match in re.finditer(rf"\\{name}(?![A-Za-z])\s*(?:\[[^\[\]]*\])?", text):
        at = match.end()
        for _ in range(_ARGUMENTS[name]):
            begin = _ARGUMENT.match(text, at)
            if begin is None:
                return False
            at = _group_end(text, begin.end() - 1) if begin[0].endswith("{") else begin.end()
    return True


def _group_end(text: str, start: int) -> int:
    """Behind the brace that closes the one at `start`."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return at + 1
    return len(text)


def _closed_environments(text: str) -> bool:
    opened: list[str] = []
    for which, name in _ENVIRONMENT.findall(text):
        if which == "begin":
            opened.append(name)
        elif not opened or opened.pop() != name:
            return False
    return not opened and _count(text, "begin") == _count(text, "end")


def _unmatched(text: str) -> bool:
    """Whether round and square brackets fail to pair up; [a, b) pairs, and ]a, b[ does."""
    plain = _DELIMITERS.sub("", re.sub(r"\\(?:left|right)\s*[.()\[\]]?", "", text))
    depth = lowest = 0
    for letter in plain:
        depth += (letter in "([") - (letter in ")]")
        lowest = min(lowest, depth)
    return depth != 0 or (lowest < 0 and "]" not in plain)


def _crossed(text: str) -> bool:
    """Whether a round bracket opened outside of a group is closed inside it."""
    opened: list[str] = []
    for letter in _DELIMITERS.sub("", _ESCAPED.sub("", text)):
        if letter in "({":
            opened.append(letter)
        elif letter == ")" and opened and opened[-1] == "{" and "(" in opened:
            return True
        elif (letter == ")" and opened and opened[-1] == "(") or (letter == "}" and "{" in opened):
            while opened.pop() != ("(" if letter == ")" else "{"):
                pass
    return False


def _braced(text: str) -> bool:
    depth = 0
    for letter in text:
        depth += (letter == "{") - (letter == "}")
        if depth < 0:
            return False
    return depth == 0


def _count(text: str, name: str) -> int:
    return len(re.findall(rf"\\{name}(?![A-Za-z])", text))
