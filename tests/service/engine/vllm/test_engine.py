"""The real vLLM (its CPU build where there is no GPU), one for the whole run, with the miniature judge."""

import asyncio
import gc
import json
import shutil
import warnings
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from service.engine.base import Generation, Prompt, Sampling
from service.engine.build import MINIATURE
from service.engine.local.engine import LocalEngine
from service.engine.vllm.engine import VllmEngine
from service.engine.vllm.options import Options
from service.errors import Cancelled, ConfigurationError, EngineFailed, TooLong
from tests.service.engine.vllm.prompts import (
    LABELS,
    VOCABULARY,
    cached,
    cases,
    close,
    emptied,
    ids,
    logprobs,
    long,
    texts,
    words,
)

# A restart takes half a minute on two quiet cores.
pytestmark = pytest.mark.asyncio(loop_scope="session")
# vLLM's block on a CPU; only whole blocks are shared.
BLOCK = 128
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"reason": {"type": "string", "maxLength": 20}, "met": {"type": "boolean"}},
        "required": ["reason", "met"],
        "additionalProperties": False,
    }
)


async def test_reads_are_those_of_the_local_engine(vllm_engine: VllmEngine) -> None:
    local = LocalEngine.load(str(MINIATURE), device="cpu")
    try:
        expected = logprobs(await local.read_labels(cases(), LABELS))
    finally:
        await local.stop()
    assert close(logprobs(await vllm_engine.read_labels(cases(), LABELS)), expected)
    spread = [read[1] for read in expected]  # the judge answers Yes to all of them: the other label varies
    assert max(spread) - min(spread) > 0.3, "the prompts must tell a mistake from the truth"


async def test_labels_keep_their_order_and_any_number_of_them_is_read(vllm_engine: VllmEngine) -> None:
    prompt = cases()[0]
    many = (LABELS[1], *range(30, 60), LABELS[0])
    [one] = logprobs(await vllm_engine.read_labels([prompt], LABELS))
    [all_of_them] = logprobs(await vllm_engine.read_labels([prompt], many))
    assert close([(all_of_them[-1], all_of_them[0])], [one])
    assert len(all_of_them) == len(many)


async def test_a_prefix_is_shared_within_a_salt_only(vllm_engine: VllmEngine) -> None:
    def prompts(salt: str) -> list[Prompt]:
        return [Prompt(words(2 * BLOCK + 10, 1), words(20, 2 + i), salt=salt) for i in range(3)]

    first = await vllm_engine.read_labels(prompts("a team"), LABELS)
    other = await vllm_engine.read_labels(prompts("another team"), LABELS)
    again = await vllm_engine.read_labels(prompts("a team"), LABELS)
    assert cached(first) == cached(other) == [0, 2 * BLOCK, 2 * BLOCK]
    assert cached(again) == [2 * BLOCK] * 3
    assert close(logprobs(first), logprobs(other))
    assert close(logprobs(first), logprobs(again))


async def test_another_teams_text_is_never_in_its_prefix_cache_500_pairs(vllm_engine: VllmEngine) -> None:
    """Own: a hit; another's: none."""
    wrong = 0
    for first in range(0, 500, 50):
        texts = [(words(BLOCK + 10, 1000 + n), words(5, 2000 + n)) for n in range(first, first + 50)]
        own = [Prompt(*text, salt="a team") for text in texts]
        others = [Prompt(*text, salt="another team") for text in texts]
        fresh = cached(await vllm_engine.read_labels(own, LABELS))
        known = cached(await vllm_engine.read_labels(own, LABELS))
        theirs = cached(await vllm_engine.read_labels(others, LABELS))
        rows = zip(fresh, known, theirs, strict=True)
        wrong += sum(row != (0, BLOCK, 0) for row in rows)
    assert wrong == 0


async def test_what_cannot_be_read_fails_alone(vllm_engine: VllmEngine) -> None:
    longest = vllm_engine.max_model_len - 1
    bad = [Prompt((), words(longest + 1, 3)), Prompt((5, VOCABULARY), (5,)), Prompt((), (5, -1))]
    good = [Prompt((), words(longest, 4)), *cases(8)]
    outcomes = await vllm_engine.read_labels([good[0], *bad, *good[1:]], LABELS)
    assert [type(outcome) for outcome in outcomes[1:4]] == [TooLong, EngineFailed, EngineFailed]
    assert close(logprobs([outcomes[0], *outcomes[4:]]), logprobs(await vllm_engine.read_labels(good, LABELS)))


async def test_a_label_that_the_judge_does_not_have_is_a_failure(vllm_engine: VllmEngine) -> None:
    with pytest.raises(EngineFailed):
        await vllm_engine.read_labels(cases(4), (LABELS[0], VOCABULARY))
    assert vllm_engine.unfinished == 0
    logprobs(await vllm_engine.read_labels(cases(4), LABELS))


async def test_what_is_urgent_is_read_first(vllm_engine: VllmEngine) -> None:
    order: list[str] = []

    async def read(name: str, prompt: Prompt) -> None:
        await vllm_engine.read_labels([prompt], LABELS)
        order.append(name)

    patient = [read("patient", prompt) for prompt in long(40, seed=1, priority=1)]
    await asyncio.gather(*patient, read("urgent", Prompt((), words(10, 5), priority=0)))
    assert order.index("urgent") < 20


def processor_s(engine: VllmEngine) -> float:
    """Seconds of processor time that its processes have used; how busy the machine is does not count."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in engine.processes)


async def test_a_cancelled_caller_leaves_nothing_behind(vllm_engine: VllmEngine) -> None:
    before_s = processor_s(vllm_engine)
    await vllm_engine.read_labels(long(40, seed=2), LABELS)
    whole_s = processor_s(vllm_engine) - before_s
    asked = asyncio.create_task(vllm_engine.read_labels(long(40, seed=3), LABELS))
    while vllm_engine.unfinished < 40:
        await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await emptied(vllm_engine)
    before_s = processor_s(vllm_engine)
    await vllm_engine.read_labels(cases(4, seed=4), LABELS)
    assert processor_s(vllm_engine) - before_s < whole_s / 2, "vLLM still computes what nobody waits for"


async def test_an_abandoned_prompt_ends_early_and_alone(vllm_engine: VllmEngine) -> None:
    prompts = long(40, seed=5)
    twin = Prompt(prompts[-1].shared, prompts[-1].own)
    asked = asyncio.create_task(vllm_engine.read_labels([*prompts, twin], LABELS))
    while vllm_engine.unfinished < 41:
        await asyncio.sleep(0)
    vllm_engine.cancel(prompts[-1])
    vllm_engine.cancel(Prompt((), (1, 2)))
    await asyncio.sleep(0)
    assert vllm_engine.unfinished <= 40
    outcomes = await asked
    assert isinstance(outcomes[39], Cancelled)
    assert len(logprobs([*outcomes[:39], outcomes[40]])) == 40
    await emptied(vllm_engine)


async def test_a_document_follows_its_schema_and_says_whether_it_is_whole(vllm_engine: VllmEngine) -> None:
    prompts = [Prompt(ids("Hello"), ids("you")) for _ in range(3)]
    samplings = [Sampling(100, json_schema=SCHEMA), Sampling(4, json_schema=SCHEMA), Sampling(100, 1.0, 3, SCHEMA)]
    whole, cut, warm = await vllm_engine.generate(prompts, samplings)
    for one in (whole, warm):
        assert isinstance(one, Generation) and one.finished
        document = json.loads(one.text)
        assert list(document) == ["reason", "met"] and type(document["met"]) is bool
        assert json.dumps(document, ensure_ascii=False, separators=(",", ":")) == one.text.replace("\\/", "/")
    assert isinstance(cut, Generation) and isinstance(whole, Generation)
    assert not cut.finished and cut.tokens == 4
    assert whole.text.startswith(cut.text)


async def test_a_schema_that_cannot_be_followed_is_a_failure(vllm_engine: VllmEngine) -> None:
    prompt = Prompt(ids("Hello"), ids("you"))
    outcomes = await vllm_engine.generate([prompt, prompt], [Sampling(5), Sampling(5, json_schema='{"type": "no"}')])
    assert isinstance(outcomes[0], Generation)
    assert isinstance(outcomes[1], EngineFailed)
    assert vllm_engine.unfinished == 0


async def test_a_seed_gives_its_text_again_and_greedy_needs_none(vllm_engine: VllmEngine) -> None:
    prompts = [Prompt(words(20, 6), words(5, 7)) for _ in range(6)]
    warm = [Sampling(30, 2.0, seed) for seed in (1, 1, 2, -1, -1)]
    one, same, other, last, last_again, greedy = texts(await vllm_engine.generate(prompts, [*warm, Sampling(30)]))
    assert one == same != other
    assert last == last_again
    assert len({one, other, last, greedy}) == 4
    assert (
        texts(await vllm_engine.generate([*prompts[:2]], [Sampling(30, 0.0, 1), Sampling(30, 0.0, 2)])) == [greedy] * 2
    )


async def test_a_stop_token_ends_the_text_and_is_no_part_of_it(vllm_engine: VllmEngine) -> None:
    prompt = Prompt(words(20, 6), words(5, 7))
    [text] = texts(await vllm_engine.generate([prompt], [Sampling(20, 2.0, 1)]))
    before, met, after = text.partition(" Yes")
    assert met and after, "the text must hold the label for this test to say something"
    [written] = await vllm_engine.generate([prompt], [Sampling(20, 2.0, 1, stop_ids=(LABELS[0],))])
    assert isinstance(written, Generation) and written.finished
    assert written.text == before and written.tokens < 20


async def test_the_identity_names_what_can_change_a_verdict(vllm_engine: VllmEngine) -> None:
    facts = vllm_engine.identity.facts
    assert vllm_engine.identity.engine == "vllm"
    assert facts["dtype"] == "float32" and facts["device"] == "cpu"
    assert vllm_engine.identity.revision == f"sha256:{facts['weights_sha256'][:12]}"
    assert {"vllm", "torch", "config_sha256", "tokenizer_sha256", "quantization", "kv_cache_dtype"} <= set(facts)
    assert {"attention", "enforce_eager", "tensor_parallel_size", "batch_invariant", "lora_sha256"} <= set(facts)
    assert vllm_engine.streams


async def test_an_adapter_is_a_part_of_the_judge(vllm_engine: VllmEngine, tmp_path: Path) -> None:
    config = json.loads((MINIATURE / "config.json").read_text(encoding="utf-8"))
    width, rank = config["hidden_size"], 4
    torch.manual_seed(1)
    name = "base_model.model.model.layers.0.mlp.down_proj.lora_{}.weight"
    weights = {
        name.format("A"): torch.randn(rank, config["intermediate_size"]),
        name.format("B"): torch.randn(width, rank),
    }
    save_file(weights, tmp_path / "adapter_model.safetensors")
    told = {"peft_type": "LORA", "r": rank, "lora_alpha": 4, "target_modules": ["down_proj"], "task_type": "CAUSAL_LM"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(told))
    adapted = await VllmEngine.load(str(MINIATURE), Options(kv_cache_gb=1, max_model_len=1024, lora=str(tmp_path)))
    try:
        reads = logprobs(await adapted.read_labels(cases(8), LABELS))
    finally:
        await adapted.stop()
    assert not close(reads, logprobs(await vllm_engine.read_labels(cases(8), LABELS)))
    ours, theirs = adapted.identity, vllm_engine.identity
    assert {name for name in theirs.facts if ours.facts[name] != theirs.facts[name]} == {"lora_sha256"}


async def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "judge"
    shutil.copytree(MINIATURE, folder)
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.0.mlp.down_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigurationError, match="lacks 1 of the model's weights"):
        await VllmEngine.load(str(folder))


async def test_a_vllm_that_does_not_start_says_so_and_leaves_nothing(vllm_engine: VllmEngine, tmp_path: Path) -> None:
    folder = tmp_path / "judge"
    shutil.copytree(MINIATURE, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.mlp.down_proj.weight"] = torch.zeros(3, 3)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    before = set(psutil.Process().children(recursive=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a client of vLLM that fails in the making leaves a context
        with pytest.raises(ConfigurationError, match="vLLM cannot run"):
            await VllmEngine.load(str(folder), Options(kv_cache_gb=1))
        gc.collect()
    assert set(psutil.Process().children(recursive=True)) <= before
    assert vllm_engine.down is None
    logprobs(await vllm_engine.read_labels(cases(4), LABELS))


async def test_a_length_that_the_model_was_not_made_for_is_refused(vllm_engine: VllmEngine) -> None:
    with pytest.raises(ConfigurationError, match="max_model_len"):
        await VllmEngine.load(str(MINIATURE), Options(max_model_len=1_000_000))
    assert vllm_engine.down is None
