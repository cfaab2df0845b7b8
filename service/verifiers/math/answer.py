"""Math answer finds the final answer in a response, as text, in time linear in the response's length.

Guarantees: what the response denies ("not 42", "42 is wrong") is no answer of it, and of several answers in a row none
is picked out: "41 or 42" is both. A response of which the last characters have no mathematics has no answer.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from service.verifiers.math.number import unit_of

_TAIL_CHARS = 10_000
"""Where nothing marks an answer, it is looked for at the end of the response."""

_MAX_BOXES = 20
"""So many boxes are looked at, from the end."""

_WORDS = r"(?:sqrt|pi|sin|cos|tan|log|ln|exp|inf|infinity)(?![A-Za-z])"
_NUMBER = r"\d{1,3}(?:[,\u00a0\u202f ]\d{3})+(?:\.\d+)?(?!\d)|\d+[a-z]{2}(?=\s*[-+*/^=])|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_NUMBER += r"|\.\d+(?:[eE][+-]?\d+)?"
_SYMBOL = (
    r"\\[a-zA-Z]+|\\[{}%,; !]|(?<![A-Za-z'\u2019])[A-Za-z](?![A-Za-z'\u2019])|[-+*/^_=<>!(){}\[\]|%\u00b0\u2212"
    r"\u00d7\u00b7\u00f7\u221a\u03c0\u221e\u00b1\u2264\u2265\u222a\u2229\u00b2\u00b3\u00bd\u00bc\u00be\u2044]"
)
_ITEM = rf"(?:{_WORDS}|{_NUMBER}|{_SYMBOL})"
_RUN = re.compile(rf"{_ITEM}(?:[ \t]*+(?:,[ \t]*+)?+{_ITEM})*+")
"""A piece of plain text that may be an expression: numbers, letters that stand alone, operators and brackets."""
_MATHS = re.compile(
    r"\d|\\[a-zA-Z]|[\u03c0\u221e\u00bd\u00bc\u00be]|(?<![A-Za-z])(?:pi|infinity)(?![A-Za-z])|(?:sin|cos|tan|log|ln|exp|sqrt)\("
    r"|[A-Za-z]\s*[-+*/^=<>]\s*[A-Za-z]"
)

_ENVIRONMENT = re.compile(
    r"\$\$(?P<a>[^$]{1,2000}+)\$\$|(?<![\\\w])\$(?=\S)(?P<b>[^$\n]{1,2000}+)(?<=\S)\$(?!\d)"
    r"|\\\((?P<c>(?:[^\\]|\\(?!\))){1,2000}+)\\\)|\\\[(?P<d>(?:[^\\]|\\(?!\])){1,2000}+)\\\]"
)
_STATED = re.compile(
    r"(?i:\banswers?\b|\bresult\b|\bsolutions?\b)[\"'*_`]*+(?P<between>[^.:=\n]{0,60}?)[\"'*_`]*+"
    r"(?:\b(?i:is|are|equals?|be)\b|[:=\u2248])[\"'*_`:=\s]*+(?=(?P<rest>[^\n]{0,1000}))"
)
_TAGGED = re.compile(r"<answer>\s*+(?P<rest>[^<]{1,1000})")
_HASHED = re.compile(r"^#{4}[ \t]*+(?P<rest>\S[^\n]{0,1000})", re.MULTILINE)
_DENIES = re.compile(
    r"(?i:\b(?:not|never|cannot|neither|nor|(?<!no\ other\ )than|instead\ of|except|unlike|without"
    r"|(?<!no\ )doubt|hardly|barely|far\ from"
    r"|(?:all|anything|everything)\ but|at\ (?:most|least)|wrong(?:ly)?"
    r"|incorrect(?:ly)?)\b|n['\u2019]t\b|\\neq?\b|\u2260|!=)"
    r"(?i:\s|(?:the|an?|be|been|equals?|to|is|it['\u2019]?s|it|that|exactly|simply|just|possibly|certainly|say|think"
    r"|claim|believe|call|answer)\b|:|\*\*|_|\\?[($])*+$"
)
_DENIED = re.compile(
    r"(?i:[\s$*_)\\.\]}]*+(?:is|was|would\ be|seems|looks|can|could|ca)?(?:n['\u2019]t|\s+not|not|\s*never)\b"
    r"|[\s$*_)\\\]}]*+(?:is|was|would\ be|seems|looks)\s+(?:\w+\s+)?"
    r"(?:wrong|incorrect|false|impossible|too\ (?:large|small|big|high|low)|ruled out))"
)
_LABELS = re.compile(
    r"(?i:\b(?:page|chapter|section|step|question|problem|figure|fig|table|equation|eq|part|exercise|line|case|no)\.?\s*)$"
)
_ALSO = re.compile(
    r"(?i:[\s$*_)\\\]}]*+(?:,?\s*\b(?:and|or)\b)[\s$*_(]*+(?:also|perhaps|maybe|possibly|even)?\s*[$*_(]*)$"
)
_WORD_AFTER = re.compile(r"\s+[a-z]{2,}")
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b")
_DASH = re.compile(r"(?:(?<=[\s=(,\[{$:])|^)[\u2013\u2014](?=[\d\\.])")
_UNIT = re.compile(
    r"\s*\\?\s*(?P<unit>(?:(?:square|cubic|sq\.?|cu\.?)\s+)?[A-Za-z\u00b0%\u03a9\u00b5\u20ac]+(?:/[A-Za-z]+)?(?:\^?\{?[23]\}?|[\u00b2\u00b3])?)"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as the response writes it: `latex` where it stood in a LaTeX environment or a box, and the word that
    follows it, which may be a unit. `others` are answers that stand beside it, joined by "and" or "or"."""

    text: str
    latex: bool = False
    unit: str = ""
    others: tuple[str, ...] = ()


def final_answers(response: str) -> list[Answer]:
    """The answers that the response ends with, the likeliest first; most often there is one, or none.

    The last `\\boxed{}` decides; without one, what follows the last "answer is", "Answer:" or `####`; without any, the
    last expression. An answer in words is `words_of`'s.
    """
    if boxes := _boxes(response):
        return boxes
    tail = _tail(response)
    for found in reversed(_statements(tail)):
        if _denied(tail, found.start("rest"), found.start("rest")) or _denies(found.groupdict().get("between") or ""):
            continue
        if expression := _first(found["rest"]):
            return [expression]
    return _last(tail)


def words_of(response: str) -> Iterator[str]:
    """What the response may have as an answer in words: what is boxed, or stated, or the whole of it."""
    if boxes := _boxes(response):
        yield from (one.text for one in boxes)
        return
    tail = _tail(response)
    for found in _statements(tail)[-1:]:
        if not _denies(found.groupdict().get("between") or ""):
            yield re.split(r"[.,;!\n]| because | since | as ", found["rest"], maxsplit=1)[0]
        return
    if len(response) <= _TAIL_CHARS:
        yield response


def _tail(response: str) -> str:
    """The end of the response, with a minus sign where a dash stands for one."""
    return _DASH.sub("-", response[-_TAIL_CHARS:])


def _statements(text: str) -> list[re.Match[str]]:
    """The places that say what the answer is, a tag or a mark of its own kind last."""
    return [*_STATED.finditer(text), *_HASHED.finditer(text), *_TAGGED.finditer(text)]


def _denies(text: str) -> bool:
    return _DENIES.search(f"{text} ") is not None


def _denied(text: str, start: int, end: int) -> bool:
    """Whether the text says that what stands there is not the answer."""
    return _DENIES.search(text[max(0, start - 60) : start]) is not None or (
        end > start and _DENIED.match(text, end) is not None
    )


def _boxes(response: str) -> list[Answer]:
    """The last box, with the boxes right before it that are joined to it."""
    found: list[tuple[int, int, str]] = []
    end = len(response)
    for _ in range(_MAX_BOXES):
        start = max(response.rfind("\\boxed", 0, end), response.rfind("\\fbox", 0, end))
        if start < 0:
            break
        opened = response.find("{", start)
        if opened < 0 or response[start:opened].strip() not in ("\\boxed", "\\fbox"):
            # `\boxed 4` is a box of one character or number.
            bare = re.compile(r"\\(?:boxed|fbox)\s+(-?\w+)").match(response, start)
            if bare is not None and not found:
                return [Answer(bare[1], latex=True)]
            end = start
            continue
        closed = _closing(response, opened)
        if closed is None:
            end = start
            continue
        if found and not re.fullmatch(
            r"[\s$,;.&)(\\]*(?:and|or|\\text\{\s*(?:and|or)\s*\})?[\s$,;&(\\]*",
            response[closed + 1 : found[0][0]][:200],
        ):
            break
        if not _denied(response, start, start):
            found.insert(0, (start, closed, response[opened + 1 : closed].strip()))
        end = start
    if not found:
        return []
    *others, last = [text for _, _, text in found]
    unit = _UNIT.match(response[found[-1][1] + 1 :][:40].lstrip("$ "))
    return [Answer(last, True, unit["unit"] if unit else "", tuple(one for one in others if one != last))]


def _closing(text: str, opened: int) -> int | None:
    """Where the brace ends, within a bounded distance."""
    depth = 0
    for found in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, opened, opened + _TAIL_CHARS):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0:
            return found.start()
    return None


def _expressions(text: str) -> list[tuple[int, int, Answer]]:
    """The expressions in a piece of text, with their places."""
    found: list[tuple[int, int, Answer]] = []
    position = 0
    for environment in _ENVIRONMENT.finditer(text):
        inner = next(one for one in environment.groups() if one is not None)
        if environment["b"] is not None and re.search(r"(?<![\\{A-Za-z])[A-Za-z]{3,} ", inner) and "\\" not in inner:
            continue  # "$5 and then $" is money
        found += _runs(text, position, environment.start())
        unit = _UNIT.match(text, environment.end())
        found.append(
            (environment.start(), environment.end(), Answer(inner.strip(), True, unit["unit"] if unit else ""))
        )
        known = unit is not None and unit_of(unit["unit"])
        position = unit.end() if unit is not None and known else environment.end()
    return found + _runs(text, position, len(text))


def _runs(text: str, begin: int, end: int) -> list[tuple[int, int, Answer]]:
    found = []
    for run in _RUN.finditer(text, begin, end):
        start, stop = run.span()
        # A letter that is a word, a bullet of a list and a sign in the middle of a word are no part of it.
        lead = re.compile(r"(?:[aAI]\s+(?=[\d$\\-])|[-*+]\s+(?=\S))").match(text, start)
        if lead is not None:
            start = lead.end()
        before = text[start - 1] if start else " "
        if before.isalnum() or before == "_":
            if text[start].isalnum():
                continue
            start += 1
        piece = _balanced(text[start:stop].rstrip(" \t,*_|=+-/<^([{"))
        if piece.endswith("!") and not piece.endswith("!!") and re.search(r"[A-Za-z]{2,}[^.\n]*$", text[:start][-60:]):
            piece = piece[:-1]  # the end of a sentence rather than a factorial
        if _WORD_AFTER.match(text, start + len(piece)):
            piece = re.sub(r"[\s,]+[AI]$", "", piece)  # "42, I think"
        if not _MATHS.search(piece) or _ORDINAL.match(text, start + len(piece)):
            continue
        stop = start + len(piece)
        unit = _UNIT.match(text, stop)
        found.append((start, stop, Answer(piece.strip(), unit=unit["unit"] if unit else "")))
    return found


def _balanced(piece: str) -> str:
    """Without the emphasis and the brackets around it that belong to the sentence."""
    piece = piece.strip("*_ ")
    while (
        piece
        and piece[-1] in ")]}"
        and piece.count(piece[-1]) > piece.count(dict(zip(")]}", "([{", strict=True))[piece[-1]])
        and not re.match(r"[(\[].*,", piece)
    ):
        piece = piece[:-1].rstrip()
    return piece


def _first(text: str) -> Answer | None:
    """The first expression of a statement, with those that are joined to it."""
    found = _expressions(text)
    for n, (start, end, answer) in enumerate(found):
        if _denied(text, start, end):
            continue
        joined = [answer]
        for begin, stop, other in found[n + 1 :]:
            between = text[end:begin]
            if not (_ALSO.match(between) or re.fullmatch(r"\s*,\s*", between)):
                break
            joined.append(other)
            end = stop
        return Answer(joined[0].text, joined[0].latex, joined[-1].unit, tuple(one.text for one in joined[1:]))
    return None


def _last(text: str) -> list[Answer]:
    """The last expression that is not denied, with those that are joined to it."""
    found = _expressions(text)
    found = [one for one in found if _LABELS.search(text[max(0, one[0] - 12) : one[0]]) is None]
    denied = {answer.text for start, end, answer in found if _denied(text, start, end)}
    for n in range(len(found) - 1, -1, -1):
        start, end, answer = found[n]
        if _denied(text, start, end) or answer.text in denied:
            continue
        first = n
        while first and _ALSO.match(text[found[first - 1][1] : found[first][0]]):
            first -= 1
        others = tuple(one.text for _, _, one in found[first:n])
        return [Answer(answer.text, answer.latex, answer.unit, others)]
    return []
