"""The PyPI package `rubric` as its users write it, in a virtual environment of its own: run there, standard input in
(what to grade and where the judge is), one line of JSON out.

The package leaves the call to its user: here the `openai` client, at an OpenAI-compatible server. The answer has a
fixed number of tokens, and the verdict is taken from it without parsing, because a model of random weights writes no
JSON; what that costs is the same.
"""

import asyncio
import importlib
import json
import sys
import time
from typing import Any


async def main(told: dict[str, Any]) -> dict[str, Any]:
    rubric, openai = importlib.import_module("rubric"), importlib.import_module("openai")
    graders = importlib.import_module("rubric.autograders")
    judge = openai.AsyncOpenAI(base_url=told["url"], api_key="none", timeout=600, max_retries=0)
    usage = [0, 0]

    async def generate(system_prompt: str, user_prompt: str, **_: Any) -> Any:
        answer = await judge.chat.completions.create(
            model=told["model"],
            messages=[{"role": "system", "content": system_prompt}, {"role": "user", "content": user_prompt}],
            max_tokens=told["decoded"],
            temperature=0.0,
            extra_body={"min_tokens": told["decoded"], "ignore_eos": True},
        )
        usage[0] += answer.usage.prompt_tokens
        usage[1] += answer.usage.completion_tokens
        met = len(answer.choices[0].message.content) % 2
        return rubric.PerCriterionOutput(criterion_status="MET" if met else "UNMET", explanation="as written")

    grader = graders.PerCriterionGrader(generate_fn=generate)
    places = asyncio.Semaphore(told["in_flight"])

    async def grade(task: dict[str, Any]) -> tuple[float, int]:
        async with places:
            began = time.perf_counter()
            criteria = [rubric.Criterion(weight=1.0, requirement=text) for text in task["criteria"]]
            report = await rubric.Rubric(criteria).grade(task["response"], autograder=grader, query=task["query"])
            return time.perf_counter() - began, len(report.report)

    started, cpu = time.perf_counter(), time.process_time()
    graded = await asyncio.gather(*map(grade, told["tasks"]))
    return {
        "seconds": time.perf_counter() - started,
        "client_cpu": time.process_time() - cpu,
        "latencies": [latency for latency, _ in graded],
        "verdicts": sum(verdicts for _, verdicts in graded),
        "prompt_tokens": usage[0],
        "decoded_tokens": usage[1],
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
