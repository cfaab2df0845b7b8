"""Asks a server of typed decisions about cases by autorubric and by LiteLLM, and counts what was judged and right.

It runs in an interpreter that has these two, and imports nothing of ours.

    python asking.py URL CASES FRAMING
"""

import asyncio
import importlib
import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

Counts = dict[str, Any]


async def by_autorubric(url: str, cases: list[dict[str, Any]], framing: str) -> Counts:
    """One request a case. A verdict that autorubric made up for a failed call is not counted as judged."""
    autorubric, graders = importlib.import_module("autorubric"), importlib.import_module("autorubric.graders")
    config = autorubric.DecisionModelConfig(model="judge", api_base=url, api_key="none", binary_framing=framing)
    grader = graders.CriterionGrader(judge_model_config=config)
    found: Counts = {"client": f"autorubric {version('autorubric')}, {framing}", "asked": 0, "judged": 0, "right": 0}
    for case in cases:
        asked = [{"weight": one["points"], "requirement": one["text"]} for one in case["criteria"]]
        query = case["turns"][0]["content"] if len(case["turns"]) == 1 else json.dumps(case["turns"])
        report = await autorubric.Rubric.from_dict(asked).grade(to_grade=case["response"], grader=grader, query=query)
        for criterion, met in zip(report.report or [], case["met"], strict=True):
            verdict = criterion.final_verdict.value
            failed = any(vote.error for vote in criterion.votes)
            found["asked"] += 1
            found["judged"] += not failed and verdict in ("MET", "UNMET")
            found["right"] += not failed and verdict == ("MET" if met else "UNMET")
    return found


def by_litellm(url: str, cases: list[dict[str, Any]]) -> Counts:
    litellm = importlib.import_module("litellm")
    found: Counts = {"client": f"litellm {version('litellm')}, decisions()", "asked": 0, "judged": 0, "right": 0}
    for case in cases:
        asked = [{"type": "predicate", "instructions": one["text"]} for one in case["criteria"]]
        # LiteLLM's own check of the input takes messages of the user alone: the assistant's become the user's.
        turns = [{"role": "user", "content": one["content"]} for one in case["turns"]]
        turns += [{"role": "user", "content": case["response"]}]
        reply = litellm.decisions(model="openai/judge", input=turns, questions=asked, api_base=url, api_key="none")
        for answer, met in zip(reply.answers, case["met"], strict=True):
            p = getattr(answer, "probability", None)
            found["asked"] += 1
            found["judged"] += p is not None
            found["right"] += p is not None and (p >= 0.5) is met
    return found


def by_litellm_systemone(url: str, cases: list[dict[str, Any]]) -> Counts:
    litellm = importlib.import_module("litellm")
    found: Counts = {"client": f"litellm {version('litellm')}, systemone()", "asked": 0, "judged": 0, "right": 0}
    for case in cases:
        asked = {str(n): {"type": "noul", "instructions": one["text"]} for n, one in enumerate(case["criteria"])}
        state = {"input": case["turns"], "submission": case["response"]}
        reply = litellm.systemone(model="typesafe/judge", state=state, questions=asked, api_base=url, api_key="none")
        for n, met in enumerate(case["met"]):
            p = getattr(reply.answers[str(n)], "noul", None)
            found["asked"] += 1
            found["judged"] += p is not None
            found["right"] += p is not None and (p >= 0.5) is met
    return found


def main(url: str, file: str, framing: str) -> int:
    cases = json.loads(Path(file).read_text())
    found: list[Counts] = []
    clients: tuple[Callable[[], Counts], ...] = (
        lambda: asyncio.run(by_autorubric(url, cases, framing)),
        lambda: by_litellm(url, cases),
        lambda: by_litellm_systemone(url, cases),
    )
    for ask in clients:
        try:
            found.append(ask())
        except Exception as error:
            found.append({"client": "failed", "error": f"{type(error).__name__}: {error}"[:500]})
    print(json.dumps(found, indent=2))
    return 0 if all("error" not in one for one in found) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
