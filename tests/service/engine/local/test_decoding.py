import asyncio
import builtins
import json
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from service.engine.base import Generation, LabelLogprobs, Prompt, Sampling
from service.engine.local.engine import LocalEngine
from service.errors import EngineFailed, TooLong
from testkit.waiting import HUNG_S
from tests.service.engine.conftest import tokenizer

END = 2
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"why": {"type": "string", "maxLength": 8}, "met": {"type": "boolean"}},
        "required": ["why", "met"],
        "additionalProperties": False,
    }
)
Load = Callable[..., LocalEngine]
LoadWithModel = Callable[..., tuple[LocalEngine, Any]]


def ids(n: int, seed: int) -> tuple[int, ...]:
    rng = random.Random(seed)
    return tuple(rng.randrange(3, 250) for _ in range(n))


def batch() -> list[Prompt]:
    a = ids(40, 1)
    shared = [a + ids(20, 2), a + ids(33, 3)]
    prompts = [Prompt(text, ids(n, 7 * n + i)) for i, text in enumerate(shared) for n in (1, 9, 17)]
    return [*prompts, Prompt((), ids(50, 9)), Prompt(a, ids(4, 10))]


def plain(folder: Path, prompt: Prompt, max_tokens: int, stops: tuple[int, ...] = ()) -> Generation:
    """One row, the whole of it again for each token."""
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    written: list[int] = []
    for count in range(1, max_tokens + 1):
        with torch.no_grad():
            token = int(model(torch.tensor([[*prompt.ids, *written]])).logits[0, -1].argmax())
        if token in (END, *stops):
            return Generation(tokenizer().decode(written), True, count)
        written.append(token)
    return Generation(tokenizer().decode(written), False, max_tokens)


def bare(outcomes: Any) -> list[tuple[str, bool, int]]:
    assert all(isinstance(outcome, Generation) for outcome in outcomes), outcomes
    return [(outcome.text, outcome.finished, outcome.tokens) for outcome in outcomes]


@pytest.mark.parametrize("name", ["qwen2", "llama", "mistral", "gemma2", "mamba", "lfm2"])
async def test_greedy_answers_are_those_of_a_plain_loop(
    name: str, load: Load, checkpoint: Callable[[str], Path]
) -> None:
    prompts = batch() if name in ("qwen2", "llama") else batch()[::3]
    lengths = [3 + 4 * (i % 3) for i in range(len(prompts))]
    engine = load(name)
    found = await engine.generate(prompts, [Sampling(n) for n in lengths])
    expected = [plain(checkpoint(name), prompt, n) for prompt, n in zip(prompts, lengths, strict=True)]
    assert bare(found) == bare(expected)
    cut = await load(name, max_batch_tokens=100).generate(prompts, [Sampling(n) for n in lengths])
    assert bare(cut) == bare(expected)


async def test_what_was_computed_for_another_row_is_told(load: Load) -> None:
    prompts = [Prompt(ids(40, 1), ids(3, n)) for n in range(3)]
    found = await load().generate(prompts, [Sampling(2)] * 3)
    assert [outcome.cached_tokens for outcome in found if isinstance(outcome, Generation)] == [0, 40, 40]


async def test_a_stop_id_ends_an_answer_and_is_no_part_of_it(load: Load, checkpoint: Callable[[str], Path]) -> None:
    prompt, engine = Prompt((), ids(30, 4)), load()
    unstopped = plain(checkpoint("qwen2"), prompt, 6)
    model = AutoModelForCausalLM.from_pretrained(checkpoint("qwen2"), attn_implementation="eager")
    with torch.no_grad():
        first = int(model(torch.tensor([prompt.ids])).logits[0, -1].argmax())
        second = int(model(torch.tensor([[*prompt.ids, first]])).logits[0, -1].argmax())
    (found,) = await engine.generate([prompt], [Sampling(6, stop_ids=(second,))])
    assert bare([found]) == bare([plain(checkpoint("qwen2"), prompt, 6, (second,))])
    assert bare([found])[0][1] and unstopped.tokens >= bare([found])[0][2]


async def test_the_models_own_end_ends_an_answer(load_with_model: LoadWithModel) -> None:
    engine, model = load_with_model()
    head = model.get_output_embeddings()
    hook = head.register_forward_hook(lambda _, args, logits: logits.index_fill(-1, torch.tensor([END]), 1e4))
    found = await engine.generate([Prompt((), (5, 6))], [Sampling(5)])
    hook.remove()
    assert found == [Generation("", True, 1)]


async def test_seeds_give_the_same_answer_alone_and_in_a_batch(load: Load) -> None:
    engine, prompts = load(), batch()
    samplings = [Sampling(10, temperature=0.8, seed=100 + i) for i in range(len(prompts))]
    together = await engine.generate(prompts, samplings)
    assert await engine.generate(prompts, samplings) == together
    for i in (0, 4, 6):
        assert bare(await engine.generate([prompts[i]], [samplings[i]])) == bare([together[i]])
    others = await engine.generate([prompts[0]] * 6, [Sampling(10, temperature=0.8, seed=n) for n in range(6)])
    assert len({text for text, _, _ in bare(others)}) > 3


async def test_a_temperature_draws_as_often_as_the_model_says(load_with_model: LoadWithModel) -> None:
    engine, model = load_with_model()
    head = model.get_output_embeddings()
    wanted = torch.full((300,), -1e4)
    wanted[50], wanted[60] = 2 * torch.tensor(0.75).log(), 2 * torch.tensor(0.25).log()
    hook = head.register_forward_hook(lambda _, args, logits: wanted.expand_as(logits))
    samplings = [Sampling(1, temperature=2.0, seed=n) for n in range(400)]
    found = bare(await engine.generate([Prompt((), (5, 6))] * 400, samplings))
    hook.remove()
    texts = [text for text, _, _ in found]
    first, second = tokenizer().decode([50]), tokenizer().decode([60])
    assert set(texts) == {first, second} and 260 < texts.count(first) < 340


@pytest.mark.parametrize("name", ["qwen2", "gemma2"])
async def test_random_models_write_documents_of_the_schema(name: str, load: Load) -> None:
    engine = load(name)
    n = 50 if name == "qwen2" else 4
    prompts = [Prompt(ids(30, 1), ids(1 + i % 7, i)) for i in range(n)]
    samplings = [Sampling(90, temperature=float(i % 2) * 1.5, seed=i, json_schema=SCHEMA) for i in range(n)]
    found = bare(await engine.generate(prompts, samplings))
    assert sum(finished for _, finished, _ in found) >= n - 3
    for text, finished, tokens in found:
        if finished:
            document = json.loads(text)
            assert list(document) == ["why", "met"] and isinstance(document["met"], bool)
            assert text.startswith('{"why":"') and text.endswith(("true}", "false}"))
        else:
            assert tokens == 90


async def test_a_document_that_is_cut_is_unfinished(load: Load) -> None:
    found = await load().generate([Prompt((), ids(9, 1))], [Sampling(5, json_schema=SCHEMA)])
    assert bare(found) == [('{"why', False, 5)]


async def test_what_does_not_fit_is_refused_by_itself(load: Load) -> None:
    engine = load()
    prompts = [Prompt((), ids(150, 1)), Prompt((), ids(150, 2)), Prompt((1,), (300,))]
    found = await engine.generate(prompts, [Sampling(50), Sampling(51), Sampling(1)])
    assert [type(outcome) for outcome in found] == [Generation, TooLong, EngineFailed]
    assert await engine.generate([], []) == []
    for wrong in ([], [Sampling(0)]):
        with pytest.raises(ValueError, match="sampling"):
            await engine.generate(prompts[:1], wrong)
    with pytest.raises(ValueError, match="cannot be followed"):
        await engine.generate(prompts[:1], [Sampling(9, json_schema='{"type": "nonsense"}')])


async def test_without_the_library_a_schema_is_an_error_that_says_so(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load()
    real = builtins.__import__

    def lacking(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "llguidance":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", lacking)
    prompt = Prompt((), (5, 6))
    with pytest.raises(EngineFailed, match="llguidance"):
        await engine.generate([prompt], [Sampling(5, json_schema=SCHEMA)])
    assert isinstance((await engine.generate([prompt], [Sampling(2)]))[0], Generation)


async def test_a_judge_without_a_tokenizer_reads_but_does_not_write(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoint("qwen2"), tmp_path / "judge"))
    (folder / "tokenizer.json").write_text("{}")
    engine = LocalEngine.load(str(folder), device="cpu", max_model_len=50)
    prompt = Prompt((), (5, 6))
    assert isinstance((await engine.read_labels([prompt], (7,)))[0], LabelLogprobs)
    with pytest.raises(EngineFailed, match=r"tokenizer\.json"):
        await engine.generate([prompt], [Sampling(2)])
    assert engine.identity.facts["attention"] == "sdpa", "too short a judge to try a tree out"
    await engine.stop()


async def test_numbers_that_are_not_finite_fail_their_own_row(load_with_model: LoadWithModel) -> None:
    engine, model = load_with_model("llama")
    with torch.no_grad():
        model.get_input_embeddings().weight[299] = float("nan")
    prompts = [Prompt(ids(20, 1), (8, 9)), Prompt(ids(20, 1), (299, 9)), Prompt(ids(20, 1), (7,))]
    found = await engine.generate(prompts, [Sampling(4), Sampling(4, temperature=1.0), Sampling(4, temperature=1.0)])
    assert [type(outcome) for outcome in found] == [Generation, EngineFailed, Generation]


async def test_an_abandoned_row_stops_and_a_stopped_engine_keeps_what_was_finished(
    load_with_model: LoadWithModel,
) -> None:
    engine, model = load_with_model()
    begun, go_on = threading.Event(), threading.Event()

    def wait(_: Any, args: Any) -> None:
        if begun.is_set():
            go_on.wait(HUNG_S)
        begun.set()

    model.get_output_embeddings().register_forward_pre_hook(wait)
    prompts = [Prompt(ids(20, 1), ids(3, n)) for n in range(3)]
    schema = [None, SCHEMA, SCHEMA]
    samplings = [Sampling(n, json_schema=one) for n, one in zip((1, 60, 60), schema, strict=True)]
    work = asyncio.ensure_future(engine.generate(prompts, samplings))
    await asyncio.to_thread(begun.wait)
    engine.cancel(prompts[1])
    stopping = asyncio.ensure_future(engine.stop())
    await asyncio.sleep(0.05)
    go_on.set()
    found = await work
    await stopping
    assert [type(outcome) for outcome in found] == [Generation, EngineFailed, EngineFailed]
