"""What a person reads when a command cannot go on, and its exit code."""

import argparse

import pytest

from trainer_client.cli.ending import ended
from trainer_client.errors import DataError, Unauthorized, Unavailable

ARGS = argparse.Namespace(token_env="RUBRICD_TEST_KEY")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "rubricd: interrupted; the same command goes on from here\n"),
        (DataError("rows.jsonl:3: no prompt"), 2, "rubricd: rows.jsonl:3: no prompt\n"),
        (FileNotFoundError("no such file"), 2, "rubricd: no such file\n"),
        (PermissionError(13, "Permission denied", "row.html"), 2, "rubricd: row.html: permission denied\n"),
        (Unavailable("it is loading", retry_after_s=5), 1, "rubricd: it is loading (come back in 5 s)\n"),
        (
            Unauthorized("no key"),
            1,
            "rubricd: no key (the environment variable RUBRICD_TEST_KEY is not set, so no key was sent)\n",
        ),
    ],
)
def test_one_sentence_and_a_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(error, ARGS, refused=1) == code
    assert capsys.readouterr().err == said
    assert ended(error, ARGS) == max(code, 2)
    capsys.readouterr()


def test_what_cannot_go_on_from_there_does_not_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(KeyboardInterrupt(), ARGS, resumed="") == 130
    assert capsys.readouterr().err == "rubricd: interrupted\n"
