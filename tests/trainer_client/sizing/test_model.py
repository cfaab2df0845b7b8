"""The sizing formula against figures that were worked out by hand, and against what must hold for any work."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.build import MINIATURE
from service.settings import Settings
from testkit.prefix_cache_bound import cached
from trainer_client.cli.main import main
from trainer_client.sizing import model
from trainer_client.sizing.hardware import GPUS, JUDGES, Dtype, SizingError, judge_of
from trainer_client.sizing.model import READING, Work, reading_flops, size, tokens, writing_s

# 500 tokens of instructions, 1,200 of conversation and response, 12 criteria of 40.
ALONE = Work(500, 600, 600, 40, 12)
GROUP = replace(ALONE, group=8)
NOTHING_SHARED = 10**9
H200 = GPUS["H200"]


def rates(judge: str, dtype: Dtype, work: Work, block: int) -> tuple[float, float]:
    """Verdicts a second at the GPU's peak, and at what can be had of it."""
    seconds = reading_flops(JUDGES[judge], work, block) / H200.peak(dtype)
    return work.criteria / seconds, work.criteria / seconds * READING[dtype]


def test_tokens_of_a_response_are_those_counted_by_hand() -> None:
    """1,700 shared and 12 x 40; in blocks of 16 the last 4 of 1,700 are computed for each further criterion."""
    alone = tokens(ALONE, 16)
    assert (alone.ideal, alone.computed, alone.unshared) == (1700 + 12 * 40, 1740 + 11 * (4 + 40), 12 * 1740)
    assert alone.shared_ratio == pytest.approx(0.8935, abs=5e-5)
    in_group = tokens(GROUP, 16)
    assert in_group.ideal == (1100 + 8 * (600 + 480)) / 8
    assert in_group.shared_ratio == pytest.approx(0.9391, abs=5e-5)
    assert alone.ideal / in_group.ideal == pytest.approx(1.79, abs=0.005)


@pytest.mark.parametrize(
    ("block", "judge", "dtype", "ceiling", "attainable"),
    [
        (1, "7B", "bf16", 404, 222),
        (1, "7B", "fp8", 808, 396),
        (1, "32B", "bf16", 84, 46),
        (1, "32B", "fp8", 169, 83),
        (16, "7B", "bf16", 396, 218),
        (16, "7B", "fp8", 792, 388),
        (16, "32B", "bf16", 83, 45),
        (16, "32B", "fp8", 165, 81),
        (NOTHING_SHARED, "7B", "bf16", 42, 23),
        (NOTHING_SHARED, "7B", "fp8", 85, 42),
        (NOTHING_SHARED, "32B", "bf16", 8.8, 4.9),
        (NOTHING_SHARED, "32B", "fp8", 18, 8.7),
    ],
)
def test_verdicts_a_second_on_an_h200(block: int, judge: str, dtype: Dtype, ceiling: float, attainable: float) -> None:
    assert rates(judge, dtype, ALONE, block) == pytest.approx((ceiling, attainable), rel=0.012, abs=0.5)


def test_a_7b_by_hand() -> None:
    """2 x 6.525e9 x 2,224 for the weights; 4 x 28 layers x 28 heads x 128 for each pair of a new token and one before:
    1,740 squared halves for the first criterion, 44 x 1,696 + 44 squared halves for 11; and 12 times the vocabulary."""
    pairs = 1740**2 / 2 + 11 * (44 * 1696 + 44**2 / 2)
    by_hand = 2 * 6.525288448e9 * 2224 + 4 * 28 * 28 * 128 * pairs + 12 * 2 * 3584 * 152_064
    assert reading_flops(JUDGES["7B"], ALONE, 16) == pytest.approx(by_hand)
    assert by_hand == pytest.approx(29.98e12, rel=1e-3)


def test_writing_is_bound_by_what_is_read_of_memory() -> None:
    """64 at once: 15.23 GB of weights and 64 x 1,790 tokens x 57,344 bytes, at three quarters of 4.8 TB/s, for each
    of 100 tokens."""
    moved_s = (15.2305664e9 + 64 * 1790 * 57_344) / (0.75 * 4.8e12)
    written = replace(ALONE, written=100)
    assert writing_s(JUDGES["7B"], H200, written, "bf16", 64) == pytest.approx(100 / 64 * moved_s)
    slow_to_compute = replace(H200, bf16=1.0)
    assert writing_s(JUDGES["7B"], slow_to_compute, written, "bf16", 64) > 100 * 2 * 6.5e9 / 0.55e12
    assert writing_s(JUDGES["7B"], H200, ALONE, "bf16", 64) == 0.0


@pytest.mark.parametrize(
    ("judge", "billions", "inner"),
    [
        ("1.5B", 1.54, 1.31),
        ("7B", 7.61, 6.53),
        ("8B", 8.2, 6.95),
        ("14B", 14.8, 13.2),
        ("32B", 32.8, 31.2),
        ("72B", 72.7, 70.0),
    ],
)
def test_shapes_have_the_parameters_that_their_makers_publish(judge: str, billions: float, inner: float) -> None:
    shape = JUDGES[judge]
    assert (shape.parameters / 1e9, shape.inner_parameters / 1e9) == pytest.approx((billions, inner), rel=0.004)


def test_a_training_step_of_ruscarls_size() -> None:
    """64 x 8 responses of 9.7 criteria on one H200, in seconds."""
    for judge, dtype, seconds in (("7B", "bf16", 23), ("7B", "fp8", 13), ("32B", "fp8", 61)):
        assert 4970 / rates(judge, dtype, ALONE, 16)[1] == pytest.approx(seconds, abs=0.6)  # type: ignore[arg-type]


works = st.builds(
    Work,
    instructions=st.integers(1, 400),
    conversation=st.integers(1, 400),
    response=st.integers(1, 400),
    criterion=st.integers(1, 60),
    criteria=st.integers(1, 12),
    group=st.integers(1, 6),
    cached=st.floats(0, 1),
)


@given(work=works, block=st.sampled_from([1, 2, 16, 128]))
def test_tokens_are_those_that_a_cache_in_blocks_computes(work: Work, block: int) -> None:
    """Counted prompt by prompt, by other code."""
    common = [(0, n) for n in range(work.common)]
    prompts = [
        [*common, *((r + 1, n) for n in range(work.response)), *((c + 100, n) for n in range(work.criterion))]
        for r in range(work.group)
        for c in range(work.criteria)
    ]
    ids = [[hash(token) for token in prompt] for prompt in prompts]
    found = tokens(work, block)
    saved = cached(ids, block) / work.group
    assert found.computed == pytest.approx(found.unshared - saved)


@given(work=works, block=st.integers(1, 200))
def test_sharing_never_costs_and_blocks_never_help(work: Work, block: int) -> None:
    found = tokens(work, block)
    assert found.ideal <= found.computed <= found.unshared
    assert 0.0 <= found.shared_ratio < 1.0


@given(
    work=works,
    field=st.sampled_from(["conversation", "response", "criterion", "criteria", "written"]),
    judge=st.sampled_from(["1.5B", "7B", "32B"]),
    responses=st.integers(1, 4000),
    seconds=st.floats(1, 600),
)
def test_more_work_never_needs_less(work: Work, field: str, judge: str, responses: int, seconds: float) -> None:
    more = replace(work, **{field: getattr(work, field) + 16})  # by whole blocks: within one a token may cost none

    def needed(work: Work, responses: int, seconds: float) -> Any:
        return size(JUDGES[judge], H200, work, dtype="bf16", responses=responses, seconds=seconds)

    first = needed(work, responses, seconds)
    assert needed(more, responses, seconds).gpus >= first.gpus
    assert needed(work, responses + 50, seconds).gpus >= first.gpus
    assert needed(work, responses, seconds / 2).gpus >= first.gpus
    assert needed(replace(work, cached=1.0), responses, seconds).gpus <= first.gpus
    assert first.step_s <= seconds * (1 + 1e-6)
    assert first.verdicts == pytest.approx(responses * work.criteria * (1 - work.cached))


def test_a_measured_rate_replaces_the_formula() -> None:
    by_formula = size(JUDGES["7B"], H200, GROUP, dtype="bf16", responses=512, seconds=10)
    slower = size(
        JUDGES["7B"], H200, GROUP, dtype="bf16", responses=512, seconds=10, measured=by_formula.tokens_per_s / 2
    )
    assert slower.verdicts_per_s == pytest.approx(by_formula.verdicts_per_s / 2)
    assert (by_formula.gpus, slower.gpus) == (2, 4)  # 1.63 and 3.27
    assert slower.tokens_per_s == pytest.approx(by_formula.tokens_per_s / 2)
    assert slower.max_queued_tokens < by_formula.max_queued_tokens


def test_a_small_judge_ends_at_its_processs_core() -> None:
    found = size(judge_of(_config(), "small"), H200, GROUP, dtype="bf16", responses=512, seconds=10)
    assert found.limit == "service"
    assert found.verdicts_per_s == pytest.approx(1 / 75e-6)


def test_a_judge_takes_as_few_gpus_as_hold_it() -> None:
    """72B in bf16 are 135 GiB; two H100 leave 2 x (0.9 x 79 - 3.7) = 134.7 of theirs."""
    assert size(JUDGES["72B"], GPUS["H100"], GROUP, dtype="bf16", responses=8, seconds=60).gpus_a_judge == 4
    assert size(JUDGES["72B"], GPUS["H100"], GROUP, dtype="fp8", responses=8, seconds=60).gpus_a_judge == 2
    one = size(JUDGES["72B"], GPUS["H200"], GROUP, dtype="fp8", responses=8, seconds=60)
    assert one.gpus_a_judge == 1
    assert one.kv_tokens == pytest.approx((0.9 * 139 * 2**30 - 4e9 - one.weight_bytes) / 327_680, abs=1)


def test_the_queue_holds_two_steps_and_batches_stay_short() -> None:
    found = size(JUDGES["7B"], H200, GROUP, dtype="bf16", responses=512, seconds=60)
    assert found.max_queue_s == 120
    assert 0 <= found.max_queued_tokens - 120 * found.tokens_per_s < 1e5
    assert found.max_batch_tokens == 8192
    assert size(JUDGES["32B"], H200, GROUP, dtype="bf16", responses=512, seconds=60).max_batch_tokens == 2048


def test_the_services_defaults_are_the_services() -> None:
    settings = Settings()
    assert settings.max_in_flight == model.IN_FLIGHT
    assert settings.max_concurrent_generations == model.MAX_CONCURRENT_GENERATIONS
    assert settings.reasoned_tokens == model.REASONED_TOKENS
    assert settings.explanation_chars == model.EXPLANATION_CHARS
    assert settings.vllm_gpu_memory_utilization == model.MEMORY_SHARE


def _config(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((MINIATURE / "config.json").read_text())
    return {**found, **changes}


def test_a_judges_shape_is_read_from_its_config() -> None:
    shape = judge_of(_config(), "m")
    assert (shape.layers, shape.hidden, shape.heads, shape.kv_heads, shape.head_dim) == (3, 128, 2, 2, 64)
    assert shape.parameters == 2 * 1196 * 128 + 3 * (4 * 128 * 128 + 3 * 128 * 256)
    assert judge_of({"text_config": _config(head_dim=32)}, "m").head_dim == 32


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_experts": 8}, "mixture of experts"),
        ({"layer_types": ["linear_attention"]}, "layers without attention"),
        ({"hidden_size": None}, "`hidden_size` is missing"),
        ({"vocab_size": "many"}, "`vocab_size` is missing or no number"),
    ],
)
def test_a_config_that_this_does_not_know_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SizingError, match=said):
        judge_of(_config(**changes), "m")


MISUSED = [
    (["--judge", "9B"], "--judge 9B is not there; give one of 1.5B, 7B"),
    (["--gpu", "B200"], "--gpu B200 is not known: H200, H100, A100, L4"),
    (["--gpu", "A100", "--dtype", "fp8"], "A100 does not compute in FP8: take --dtype bf16"),
    (["--judge", "72B", "--gpu", "L4"], "does not fit on 8 x L4 of 22 GiB: take --dtype fp8"),
    (["--tflops", "100"], "needs --tflops, --bandwidth and --gib"),
    (["--written", "5"], "--written is for --mode reasoned"),
]


@pytest.mark.parametrize(("flags", "said"), MISUSED, ids=[said for _, said in MISUSED])
def test_misuse_says_what_to_change(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["size", *flags]) == 2
    assert said in capsys.readouterr().err


def told(capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    assert main(["size", *flags, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_command_says_what_the_formula_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--instructions", "500", "--group", "1", "--gpu", "H200", "--judge", "32b", "--dtype", "fp8")
    found = told(capsys, *flags)
    assert found["tokens"] == {"unshared": 20_880, "computed": 2224, "ideal": 2180}
    assert found["verdicts_per_s"] == pytest.approx(81, abs=0.5)
    own = told(
        capsys, *flags[:4], "--judge", "32B", "--dtype", "fp8", "--tflops", "1979", "--bandwidth", "4.8", "--gib", "139"
    )
    assert own == {**found, "gpu": "this GPU"}
    assert told(capsys, *flags, "--cached", "0.5")["verdicts"] == found["verdicts"] / 2
    written = told(capsys, *flags, "--mode", "reasoned", "--written", "100")
    assert written["verdicts_per_s"] < found["verdicts_per_s"] / 2
    assert written["redis_bytes"] == pytest.approx(found["redis_bytes"] / 300 * (300 + 1.2 * 400))
    (tmp_path / "config.json").write_text(json.dumps(_config()))
    assert told(capsys, "--judge", str(tmp_path))["limit"] == "service"


def test_the_table_shows_what_to_order_and_that_it_was_not_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["size", "--judge", "7B", "--criteria", "12"]) == 0
    shown = capsys.readouterr().out
    assert "H100: 1 x Qwen2.5-7B in bf16 on 1" in shown
    assert "--max-queued-tokens" in shown and "not measured" in shown
    assert main(["size", "--measured-tokens-per-s", "20000"]) == 0
    assert "rate that you measured" in capsys.readouterr().out


def test_the_pages_example_is_what_the_command_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "operate" / "sizing.md").read_text(encoding="utf-8")
    [(command, shown)] = re.findall(r"```console\n\$ rubricd (.*?)\n(.*?)```", page, re.S)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(command.split()) == 0
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == shown.splitlines()


def test_a_narrow_window_squeezes_no_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["size", "--judge", "7B", "--criteria", "12"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "of one GPU, computed and written" in " ".join(lines) and len(lines) < 30
