import subprocess
import sys

import pytest
import torch

from loadtests.gpu import CRITERIA, SHAPES, Measured, efficiency, limit, local, operations, peak, row


@pytest.mark.parametrize(("shape", "expected"), [("7B", 404), ("32B", 84)])
def test_the_limits_are_those_of_the_published_shapes(shape: str, expected: int) -> None:
    assert limit(SHAPES[shape], 989) == pytest.approx(expected, rel=0.01)


def test_the_shapes_have_their_models_weights() -> None:
    assert SHAPES["7B"].weights == pytest.approx(6.53e9, rel=0.005)
    assert SHAPES["32B"].weights == pytest.approx(31.2e9, rel=0.005)


@pytest.mark.parametrize("responses", [1, 8])
def test_all_of_the_peak_is_an_efficiency_of_one(responses: int) -> None:
    shape = SHAPES["7B"]
    alone = 2_180 * responses
    assert efficiency(shape, 989, limit(shape, 989), alone, responses) == pytest.approx(1.0)
    shared = 500 + 1_680 * responses
    assert efficiency(shape, 989, limit(shape, 989), shared, responses) <= 1.0


def test_a_token_costs_twice_its_weights() -> None:
    assert operations(SHAPES["tiny"], 3, 0) == 6 * SHAPES["tiny"].weights


def test_devices_are_known_by_name() -> None:
    assert (peak("NVIDIA H200"), peak("NVIDIA A100-SXM4-80GB"), peak("a CPU")) == (989, 312, None)


def test_the_tiny_shape_is_measured_as_the_large_ones_are() -> None:
    shape = SHAPES["tiny"]
    measured = local(shape, 0.0)
    assert measured.tokens == 500 + shape.responses * (1_200 + CRITERIA * 40), "the instructions are computed once"
    assert measured.rounds >= 2 and measured.verdicts_per_s > 0
    assert f"{measured.verdicts_per_s:.1f}" in row("local", "tiny", shape, measured, 989.0)
    assert "of a reason" in row("vllm", "tiny", shape, "ended of a reason", None)
    assert "-" in row("local", "tiny", shape, Measured(1.0, 2, 3, 0.0, None), None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_fails() -> None:
    done = subprocess.run([sys.executable, "-m", "loadtests.gpu"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "needs a machine with a GPU" in done.stderr and not done.stdout
