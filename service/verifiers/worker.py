"""The worker is the program that a rule process runs; the service starts, kills and replaces it (`process.py`).

It is started as a file, in isolated mode, and imports nothing of this project and no more of others than a rule needs.
It runs code that a hostile text can make slow, large or wrong, so it is cheap to lose and holds nothing of value.

Guarantees: a job is one JSON line in, then `started` and one JSON line out, which is a verdict or one of a few fixed
words and has no text of the job. Jobs run one at a time, on the main thread. The process ends itself when its parent is
gone, when it ran out of memory, and when a job runs on after the parent should have killed it.
"""

import ast
import functools
import itertools
import json
import logging
import math
import os
import resource
import signal
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from typing import Any, NoReturn

MEMORY_BYTES = 1 << 30
OVERTIME_S = 2.0
_STRICT = ("math_verify", "latex2sympy2_extended")
_FAILURES = (MemoryError, RecursionError, OverflowError)

Params = dict[str, Any]
Decide = Callable[[Params, str, float], bool]


class CannotDecide(Exception):
    """The rule has no verdict; the first argument is the fixed word that says why."""


def _load_regex() -> Decide:
    import regex

    def decide(params: Params, response: str, limit_s: float) -> bool:
        try:
            pattern = regex.compile(params["pattern"], regex.IGNORECASE if params.get("ignore_case", False) else 0)
        except regex.error as error:
            raise CannotDecide("pattern") from error
        # The library's own limit, of processor time, is a little shorter: ending here is cheaper than a new process.
        try:
            return pattern.search(response, timeout=0.9 * limit_s) is not None
        except TimeoutError as error:
            raise CannotDecide("slow") from error

    return decide


def _load_json_schema() -> Decide:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    dialect = Draft202012Validator.META_SCHEMA["$schema"]

    def resolve_all(root: Params, registry: Registry[Any]) -> None:
        """Looks up every reference, because validation looks up only those that the response leads to. The registry
        holds the specifications and cannot fetch anything, so a reference to anything outside the schema fails."""
        resource = DRAFT202012.create_resource(root)
        uri = resource.id() or ""
        unresolved = [(registry.with_resource(uri, resource).resolver(uri), resource)]
        while unresolved:
            resolver, resource = unresolved.pop()
            for keyword in ("$ref", "$dynamicRef"):
                if isinstance(resource.contents, dict) and keyword in resource.contents:
                    resolver.lookup(resource.contents[keyword])
            unresolved.extend((resolver.in_subresource(inner), inner) for inner in resource.subresources())

    def decide(params: Params, response: str, limit_s: float) -> bool:
        schema = params["schema"]
        if str(schema.get("$schema", dialect)).rstrip("#") != dialect:
            raise CannotDecide("dialect")
        try:
            Draft202012Validator.check_schema(schema)
            resolve_all(schema, REGISTRY)
            document = json.loads(response, parse_constant=_refuse_constant)
            return Draft202012Validator(schema, registry=REGISTRY).is_valid(document)
        except SchemaError as error:
            raise CannotDecide("schema") from error
        except Unresolvable as error:
            raise CannotDecide("reference") from error
        except json.JSONDecodeError:
            return False

    return decide


def _refuse_constant(name: str) -> NoReturn:
    """NaN and the infinities, which Python reads, are not JSON."""
    raise json.JSONDecodeError("not JSON", "", 0)


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


def _load_math_verify() -> Decide:
    sys.meta_path.insert(0, _StrictFinder)
    from math_verify import LatexExtractionConfig, parse, verify

    def decide(params: Params, response: str, limit_s: float) -> bool:
        # The library's own time limits are off: they end in "not equal", which would be a verdict that it has not
        # found.
        gold = params["gold"]
        marked = any(mark in gold for mark in ("\\boxed", "$", "\\(", "\\["))
        marked_gold = gold if marked else f"\\boxed{{{gold}}}"
        # The gold answer is parsed as LaTeX only: if that fails, plain text would give any number that stands beside
        # it.
        golds = parse(marked_gold, [LatexExtractionConfig()], parsing_timeout=None, raise_on_error=True)
        if all(isinstance(expression, str) for expression in golds):
            raise CannotDecide("gold")
        answers = parse(response, parsing_timeout=None, raise_on_error=True)
        failures = []
        for expected, stated in itertools.product(golds, answers):
            try:
                if verify(expected, stated, timeout_seconds=None, raise_on_error=True):
                    return True
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return False

    # The libraries load most of themselves with the first use, and that time must not count for a check.
    decide({"gold": "x^2 + 2x + 1"}, "$(x+1)^2$", math.inf)
    return decide


_LOADERS = {"regex": _load_regex, "json_schema": _load_json_schema, "math_verify": _load_math_verify}


@functools.cache
def _loaded(rule: str) -> Decide:
    return _LOADERS[rule]()


def _outcome(decide: Decide, job: Params) -> dict[str, Any]:
    """Returns a verdict, or the word for why there is none."""
    # If the parent is gone nobody kills this process. SIGALRM's default action ends it, whatever it is doing.
    signal.setitimer(signal.ITIMER_REAL, 2 * job["limit_s"] + OVERTIME_S)
    try:
        return {"met": decide(job["params"], job["response"], job["limit_s"])}
    except CannotDecide as error:
        return {"error": error.args[0]}
    except MemoryError:
        return {"error": "memory"}
    except Exception:
        return {"error": "crash"}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> None:
    """Answers jobs until the parent closes the pipe."""
    # Standard output belongs to the protocol, so that what a library prints must not reach it.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A number with many digits is still a number; the time limit bounds the work.
    sys.set_int_max_str_digits(0)
    for line in sys.stdin.buffer:
        job = json.loads(line)
        decide = _loaded(job["rule"])
        answers.write(b"started\n")
        outcome = _outcome(decide, job)
        answers.write(json.dumps(outcome).encode() + b"\n")
        if outcome.get("error") == "memory":
            return


if __name__ == "__main__":
    main()
