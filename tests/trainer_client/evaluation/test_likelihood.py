"""Log-probabilities of answers: of a tiny policy in a folder, against a softmax by hand, and of an endpoint."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from testkit.json_server import JsonServer
from testkit.tiny_policy import save_policy
from trainer_client.errors import DataError, RubricdClientError
from trainer_client.evaluation.endpoint_likelihood import read_at_endpoint
from trainer_client.evaluation.likelihood import LocalPolicy, identity, load_tokenizer, token_ids

MESSAGES = [{"role": "user", "content": "my tooth hurts"}]


def test_log_probabilities_and_entropies_are_those_of_the_whole_softmax(tmp_path: Path) -> None:
    folder = Path(save_policy(tmp_path / "one"))
    prompt, answer = token_ids(load_tokenizer(folder), MESSAGES, "see a doctor soon")
    assert len(answer) >= 3
    found = LocalPolicy(folder).read(prompt, answer)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    for place, id in enumerate(answer):  # without any batching or cutting: one prefix after the other
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *answer[:place]]])).logits[0, -1].double()
        chances = [math.exp(one) for one in (logits - logits.max()).tolist()]
        total = sum(chances)
        assert found.logprobs[place] == pytest.approx(math.log(chances[id] / total), abs=1e-5)
        entropy = -sum(one / total * math.log(one / total) for one in chances if one > 0)
        assert found.entropies[place] == pytest.approx(entropy, abs=1e-5)
    assert LocalPolicy(folder).read(prompt, []).logprobs == ()


def test_another_training_in_the_folder_is_another_policy(tmp_path: Path) -> None:
    folder = Path(save_policy(tmp_path / "one"))
    before = identity(folder)
    assert identity(folder) == before
    save_policy(folder, seed=1)
    assert identity(folder) != before


def test_a_folder_that_is_no_policy_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no weights"):
        identity(tmp_path)
    with pytest.raises(DataError, match="holds no tokenizer"):
        load_tokenizer(tmp_path)
    with pytest.raises(DataError, match="cannot be loaded"):
        LocalPolicy(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        LocalPolicy(tmp_path / "nothing")


def echo(body: dict[str, Any]) -> tuple[int, Any]:
    """A prompt with -id/100 as the log-probability of each token, None of the first one, and a token more."""
    found = [None, *(-id / 100 for id in body["prompt"][1:]), -1.0]
    return 200, {"choices": [{"logprobs": {"token_logprobs": found}}]}


async def test_an_endpoint_is_asked_with_ids_and_gives_the_answers_part() -> None:
    found: dict[str, tuple[float, ...]] = {}
    with JsonServer(echo) as server:
        ids = {"a": ([7, 8, 9], [10, 11]), "empty": ([7], list[int]())}
        await read_at_endpoint(server.url, "m", ids, key=None, keep=found.__setitem__)
    assert found == {"a": (-0.10, -0.11), "empty": ()}
    (body,) = server.bodies
    assert (body["path"], body["prompt"], body["echo"]) == ("/v1/completions", [7, 8, 9, 10, 11], True)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, {"choices": [{"logprobs": {"token_logprobs": [-0.1]}}]}), "does not echo"),
        ((200, {"choices": [{"logprobs": None}]}), "does not echo"),
        ((400, {"error": {"message": "no such model"}}), "no such model"),
    ],
)
async def test_an_endpoint_without_an_echo_or_a_model_is_an_error(answer: tuple[int, Any], said: str) -> None:
    with JsonServer(lambda body: answer) as server, pytest.raises(RubricdClientError, match=said):
        await read_at_endpoint(server.url, "m", {"a": ([7, 8], [9])}, key=None, keep=lambda name, logprobs: None)
