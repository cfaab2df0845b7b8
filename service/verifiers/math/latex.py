"""Math latex writes an expression as LaTeX that math-verify's parser reads as it was meant.

Guarantees: an expression that is LaTeX already keeps its meaning; a power of several digits is one exponent, so that
`2^10` is 1024 and not ten times two.
"""

import re

_SIGNS = {
    "\u2212": "-", "\u00d7": r"\times ", "\u00b7": r"\cdot ", "\u00f7": r"\div ", "\u03c0": r"\pi ",
    "\u221e": r"\infty ", "\u00b1": r"\pm ", "\u2264": r"\le ", "\u2265": r"\ge ", "\u222a": r"\cup ",
    "\u2229": r"\cap ", "\u00b2": "^{2}", "\u00b3": "^{3}", "\u00bd": r"\frac{1}{2}", "\u00bc": r"\frac{1}{4}",
    "\u00be": r"\frac{3}{4}", "\u2044": "/", "\u00a0": " ", "\u202f": " ", "**": "^", "<=": r"\le ", ">=": r"\ge ",
}  # fmt: skip
_SIGN = re.compile("|".join(map(re.escape, _SIGNS)))
_NAME = re.compile(r"(?<![\\A-Za-z])(sqrt|pi|sin|cos|tan|log|ln|exp|infinity|inf)(?![A-Za-z])")
_TWICE_ROUND = re.compile(r"\(\s*\(([^()]*)\)\s*\)")
_TWICE_CURLY = re.compile(r"(?<!\\)\{\s*\{([^{}]*)\}\s*\}")
_LATEX_NAMES = {"inf": "infty", "infinity": "infty"}


def as_latex(text: str, *, plain: bool = True) -> str:
    """`plain` text may have braces around a set, and `*` between factors."""
    if plain and re.fullmatch(r"\{.*\}", text):
        text = rf"\{{{text[1:-1]}\}}"
    text = _unwrapped(text)
    text = _SIGN.sub(lambda found: _SIGNS[found[0]], text)
    text = re.sub(r"\u221a\s*(\d+|[A-Za-z])", r"\\sqrt{\1}", text).replace("\u221a", "sqrt")
    text = re.sub(r"(?<=\d)[eE]([+-]?\d+)", r"\\cdot 10^{\1}", text)
    text = _NAME.sub(lambda found: f"\\{_LATEX_NAMES.get(found[1], found[1])} ", text)
    text = re.sub(r"\\(d|t|c)frac", r"\\frac", text)
    text = re.sub(r"\\sqrt\s+(\d|[A-Za-z])", r"\\sqrt{\1}", text)
    text = _braced(text, r"\sqrt")
    text = _braced(text, "^")
    text = re.sub(r"\^\s*(-?\d+|-[A-Za-z])", r"^{\1}", text)
    if plain:
        text = text.replace("*", r"\cdot ")
    return text.strip()


def nesting(text: str) -> int:
    """How deep the brackets are nested."""
    depth = deepest = 0
    for one in re.findall(r"[{}()\[\]]", text):
        depth += 1 if one in "{([" else -1
        deepest = max(deepest, depth)
    return deepest


def _unwrapped(text: str) -> str:
    """With one pair of brackets where several of a kind stand around the same: each pair costs the parser a multiple of
    the time."""
    for pattern, once in ((_TWICE_ROUND, r"(\1)"), (_TWICE_CURLY, r"{\1}")):
        shorter = pattern.sub(once, text)
        while shorter != text:
            text, shorter = shorter, pattern.sub(once, shorter)
    return text


def _braced(text: str, before: str) -> str:
    """With braces in place of the round brackets that stand right after `before`."""
    begin = 0
    pattern = re.compile(re.escape(before) + r"\s*\(")
    while (found := pattern.search(text, begin)) is not None:
        depth = 0
        for place in range(found.end() - 1, len(text)):
            depth += {"(": 1, ")": -1}.get(text[place], 0)
            if depth == 0:
                text = f"{text[: found.start()]}{before}{{{text[found.end() : place]}}}{text[place + 1 :]}"
                break
        else:
            return text
        begin = found.start() + len(before)
    return text
