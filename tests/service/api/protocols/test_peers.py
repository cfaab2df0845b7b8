"""The trainers' own client code against a real process of the service.

OpenRLHF's executor, eval-protocol's remote reward function and OpenAI's SDK are the released ones. slime and NeMo-Gym
are on no package index: `_slime` and `_gym` make the calls that their sources make, in the order and by the library
that they use.
"""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
import openai
import pytest
import torch

from testkit.processes import Running, service
from testkit.tokenizer_families import family
from testkit.waiting import HUNG_S
from tests.service.api.protocols.bodies import LABEL, MESSAGES, PROMPT, RESPONSE, RUBRIC, nemo_gym
from tests.service.api.protocols.peers import load
from tests.service.api.protocols.test_nemo_gym import Row
from trainer_client import wire

UNJUDGED: dict[str, Any] = {"text": "?", "points": 1, "verifier": {"rule": "regex", "pattern": "("}}
TEMPLATED = f"<|im_start|>user\n{PROMPT}<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def judge() -> Iterator[Running]:
    with service("--engine", "fake", "--canary-every-s", "0", "--max-model-len", "2000") as running:
        yield running


def scored(judge: Running, **item: Any) -> wire.Result:
    body = {"items": [{"prompt": PROMPT, "response": RESPONSE, **LABEL, **item}], "soft": True}
    answer = httpx.post(f"{judge.url}/v1/score", json=body, timeout=HUNG_S)
    return wire.ScoreResponse.model_validate_json(answer.content).results[0]


class _Policy:
    """What OpenRLHF needs of a vLLM engine: it answers with `RESPONSE` and the end of a turn."""

    def __init__(self, tokenizer: Any) -> None:
        self._ids = tokenizer(text=f"{RESPONSE}<|im_end|>", add_special_tokens=False)["input_ids"]

    async def generate(self, prompt_ids: list[int], params: Any, multi_modal_data: Any) -> Any:
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=self._ids, finish_reason="stop", logprobs=None)])


async def _openrlhf(agent: Any, url: str, label: Any) -> dict[str, Any]:
    """One rollout by OpenRLHF's executor, which decodes, asks for the reward and keeps it."""
    tokenizer = family("qwen")
    output: dict[str, Any] = await agent.SingleTurnAgentExecutor([url]).execute(
        prompt=TEMPLATED,
        label=label,
        sampling_params=SimpleNamespace(max_tokens=64, logprobs=None),
        max_length=1024,
        hf_tokenizer=tokenizer,
        llm_engine=_Policy(tokenizer),
    )
    return output


async def test_openrlhf_gets_its_reward(judge: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = load("openrlhf.utils.agent", monkeypatch)
    label = json.dumps({**LABEL, "prompt": PROMPT, "soft": True})
    output = await _openrlhf(agent, f"{judge.url}/get_reward", label)
    assert output["reward"] == output["scores"] == [scored(judge).score]
    # What its sample generator then does: a tensor of each.
    tensors = {name: torch.tensor([value]) for name, value in output["extra_logs"].items()}
    assert torch.tensor([output["reward"]]).dtype == torch.float32
    assert tensors["judged"].item() == 1.0


async def test_openrlhf_has_no_reward_for_what_was_not_judged(judge: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = load("openrlhf.utils.agent", monkeypatch)
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)

    monkeypatch.setattr(agent.asyncio, "sleep", nap)
    output = await _openrlhf(agent, f"{judge.url}/get_reward", [UNJUDGED])
    assert (output["reward"], output["scores"], output["extra_logs"]) == (None, None, {})
    assert naps == [1] * 5


def test_eval_protocol_gets_its_score(judge: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = load("eval_protocol.reward_function", monkeypatch)
    reward = remote.RewardFunction(mode="remote", endpoint=f"{judge.url}/evaluate?soft=true", **LABEL)
    result = reward(MESSAGES)
    assert result.score == scored(judge).score
    assert set(result.metrics) == {"0", "1"}
    assert all(metric.is_score_valid for metric in result.metrics.values())
    referred = reward(MESSAGES, ground_truth="Rest.")
    assert referred.score == scored(judge, reference="Rest.").score != result.score


def test_eval_protocols_client_refuses_a_score_that_is_not_there(
    judge: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = load("eval_protocol.reward_function", monkeypatch)
    reward = remote.RewardFunction(mode="remote", endpoint=f"{judge.url}/evaluate", rubric=[UNJUDGED])
    with pytest.raises(ValueError, match="score"):
        reward(MESSAGES)


def test_eval_protocols_results_are_what_is_answered(judge: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    models = load("eval_protocol.models", monkeypatch)
    body = {"messages": MESSAGES, "ground_truth": None, "kwargs": LABEL}
    answer = httpx.post(f"{judge.url}/evaluate", json=body, timeout=HUNG_S).json()
    result = models.EvaluateResult.model_validate(answer)
    assert result.is_score_valid is True
    assert result.score == answer["score"]
    assert result.metrics["1"].data["points"] == -3.0


def test_openais_sdk_reads_the_decisions(judge: Running) -> None:
    with openai.OpenAI(base_url=f"{judge.url}/v1", api_key="rbd_any", max_retries=0) as client:
        decision = client.decisions.create(
            model="any",
            input=RESPONSE,
            questions=[
                {"type": "predicate", "instructions": "Does it say to rest?", "name": "rest"},
                {"type": "predicate", "instructions": "Does it say to run?"},
            ],
        )
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            client.decisions.create(
                model="any", input="a", questions=[{"type": "score", "instructions": "b", "levels": []}]
            )
    assert isinstance(refused.value.body, dict)
    assert "a score has 2 to 10 levels" in refused.value.body["detail"]
    rubric = [{"text": text, "points": 1} for text in ("Does it say to rest?", "Does it say to run?")]
    told = [one.p for one in scored(judge, prompt=[], rubric=rubric).criteria]
    assert [getattr(answer, "probability", None) for answer in decision.answers] == told
    assert [answer.name for answer in decision.answers] == ["rest", None]
    assert decision.model == "fake"
    assert decision.usage.total_tokens == decision.usage.input_tokens > 0


def test_openais_sdk_reads_a_refusal(judge: Running) -> None:
    too_long = "Does it say to rest? " * 1500
    with openai.OpenAI(base_url=f"{judge.url}/v1", api_key="any", max_retries=0) as client:
        decision = client.decisions.create(
            model="any",
            input=RESPONSE,
            questions=[
                {"type": "predicate", "instructions": too_long, "name": "long"},
                {"type": "predicate", "instructions": "Does it say to run?"},
            ],
        )
    assert [answer.type for answer in decision.answers] == ["refusal", "predicate"]
    assert decision.answers[0].name == "long"


async def _slime(url: str, label: Any) -> Any:
    """`slime.rollout.rm_hub.remote_rm` without its ten tries: what comes back is the sample's reward."""
    payload = {"prompt": TEMPLATED, "response": f"{RESPONSE}<|im_end|>", "label": label}
    async with aiohttp.ClientSession() as session, session.post(url, json=payload) as response:
        response.raise_for_status()
        return await response.json()


async def test_slime_gets_its_reward(judge: Running) -> None:
    label = json.dumps({**LABEL, "prompt": PROMPT})
    expected = scored(judge).score
    assert await _slime(f"{judge.url}/rm?soft=true", label) == expected
    # With `--reward-key reward` slime takes the field of that name.
    assert (await _slime(f"{judge.url}/rm?soft=true&reply=object", label))["reward"] == expected
    with pytest.raises(aiohttp.ClientResponseError) as refused:
        await _slime(f"{judge.url}/rm", json.dumps([UNJUDGED]))
    assert refused.value.status == 503


async def _gym(url: str, row: dict[str, Any]) -> Row:
    """What Gym's simple agent does around the policy: seed, answer, verify, each with the cookies of the one before."""
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/seed_session", json=row) as seeded:
            seeded.raise_for_status()
        async with session.post(f"{url}/verify", json=row, cookies=seeded.cookies) as answer:
            answer.raise_for_status()
            return Row.model_validate(await answer.json())


async def test_gym_gets_its_row(judge: Running) -> None:
    row = (await _gym(judge.url, nemo_gym())).model_dump()
    assert row["reward"] == max(-0.6, sum(row["reward_components"].values()) / 5)
    assert row["uuid"] == 7
    failed = (await _gym(judge.url, nemo_gym(rubric=[UNJUDGED, *RUBRIC]))).model_dump()
    assert failed["_ng_failure_class"] == "judge_failed"
