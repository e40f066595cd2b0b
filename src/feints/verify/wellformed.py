"""Whether a stated answer is well-formed LaTeX at all: what is not, and no checker reads, is no answer."""

from __future__ import annotations

import re
import unicodedata

from feints.verify.syntax import disorder
from feints.verify.tex import TEXT_BOX, clean

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
_STRAY = re.compile(
    "|".join(
        (
            r"(?<!\.)\.\.(?!\.)",
            r"\.!!|\.!\d",
            r"\d\.[a-z][a-z\d]",
            r"(?<![\\A-Za-z^_])[a-z]\{\d",  # what is left of a command
            r"[\w}]\{\s*\}\s*\Z",
            r"\^\s+[-+]",  # a power is lost
            r"\\(?:inf|sup|in|cup|cap)\s*\d",
            r"\\inf\s*!",
            r"\\(?:math(?:rm|bf|it|sf|bb|cal)|text(?:bf|it|rm)?)\s*\Z",
            r"[A-Za-z\d.]\s*\\infty(?![A-Za-z])|(?<!\^)(?<!\^\s)\\infty\s*(?:\d|!|\\frac|\\sqrt)",
            r"(?<![A-Za-z])[A-Za-z\d.]\s?∞|∞[A-Za-z\d]|∞\s\d",
            r"\d\s*\[[^\[\]]*,[^\[\]]*\]",  # a number right before or behind an interval
            r"(?<![A-Za-z}])[(\[][^()\[\]]*,(?!\d{3}\D)[^()\[\]]*[)\]]\s*\d",
        )
    )
)
"""Signs out of place; a multiple of infinity."""
_FRAGMENT = re.compile(r"(?<![\\A-Za-z])([A-Za-z]{2,})\{")
"""Letters right before a group: what is left of a command."""
_LOST = ("frac", "dfrac", "tfrac", "binom", "boxed", "text", "mathrm", "overline", "begin", "end", "pmod")
"""Commands that mean nothing without their backslash."""
_MATRIX = re.compile(r"\\begin\s*\{[a-zA-Z]?matrix\}((?:(?!\\begin|\\end).)*)\\end", re.DOTALL)
_CODE = re.compile(
    r"```|\w`\w|[A-Za-z]{2,}\(\)|\bsolve\(|</?think>|#{2,}|<\||while True:|\bimport \w|\[asy\]",
    re.IGNORECASE,
)
_AGAIN = re.compile(r"\b([A-Za-z]{2,})(?: \1\b){2,}|(?!\d)(.{2,40}?)\2{7,}")
"""Words or signs over and over; the digits of 0.666... are none."""
_TOWER = re.compile(r"\^\s*(?:\{[^{}]*\}|\w)\s*\^")
_BEGUN = re.compile(
    r"\A(?:we|if|let|using|since|because|at|substituting|by|from|thus|hence|then|therefore|now|each|this|there|the|first,?)"
    r"\s+(?:(?!quadrant)[a-z]{2}|[a-z]-|\$)",
    re.IGNORECASE,
)
"""How a sentence begins, and no answer."""
_SENSELESS = (
    (_TOWER, "one power follows another without braces"),
    (_AGAIN, "it says the same again and again"),
    (re.compile(r"(?<!\\)\\\Z"), "it ends in a backslash"),
    (_CODE, "code stands in it"),
    (re.compile(r"\d{50}"), "a number of fifty digits stands in it"),
    (_BEGUN, "it is prose"),
    (re.compile(r"\\sqrt\s*\[\s*0\s*\]"), "there is no zeroth root"),
    (re.compile(r"(?<!\\begin)(?<!\\end)\{[a-zA-Z]?matrix\}"), "a matrix is not begun"),
    (re.compile(r"\\frac\s*(?:\{[^{}]*\}\s*){3}"), "its fraction has three parts"),
    (re.compile(r"\\text(?:bf|it|rm)?\s*\d"), "\\text lacks what belongs to it"),
)
"""What no answer holds, and why."""
_CONJUNCTION = re.compile(r"\b(?:and|or|not|the|is)\b", re.IGNORECASE)
_ABROAD = re.compile(r"[^\W\d_a-zA-Z\u00aa\u00b5\u00ba\u0370-\u03e1\u03f0-\u03ff\u2100-\u214f\U0001d400-\U0001d7ff]")
"""A letter of neither the Latin nor the Greek alphabet of mathematics."""
_ACCENTS = (*range(0x300, 0x309), 0x30A, 0x30C, 0x331, 0x332, 0x338)
"""Marks put over letters and digits: means, recurring decimals."""
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
    said = len(_WORD.findall(_COMMAND.sub(" ", TEXT_BOX.sub(" ", text))))
    if "\\begin" not in text and said >= (_STORY if re.search(r"[\d\\]", text) else _PROSE):
        return "it is prose"
    return _without_sense(text)


def _without_sense(text: str) -> str:
    """What stands where it can mean nothing."""
    if not re.search(r"\w|\\[A-Za-z{]|[^\x00-\x7f]", _CONJUNCTION.sub("", text)):
        return "there is neither a number nor a word in it"
    senseless = next((why for pattern, why in _SENSELESS if pattern.search(text)), "")
    if senseless:
        return senseless
    abroad = next(filter(_abroad, TEXT_BOX.sub(" ", text)), "")
    if abroad:
        return f"{ascii(abroad)}, no letter of mathematics, stands among its signs"
    if not all(map(_even, _MATRIX.findall(text))):
        return "the rows of its matrix are not of one length"
    fragment = next((word for word in _FRAGMENT.findall(text) if word not in _KNOWN or word in _LOST), "")
    if fragment:
        return f"{fragment!r} before a brace is no command of LaTeX"
    stray = _STRAY.search(text.rstrip(" .,$"))
    begun = "" if text.count("\\begin{") == text.count("\\end{") else "what is begun in it is not closed"
    return disorder(clean(text)) or begun or (f"{stray[0].strip()!r} is out of place" if stray else "")


def _abroad(letter: str) -> bool:
    """Whether a letter, or a mark on one, is of a script that mathematics does not use."""
    mark = unicodedata.category(letter).startswith("M") and ord(letter) not in _ACCENTS
    return mark or _ABROAD.match(letter) is not None


def _even(matrix: str) -> bool:
    """Whether the rows of a matrix have as many entries each."""
    rows = [row for row in re.split(r"\\\\", matrix) if row.strip()]
    return len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) <= 1
