"""The worker is the program that a rule process runs; the service starts, kills and replaces it (`process.py`).

It is started as a file, in isolated mode, and imports the rules of this folder and no more of others than a rule needs.
It runs code that a hostile text can make slow, large or wrong, so it is cheap to lose and holds nothing of value.

Guarantees: a job is one JSON line and the responses in, then `started` and one JSON line out, which has verdicts or one
of a few fixed words, and no text of the job. Jobs run one at a time, on the main thread. The process ends itself when
its parent is gone, when it ran out of memory, and when a job runs on after the parent should have killed it.
"""

import functools
import importlib
import json
import logging
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

MEMORY_BYTES = 1 << 30
OVERTIME_S = 2.0

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


def _load_math_verify() -> Decide:
    from service.verifiers.math import rule as math_rule

    decide_by_library = math_rule.load()

    def decide(params: Params, response: str, limit_s: float) -> bool:
        try:
            return decide_by_library(params, response)
        except math_rule.Unread as error:
            raise CannotDecide(error.args[0]) from error

    return decide


_LOADERS = {"regex": _load_regex, "json_schema": _load_json_schema, "math_verify": _load_math_verify}


@functools.cache
def _loaded(rule: str) -> Decide:
    if rule in _LOADERS:
        return _LOADERS[rule]()
    from service.verifiers.cheap import CHEAP

    return lambda params, response, _: CHEAP[rule](params, response)


def _outcome(decide: Callable[[], list[bool]], limit_s: float) -> Params:
    """Returns a verdict for each check, or the word for why there is none."""
    _limit(limit_s)
    try:
        return {"met": decide()}
    except CannotDecide as error:
        return {"error": error.args[0]}
    except MemoryError:
        return {"error": "memory"}
    except Exception:
        return {"error": "crash"}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _limit(limit_s: float) -> None:
    """Ends this process by a signal, whatever it is doing, where its parent does not kill it: the parent may be gone,
    or too busy. The processor time is limited in whole seconds."""
    signal.setitimer(signal.ITIMER_REAL, 2 * limit_s + OVERTIME_S)
    most_s = math.ceil(time.process_time() + limit_s + OVERTIME_S)
    resource.setrlimit(resource.RLIMIT_CPU, (most_s, resource.RLIM_INFINITY))


def _answer(job: Params, texts: Sequence[str], write: Callable[[bytes], object]) -> Params:
    """Decides the checks of one job, and says that they are started once what they need is loaded."""
    limit_s: float = job["limit_s"]
    checks = [(rule, params, texts[place]) for rule, params, place in job["checks"]]
    begin_s = time.process_time()
    met = [_decide_cheaply(*check) if check[0] == "math_verify" else None for check in checks]
    cheap_s = time.process_time() - begin_s
    needed = {rule for (rule, _, _), one in zip(checks, met, strict=True) if one is None}
    loaded = {rule: _loaded(rule) for rule in sorted(needed)}
    write(b"started\n")
    begin_s = time.process_time()
    outcome = _outcome(
        lambda: [
            loaded[rule](params, text, limit_s) if one is None else one
            for (rule, params, text), one in zip(checks, met, strict=True)
        ],
        limit_s,
    )
    return {**outcome, "cpu_s": cheap_s + time.process_time() - begin_s}


def _decide_cheaply(rule: str, params: Params, response: str) -> bool | None:
    """The verdict of `math_verify` where it needs no library, which takes seconds to load; None where it does."""
    from service.verifiers.math import rule as math_rule

    return math_rule.decide_cheaply(params, response)


def _find_service() -> None:
    """Makes the rules beside this file importable, and no other folder of the checkout."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    importlib.import_module("service")
    del sys.path[0]


def main() -> None:
    """Answers jobs until the parent closes the pipe."""
    # Standard output belongs to the protocol, so that what a library prints must not reach it.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    logging.disable()
    _find_service()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A number with many digits is still a number; the time limit bounds the work.
    sys.set_int_max_str_digits(0)
    for line in sys.stdin.buffer:
        job = json.loads(line)
        texts = [sys.stdin.buffer.read(size).decode("utf-8", "surrogatepass") for size in job["bytes"]]
        outcome = _answer(job, texts, answers.write)
        answers.write(json.dumps(outcome).encode() + b"\n")
        if outcome.get("error") == "memory":
            return


if __name__ == "__main__":
    main()
