"""What math-verify catches in itself, and whether it counts as an answer."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.verifiers import worker
from testkit.waiting import HUNG_S

# In a process of its own: what is loaded strictly there must not be loaded yet.
PROGRAM = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("worker", sys.argv[1])
worker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)
worker._find_service()
decide = worker._loaded("math_verify")

def outcome(gold, response):
    return worker._outcome(lambda: [decide({"gold": gold}, response, 9)], 9)

from math_verify import grader, parser

def spoiled(module, name, gold, response):
    def fail(*_):
        raise kind("secret")
    said = {}
    right = getattr(module, name)
    for kind in (MemoryError, RecursionError, OverflowError, TypeError, NotImplementedError, Exception):
        setattr(module, name, fail)
        said[kind.__name__] = outcome(gold, response)
    setattr(module, name, right)
    return said

print(json.dumps({
    "compared": spoiled(grader, "simplify", "x + 1", "$x + 2$"),
    "solved": spoiled(grader, "solve", "x + y > 3", "$y > 4$"),
    "parsed": spoiled(parser, "parse_latex_cached", "x + 1", "$x + 2$"),
    "response parsed": outcome("42", r"\\boxed{\\frac{1}{}"),
    "deep": outcome("x", "$" + "[" * 150 + "x" + "]" * 150 + "$"),
    "wide": outcome("x", "$" + "x" * 990 + "$"),
    "shapes": outcome(r"\\begin{pmatrix}1&2\\end{pmatrix}", "$3$"),
    "kinds": outcome("x+y<2", "$(0,1)$"),
    "fine": outcome("x^2 + 2x + 1", "$(x+1)^2$"),
}))
"""


@pytest.fixture(scope="module")
def said() -> Any:
    run = [sys.executable, "-I", "-c", PROGRAM, str(Path(worker.__file__))]
    ran = subprocess.run(run, capture_output=True, text=True, timeout=HUNG_S, check=True)
    return json.loads(ran.stdout)


NOT_MET, MEMORY, CRASH = {"met": [False]}, {"error": "memory"}, {"error": "crash"}


@pytest.mark.parametrize("where", ["compared", "solved"])
def test_a_failure_that_math_verify_catches_is_no_verdict(said: Any, where: str) -> None:
    assert said[where]["MemoryError"] == MEMORY
    assert said[where]["RecursionError"] == said[where]["OverflowError"] == CRASH
    assert said[where]["TypeError"] == said[where]["NotImplementedError"] == said[where]["Exception"] == NOT_MET


def test_a_gold_answer_that_cannot_be_parsed_is_an_error_and_so_is_a_failure(said: Any) -> None:
    assert said["parsed"]["MemoryError"] == MEMORY
    assert said["parsed"]["RecursionError"] == said["parsed"]["OverflowError"] == CRASH
    assert said["parsed"]["TypeError"] == said["parsed"]["Exception"] == {"error": "gold"}


def test_what_the_response_lacks_and_what_cannot_be_compared_is_not_met(said: Any) -> None:
    assert said["response parsed"] == said["shapes"] == said["kinds"] == NOT_MET
    assert said["fine"] == {"met": [True]}


def test_a_response_nested_too_deeply_to_be_read_is_an_error(said: Any) -> None:
    assert said["deep"] == {"error": "long"}
    assert said["wide"] == CRASH
