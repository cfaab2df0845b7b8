import json
import random
from typing import Any

import pytest

from service.engine.base import Generation, Prompt, Sampling
from service.errors import EngineFailed, TooLong
from testkit.completions_server import WHOLE, Server, connect, prompts, reorder, right_generation

FREE = Sampling(max_tokens=9)
SCHEMA = '{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"boolean"}}}'


async def test_texts_are_whole_and_in_order_one_call_each() -> None:
    for server in (Server(), Server(version=None)):
        engine = await connect(server)
        asked = prompts(30)
        outcomes = await engine.generate(asked, [FREE] * 30)
        assert all(right_generation(prompt, outcome) for prompt, outcome in zip(asked, outcomes, strict=True))
        assert {outcome.finished for outcome in outcomes if isinstance(outcome, Generation)} == {True, False}
        assert [body["prompt"] for body in server.bodies] == [[list(prompt.ids)] for prompt in asked]
        assert engine.streams and engine.down is None
        assert await engine.generate([], []) == []
        with pytest.raises(ValueError, match="shorter"):
            await engine.generate(asked, [FREE] * 29)
        with pytest.raises(ValueError, match="never empty"):
            await engine.generate([Prompt((1,), ())], [FREE])


async def test_a_sampling_is_said_in_full_and_to_each_server_in_its_words() -> None:
    drawn = Sampling(max_tokens=5, temperature=0.7, seed=11, json_schema=SCHEMA, stop_ids=(2, 4))
    vllm, other = Server(), Server(version=None)
    for server in (vllm, other):
        await (await connect(server)).generate(prompts(1) * 2, [drawn, FREE])
        first, second = server.bodies
        assert (first["max_tokens"], first["temperature"], first["seed"], first["top_p"]) == (5, 0.7, 11, 1)
        assert first["stop_token_ids"] == [2, 4]
        assert second["temperature"] == 0 and not {"seed", "stop_token_ids"} & second.keys()
        assert not {"structured_outputs", "response_format", "logprobs"} & second.keys()
    assert vllm.bodies[0]["structured_outputs"] == {"json": SCHEMA} and "response_format" not in vllm.bodies[0]
    assert vllm.bodies[1]["top_k"] == 0 and vllm.bodies[1]["repetition_penalty"] == 1, "not the model's own settings"
    asked = other.bodies[0]["response_format"]
    assert list(asked["json_schema"]["schema"]["properties"]) == ["z", "a"] and "structured_outputs" not in asked
    assert not {"top_k", "min_p", "repetition_penalty", "return_token_ids"} & other.bodies[0].keys()


async def test_seeds_give_texts_of_their_own() -> None:
    (prompt,) = prompts(1)
    outcomes = await (await connect(Server())).generate(
        [prompt] * 4, [Sampling(max_tokens=9, temperature=1.0, seed=seed) for seed in range(4)]
    )
    assert all(right_generation(prompt, outcome, seed) for seed, outcome in enumerate(outcomes))


def choice(**changes: Any) -> Any:
    def spoil(answer: Any) -> Any:
        answer["choices"][0] |= changes
        return answer

    return spoil


def without(name: str) -> Any:
    def spoil(answer: Any) -> Any:
        del answer["choices"][0][name]
        return answer

    return spoil


def uncounted(answer: Any) -> Any:
    del answer["usage"], answer["choices"][0]["token_ids"]
    return answer


def overcounted(answer: Any) -> Any:
    del answer["choices"][0]["token_ids"]
    answer["usage"]["completion_tokens"] = 10
    return answer


SPOILED: dict[str, Any] = {
    **WHOLE,
    "no text": without("text"),
    "null text": choice(text=None),
    "text of numbers": choice(text=[1, 2]),
    "half a character": choice(text="\ud800"),
    "no ending": without("finish_reason"),
    "null ending": choice(finish_reason=None),
    "aborted": choice(finish_reason="abort"),
    "error": choice(finish_reason="error"),
    "filtered": choice(finish_reason="content_filter"),
    "ending is no word": choice(finish_reason=["stop"]),
    "no index": without("index"),
    "index is a text": choice(index="0"),
    "too many tokens": choice(token_ids=[5] * 10),
    "not counted": uncounted,
    "counted too high": overcounted,
    "no choice": lambda answer: answer | {"choices": [None]},
}
FINE: dict[str, Any] = {"fine": None, "reordered": reorder}


@pytest.mark.parametrize("version", ["0.32.0", None])
async def test_500_generations_with_random_faults_give_no_wrong_text_and_one_outcome_a_prompt(
    version: str | None,
) -> None:
    rng = random.Random(5)
    server = Server(version=version)
    engine = await connect(server, max_concurrency=1)
    faults = {name: fault for name, fault in SPOILED.items() if version or "count" not in name} | FINE
    names = [rng.choice([*faults, "fine", "fine", "reordered"]) for _ in range(500)]
    server.script = [faults[name] for name in names]
    asked = prompts(500)
    outcomes = await engine.generate(asked, [FREE] * 500)
    assert len(outcomes) == 500 == len(server.bodies), "nothing is retried"
    for name, prompt, outcome in zip(names, asked, outcomes, strict=True):
        assert isinstance(outcome, EngineFailed if name in SPOILED else Generation), (name, outcome)
        assert name in SPOILED or right_generation(prompt, outcome)
        assert "secret" not in str(outcome)
    assert {*names} == {*faults}


@pytest.mark.parametrize("name", SPOILED)
async def test_a_fault_of_all_is_raised_and_the_next_call_is_fine(name: str) -> None:
    server = Server()
    engine = await connect(server)
    server.script = [SPOILED[name]]
    with pytest.raises(EngineFailed):
        await engine.generate(prompts(1), [FREE])
    assert isinstance((await engine.generate(prompts(1), [FREE]))[0], Generation)


async def test_a_prompt_whose_answer_would_not_fit_is_not_sent() -> None:
    server = Server()
    asked = [Prompt((), (1,) * n) for n in (55, 56, 64)]
    outcomes = await (await connect(server)).generate(asked, [FREE] * 3)
    assert [type(outcome) for outcome in outcomes] == [Generation, TooLong, TooLong]
    assert "9 answer tokens" in str(outcomes[1]) and len(server.bodies) == 1


async def test_a_schema_reaches_the_server_with_its_keys_in_order() -> None:
    server = Server()
    await (await connect(server)).generate(prompts(1), [Sampling(max_tokens=9, json_schema=SCHEMA)])
    assert list(json.loads(server.bodies[0]["structured_outputs"]["json"])["properties"]) == ["z", "a"]
