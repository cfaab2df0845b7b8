"""The arguments of a chat model become an endpoint, and a refusal says where its key is looked for."""

import argparse
from pathlib import Path

import pytest

from testkit.chat_server import Raw, chat_server
from trainer_client.cli.arguments import Parser
from trainer_client.cli.endpoint_arguments import add_endpoint, endpoint_error, log_path, open_endpoint, sampling
from trainer_client.errors import Unauthorized


def _parsed(*given: str) -> argparse.Namespace:
    parser = Parser()
    add_endpoint(parser, temperature=0.7)
    parsed: argparse.Namespace = parser.parse_args(["--model-url", "http://h", "--model", "m", *given])
    return parsed


def test_arguments_become_an_endpoint() -> None:
    args = _parsed("--price-in", "1", "--price-out", "2", "--top-p", "0.9", "--max-tokens", "9")
    endpoint = open_endpoint(args, None)
    assert (endpoint.url, endpoint.model) == ("http://h/v1", "m")
    assert endpoint.spending.cost == 0
    assert sampling(args) == {"temperature": 0.7, "top_p": 0.9, "max_tokens": 9}


def test_prices_go_together() -> None:
    with pytest.raises(ValueError, match="go together"):
        open_endpoint(_parsed("--price-in", "1"), None)


@pytest.mark.parametrize(
    "given", [("--temperature", "-1"), ("--temperature", "nan"), ("--model-options", "[]"), ("--max-tokens", "0")]
)
def test_a_wrong_value_is_refused(given: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        _parsed(*given)
    assert ended.value.code == 2
    assert given[0] in capsys.readouterr().err


async def test_a_refused_key_says_where_it_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    with chat_server(lambda asked: Raw(401, {"error": {"message": "no"}})) as server:
        for key in (None, "wrong"):
            if key is not None:
                monkeypatch.setenv("MY_KEY", key)
            args = _parsed("--model-url", server.url, "--model-key-env", "MY_KEY")
            async with open_endpoint(args, None) as endpoint:
                with pytest.raises(Unauthorized) as refused:
                    await endpoint.chat([{"role": "user", "content": "hi"}])
            said.append(endpoint_error(refused.value, args))
    assert "MY_KEY is not set" in said[0] and "MY_KEY holds the key" in said[1]


def test_answers_are_kept_beside_the_output() -> None:
    assert log_path(Path("a/rows.jsonl")) == Path("a/rows.answers.jsonl")
