"""Says what `rubricd score` did, in lines of text and as JSON: how many scores there are, why others are missing, and
what they cost."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from trainer_client import wire
from trainer_client.client import ClientUsage, Failed, Outcome, Scored, reward
from trainer_client.errors import RubricdClientError
from trainer_client.reward_client import why_missing
from trainer_client.whole_file import write_whole

_ABOUT_REASONING = {
    "reasoning_kept": "begin with reasoning, which was judged as a part of the answer: --reasoning remove takes it off",
    "reasoning_unfinished": "have reasoning without an end: their answers are empty or cut short",
    "answer_empty": "have no answer behind their reasoning: an empty one was judged",
}


def summary(outcomes: Sequence[Outcome], *, clips: bool = False) -> str:
    """One line: the number of responses, the mean score, the responses without one by reason, and the judge. With
    `clips` also the mean as HealthBench reports it, which is clipped to 0..1 after averaging."""
    scores = [score for outcome in outcomes if (score := reward(outcome)) is not None]
    parts = [f"{len(outcomes)} responses", f"{len(scores)} scored"]
    if scores:
        mean = sum(scores) / len(scores)
        clipped = f" (as HealthBench reports it, clipped to 0..1: {min(max(mean, 0.0), 1.0):.3f})" if clips else ""
        parts.append(f"mean score {mean:.3f}{clipped}")
    parts += _counted("without a score", [outcome for outcome in outcomes if isinstance(outcome, Scored)])
    parts += _counted("failed", [outcome for outcome in outcomes if isinstance(outcome, Failed)])
    judges = {outcome.judge.fingerprint: outcome.judge for outcome in outcomes if isinstance(outcome, Scored)}
    parts += [
        f"judge {judge.model} {fingerprint}{f' ({judge.doubt})' if judge.doubt else ''}"
        for fingerprint, judge in judges.items()
    ]
    if len(judges) > 1:
        parts.append(f"WARNING: {len(judges)} different judges; their scores cannot be compared")
    return "; ".join(parts)


def cost(used: ClientUsage) -> str:
    """One line: what the answers said that judging cost."""
    known = used.cache_hits + used.deduplicated
    tokens = used.prompt_tokens + used.completion_tokens
    return (
        f"the judge made {used.judgements:,} judgements and {known:,} were known; {tokens:,} of its tokens, "
        f"{used.cached_tokens:,} of them computed before; {used.retries:,} retries"
    )


def about_reasoning(outcomes: Sequence[Outcome]) -> list[str]:
    """A line for each thing about the responses' reasoning that changes how the scores are to be read."""
    results = [outcome.result for outcome in outcomes if isinstance(outcome, Scored)]
    found = Counter(warning.code for result in results for warning in result.warnings)
    return [
        f"{found[code]} of {len(results)} responses {what}" for code, what in _ABOUT_REASONING.items() if found[code]
    ]


def _counted(what: str, outcomes: Sequence[Outcome]) -> list[str]:
    reasons = [why_missing(outcome) for outcome in outcomes if reward(outcome) is None]
    if not reasons:
        return []
    counts = ", ".join(f"{count} {reason}" for reason, count in Counter(reasons).most_common())
    return [f"{len(reasons)} {what} ({counts})"]


def first_of_each(outcomes: Sequence[Outcome]) -> dict[str, RubricdClientError]:
    """One error for each kind of failure."""
    failures = [outcome.error for outcome in outcomes if isinstance(outcome, Failed)]
    return {error.code: error for error in reversed(failures)}


def doubts(info: wire.JudgeInfo, mode: str, layout: str, batch: str | None = None) -> list[str]:
    """A line where the judge's exam in this way proves nothing. A toy has its line in the table."""
    way = (mode, layout, batch, "unproven")
    exams = [one for one in info.exams if (one.mode, one.layout, one.batch, one.trust) == way]
    return [f"WARNING: judge {info.model} is unproven: {one.reason}" for one in exams if not info.toy]


def write_summary(path: Path, outcomes: Sequence[Outcome], used: ClientUsage, results: Path, took_s: float) -> None:
    """`mean_score` is null where nothing was scored; results of an earlier run are not counted."""
    scores = [score for outcome in outcomes if (score := reward(outcome)) is not None]
    judges = {outcome.judge.fingerprint: outcome.judge for outcome in outcomes if isinstance(outcome, Scored)}
    document = {
        "responses": len(outcomes),
        "scored": len(scores),
        "mean_score": sum(scores) / len(scores) if scores else None,
        "without_a_score": Counter(
            why_missing(one) for one in outcomes if isinstance(one, Scored) and reward(one) is None
        ),
        "failed": Counter(outcome.error.code for outcome in outcomes if isinstance(outcome, Failed)),
        "judges": [judge.model_dump(mode="json") for judge in judges.values()],
        "usage": asdict(used),
        "took_s": round(took_s, 3),
        "results": str(results),
    }
    write_whole(path, json.dumps(document, indent=2) + "\n")
