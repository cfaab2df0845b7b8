"""The math rule compares the final answer of a response with a gold answer, cheaply where it can, else by math-verify.

Guarantees: numbers, units and words are compared here and exactly, without loading the library. Whatever is larger than
`math_size` allows is refused before it is evaluated. math-verify gets one short expression, not the response, because
its own search takes time that grows with the square of a response's length.
"""

import ast
import itertools
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from typing import Any

from service.verifiers.cheap import CHEAP, names_a_choice
from service.verifiers.math.answer import Answer, final_answers, words_of
from service.verifiers.math.latex import as_latex, nesting
from service.verifiers.math.number import Quantity, equal, read, split_unit, unit_of

Params = dict[str, Any]
Verify = Callable[[Params, str], bool]

_STRICT = ("math_verify", "latex2sympy2_extended")
_FAILURES = (MemoryError, RecursionError, OverflowError)
_MAX_CHARS = 1_000
_MAX_NESTING = 20
"""An answer that is longer, or has brackets nested deeper, is not read as an expression: the parser takes seconds."""
_WORDS = re.compile(r"(?:[A-Za-z\u00c0-\u024f]{3,}|[Nn]o|NO)(?:[ -][A-Za-z\u00c0-\u024f]+)*")
_FUNCTIONS = re.compile(r"(?:sqrt|pi|sin|cos|tan|log|ln|exp|inf|infinity)", re.IGNORECASE)
_TEXT = re.compile(r"\\(?:text|mathrm|textbf|textit|mbox|textrm|mathbf)\s*\{([^{}]*)\}")
_BRACKETS = re.compile(r"(?:\\left)?\s*(\\?[{(\[]).*(\\?[})\]])", re.DOTALL)


class Unread(Exception):
    """The gold answer or the response cannot be compared; the first argument is the fixed word that says why."""


def decide_cheaply(params: Params, response: str) -> bool | None:
    """Whether the response's final answer is the gold one; None where only the library can tell."""
    gold = _inner(params["gold"])
    if names_a_choice(gold) and CHEAP["choice"]({"gold": gold}, response):
        return True
    word = _word(gold)
    if word is not None:
        if any(_word(_inner(one)) == word for one in words_of(response)):
            return True
        if _TEXT.fullmatch(gold) or word in ("yes", "no", "true", "false"):
            return False
    known = read(gold)
    if known is None:
        return None
    answers = final_answers(response)
    if not answers:
        return False
    outcomes = [_compare(known, one) for one in answers]
    if True in outcomes:
        return True
    return None if None in outcomes else False


def _compare(gold: Quantity, answer: Answer) -> bool | None:
    """None where the answer is no plain number."""
    stated = [read(_last_side(one)) for one in (*answer.others, answer.text)]
    if any(one is None for one in stated):
        return None
    following = answer.unit.lower()
    outcomes = []
    for one in stated:
        assert one is not None
        unit = one.unit or unit_of(answer.unit)
        percent = one.percent or following in ("%", "percent", "percentage", "pct")
        outcomes.append(equal(gold, Quantity(one.value, one.places, percent, "" if percent else unit)))
    return all(outcomes)


def _last_side(text: str) -> str:
    """What stands on the right of an equation such as `x = 3`."""
    sides = re.split(r"(?<![\\<>!])=|\\approx|\u2248", text)
    return sides[-1] if len(sides) > 1 and sides[-1].strip() else text


def _inner(text: str) -> str:
    """The text without the box or the LaTeX environment around the whole of it."""
    text = text.strip()
    for begin, end in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("\\boxed{", "}")):
        inner = text[len(begin) : -len(end)]
        if len(text) > len(begin) + len(end) - 1 and text.startswith(begin) and text.endswith(end):
            if (begin[:1] == "$" and "$" in inner) or (begin == "\\boxed{" and not _even(inner)):
                continue
            return _inner(inner)
    return text


def _even(text: str) -> bool:
    """Whether each brace is closed in the text."""
    depth = 0
    for one in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if one == "{" else -1
        if depth < 0:
            return False
    return depth == 0


def _word(text: str) -> str | None:
    """An answer in words, as it is compared; None where it is none."""
    if (wrapped := _TEXT.fullmatch(text.strip())) is not None:
        text = wrapped[1]
    text = re.sub(r"[\s*_`\"'.!,:;()]+", " ", text).strip()
    if _WORDS.fullmatch(text) is None or _FUNCTIONS.fullmatch(text) is not None:
        return None
    return text.casefold()


def load() -> Verify:
    """Loads the library; what it returns decides all that `decide_cheaply` leaves open. Raises Unread."""
    sys.meta_path.insert(0, _StrictFinder)
    from math_verify import LatexExtractionConfig, parse, verify

    from service.verifiers.math import size as math_size

    _guard(math_size.check_size)
    extraction = [LatexExtractionConfig()]

    def read_latex(text: str, *, plain: bool = True, marked: bool = False) -> list[Any]:
        """Parses an expression, or one that is `marked` as LaTeX in text of its own."""
        latex = text if marked else as_latex(text, plain=plain)
        if len(latex) > _MAX_CHARS or max(nesting(latex), latex.count("|")) > _MAX_NESTING:
            raise Unread("long")
        # The library's own time limits are off: they end in "not equal", which would be a verdict that it has not
        # found.
        box = latex if marked else f"\\boxed{{{latex}}}"
        found: list[Any] = parse(box, extraction, parsing_timeout=None, raise_on_error=True)
        return found

    def answers_of(response: str, gold: str, gold_unit: str) -> Iterator[Any]:
        """The response's answers, parsed, as far as their unit and their brackets are those of the gold answer."""
        for answer in final_answers(response):
            text, unit = split_unit(answer.text)
            unit = unit or unit_of(answer.unit)
            if (gold_unit and unit and gold_unit != unit) or _other_brackets(gold, text):
                continue
            joined = ", ".join((*answer.others, text))
            yield from read_latex(joined, plain=not answer.latex)

    def compare(params: Params, response: str) -> bool:
        gold = params["gold"]
        inner, gold_unit = split_unit(_inner(gold))
        marked = any(mark in inner for mark in ("\\boxed", "$", "\\(", "\\["))
        golds = read_latex(gold if marked else inner, marked=marked)
        if all(isinstance(one, str) for one in golds):
            raise Unread("gold")
        failures: list[Exception] = []
        for stated, expected in itertools.product(answers_of(response, inner, gold_unit), golds):
            math_size.check_size(expected, stated)
            try:
                if verify(expected, stated, timeout_seconds=None, raise_on_error=True):
                    return True
            except math_size.TooLarge:
                raise
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return False

    def decide(params: Params, response: str) -> bool:
        try:
            return compare(params, response)
        except math_size.TooLarge as error:
            raise Unread("size") from error

    # The libraries load most of themselves with the first use, and that time must not count for a check.
    decide({"gold": "x^2 + 2x + 1"}, "$(x+1)^2$")
    return decide


def _other_brackets(gold: str, stated: str) -> bool:
    """Whether one is written as a set and the other as a tuple or an interval: math-verify takes `{1, 2}` for
    `(1, 2)`."""
    kinds = []
    for text in (gold, stated):
        whole = _BRACKETS.fullmatch(text.strip())
        kinds.append(None if whole is None or "," not in text else whole[1].removeprefix("\\") == "{")
    return None not in kinds and kinds[0] != kinds[1]


def _guard(check: Callable[..., None]) -> None:
    """The parser evaluates some functions while it reads. Their arguments are checked first, or they are left
    unevaluated."""
    import sympy
    from latex2sympy2_extended import latex2sympy2 as reader

    def checked(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            for one in args:
                check(*(one if isinstance(one, tuple | list) else (one,)))
            return function(*args, **options)

        return call

    class _Sympy:
        binomial = staticmethod(partial(sympy.binomial, evaluate=False))
        gcd, lcm, nsimplify = (staticmethod(checked(one)) for one in (sympy.gcd, sympy.lcm, sympy.nsimplify))

        def __getattr__(self, name: str) -> Any:
            return getattr(sympy, name)

    reader.sympy = _Sympy()
    for name in ("simplify", "factor", "expand", "apart", "expand_trig"):
        setattr(reader, name, checked(getattr(sympy, name)))


class _Strict(SourceFileLoader):
    """Loads a module such that its `except Exception` clauses raise certain failures again.

    math-verify and its parser catch nearly everything and go on as if it meant "no mathematics" or "not equal". That is
    right for expressions that cannot be parsed or compared. It is wrong when memory or stack ran out or a number was
    out of bounds: then the rule has found nothing.
    """

    def get_code(self, fullname: str) -> Any:
        path = self.get_filename(fullname)
        tree = ast.parse(self.get_data(path), path)
        for node in ast.walk(tree):
            if isinstance(node, ast.Try):
                node.handlers = [each for one in node.handlers for each in _stricter(one)]
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


def _stricter(handler: ast.ExceptHandler) -> list[ast.ExceptHandler]:
    if handler.type is not None and not (isinstance(handler.type, ast.Name) and handler.type.id == "Exception"):
        return [handler]
    failures = ast.Tuple([ast.Name(kind.__name__, ast.Load()) for kind in _FAILURES], ast.Load())
    return [ast.ExceptHandler(failures, None, [ast.Raise(None, None)]), handler]


class _StrictFinder:
    """Finds the modules that are loaded strictly, without their generated tables, which catch nothing and are large."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if not name.startswith(_STRICT) or ".gen." in name:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Strict(name, spec.loader.path)
        return spec
