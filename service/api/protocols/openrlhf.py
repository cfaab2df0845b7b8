"""OpenRLHF's remote reward model, `POST /get_reward` (`--reward.remote_url`; read in release 0.11.2).

OpenRLHF makes tensors of `rewards`, `scores` and every list of `extra_logs`, so all of them are numbers; it has no word
for a reward that is not there.
"""

from typing import Any

from pydantic import Field

from service.api.protocols import ends
from service.api.protocols.common import Asking, Foreign, Label, parse, request_of
from service.api.protocols.replying import not_judged, written
from service.api.request_body import unserved
from service.api.spoken import Spoken
from trainer_client import wire


class Body(Foreign):
    """One entry a response: `query` is prompt and answer decoded with special tokens, `labels` hold the rubrics."""

    query: list[str] = Field(min_length=1)
    prompts: list[str]
    labels: list[Any]


def read(body: bytes, asking: Asking) -> Spoken:
    """Raises InvalidRequest."""
    asked = parse(body, Body)
    if not len(asked.query) == len(asked.prompts) == len(asked.labels):
        lengths = f"{len(asked.query)}, {len(asked.prompts)} and {len(asked.labels)}"
        raise unserved("query", f"`query`, `prompts` and `labels` must be equally long; they hold {lengths}")
    rows = enumerate(zip(asked.query, asked.prompts, asked.labels, strict=True))
    responses = [
        (Label.of(label, "labels", row).filled(prompt=prompt), _answer(row, query, prompt, asking))
        for row, (query, prompt, label) in rows
    ]
    return Spoken(request_of(responses, asking), lambda answer: reply(answer, asking))


def _answer(row: int, query: str, prompt: str, asking: Asking) -> str:
    if not query.startswith(prompt):
        raise unserved(
            "query",
            row,
            "does not begin with `prompts` of the same place, so nobody knows where the answer begins; OpenRLHF cuts "
            "long prompts from the left: raise its maximal length, or leave such prompts out",
        )
    return ends.without(query[len(prompt) :], asking.end_tokens)


def reply(answer: wire.ScoreResponse, asking: Asking) -> bytes:
    """`extra_logs.judged` is 0 where `neutral` stands for a reward. Raises NotJudged where there is no `neutral`."""
    results = answer.results
    unjudged = sum(result.score is None for result in results)
    if unjudged and asking.neutral is None:
        raise not_judged(results)
    rewards = [asking.neutral if result.score is None else result.score for result in results]
    if unjudged:
        asking.replaced(unjudged)
    extra_logs = {
        "judged": [float(result.score is not None) for result in results],
        "coverage": [result.coverage for result in results],
    }
    return written({"rewards": rewards, "scores": rewards, "extra_logs": extra_logs})
