"""A model in a folder answers as an endpoint does: seeded, under a schema, with its tokens, and until it is trained."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from testkit.tokenizer_families import family
from trainer_client.cli.arguments import Parser
from trainer_client.cli.endpoint_arguments import add_endpoint, open_endpoint
from trainer_client.endpoint import AnswerLog, ChatEndpoint
from trainer_client.endpoint.local import LocalModel, local_url
from trainer_client.errors import DataError, InvalidRequest

ASK = [{"role": "user", "content": "My knee hurts."}]
SCHEMA = {
    "type": "object",
    "properties": {"yes": {"type": "boolean"}, "list": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2}},
    "required": ["yes", "list"],
    "additionalProperties": False,
}


def _saved(folder: Path, name: str = "qwen") -> Path:
    torch.manual_seed(0)
    tokenizer = family(name)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=0.2,
        eos_token_id=tokenizer.eos_token_id,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _saved(tmp_path_factory.mktemp("model"))


def _endpoint(folder: Path, **options: Any) -> ChatEndpoint:
    return ChatEndpoint(local_url(folder), str(folder), transport=LocalModel(folder), **options)


async def test_a_seed_gives_the_same_texts_and_another_one_others(folder: Path) -> None:
    async with _endpoint(folder) as endpoint:
        answers = [await endpoint.chat(ASK, n=3, max_tokens=12, temperature=1.0, seed=seed) for seed in (1, 1, 2)]
    assert answers[0] == answers[1] != answers[2]
    assert len(set(answers[0].texts)) == 3
    usage = answers[0].usage
    assert usage is not None and usage.prompt_tokens > 5 and 0 < usage.completion_tokens <= 36


async def test_temperature_zero_is_the_likeliest_text(folder: Path) -> None:
    async with _endpoint(folder) as endpoint:
        answers = [await endpoint.chat(ASK, max_tokens=8, temperature=0, seed=seed, logprobs=2) for seed in (1, 2)]
        several = await endpoint.chat(ASK, n=2, max_tokens=8, temperature=0)
    assert answers[0].texts == answers[1].texts and set(several.texts) == {answers[0].text}
    (tokens,) = answers[0].logprobs
    assert len(tokens) == 8 or answers[0].finish_reasons == ("stop",)
    for one in tokens:
        assert one.logprob == max(logprob for _, logprob in one.top) < 0
        assert math.fsum(math.exp(logprob) for _, logprob in one.top) < 1


async def test_an_answer_under_a_schema_follows_it(folder: Path) -> None:
    """From a model that knows no JSON: 20 of 20 are documents, or were cut off and say so."""
    async with _endpoint(folder) as endpoint:
        answer = await endpoint.chat(ASK, n=20, max_tokens=60, temperature=1.0, seed=1, json_schema=SCHEMA)
        loose = await endpoint.chat(ASK, max_tokens=9, temperature=1.0, seed=1)
    whole = [text for text, finish in zip(answer.texts, answer.finish_reasons, strict=True) if finish == "stop"]
    assert len(whole) >= 10
    for text in whole:
        document = json.loads(text)
        assert isinstance(document["yes"], bool) and len(document["list"]) <= 2
    assert len(set(whole)) > 1 and not loose.text.startswith("{")


async def test_what_the_model_cannot_answer_is_refused(folder: Path, tmp_path: Path) -> None:
    async with _endpoint(folder) as endpoint:
        with pytest.raises(InvalidRequest, match="and the model reads 256"):
            await endpoint.chat([{"role": "user", "content": "My knee hurts. " * 99}])
    gemma = _saved(tmp_path, "gemma")
    async with _endpoint(gemma) as endpoint:
        with pytest.raises(InvalidRequest, match="chat template does not take this conversation: System role"):
            await endpoint.chat([{"role": "system", "content": "Be kind."}, *ASK])


async def test_a_model_that_was_trained_on_is_asked_again(folder: Path, tmp_path: Path) -> None:
    said = []
    for again in (False, False, True):
        if again:
            os.utime(folder / "model.safetensors", ns=(1, 1))
        with AnswerLog(tmp_path / "log.jsonl") as log:
            async with _endpoint(folder, log=log) as endpoint:
                said.append((await endpoint.chat(ASK, max_tokens=3, temperature=0)).from_log)
    assert said == [False, True, False]


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder of a model"):
        local_url(tmp_path)


async def test_a_command_takes_a_folder_for_a_model(folder: Path) -> None:
    parser = Parser()
    add_endpoint(parser)
    async with open_endpoint(parser.parse_args(["--model", str(folder), "--max-tokens", "3"]), None) as endpoint:
        assert (await endpoint.chat(ASK, max_tokens=3)).model == folder.name
    with pytest.raises(DataError, match="or name an API with --model-url"):
        open_endpoint(parser.parse_args(["--model", "gpt-4o"]), None)
