"""The log of answers survives a kill at any byte, and is used by one command at a time."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainer_client.endpoint import AnswerLog, ChatAnswer, TokenLogprob, Usage
from trainer_client.endpoint.log import request_key
from trainer_client.errors import DataError


def _answer(number: int) -> ChatAnswer:
    rng = random.Random(number)
    texts = tuple(f"text {number} \u2028 é \ud800 {rng.random()}" for _ in range(rng.randint(1, 3)))
    token = TokenLogprob("é", -rng.random(), (("a", -1.0), ("b", -2.0)))
    return ChatAnswer(texts, ("stop", None, "length")[: len(texts)], Usage(number, 2), "m", ((token,),) * len(texts))


def test_answers_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with AnswerLog(path) as log:
        for number in range(50):
            log.keep(f"key {number}", _answer(number))
    with AnswerLog(path) as log:
        assert len(log) == 50
        for number in range(50):
            found, given = log.find(f"key {number}"), _answer(number)
            assert found is not None and found.from_log
            assert (found.texts, found.finish_reasons, found.usage) == (given.texts, given.finish_reasons, given.usage)
            assert found.logprobs == given.logprobs
        assert log.find("key 50") is None


def test_a_file_cut_anywhere_loses_its_last_answer_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with AnswerLog(path) as log:
        for number in range(3):
            log.keep(f"key {number}", _answer(number))
    whole = path.read_bytes()
    ends = [place + more for place, byte in enumerate(whole) if byte == 10 for more in (0, 1)]
    for cut in sorted({*range(0, len(whole), 17), *ends}):
        path.write_bytes(whole[:cut])
        lines = whole[:cut].count(b"\n")
        with AnswerLog(path) as log:
            assert len(log) == lines
            log.keep("new", _answer(9))
        with AnswerLog(path) as log:
            assert len(log) == lines + 1


def test_a_key_tells_requests_and_addresses_apart_and_not_the_order_of_fields() -> None:
    first = request_key("http://a/v1", {"a": 1, "b": 2})
    assert first == request_key("http://a/v1", {"b": 2, "a": 1})
    others = {
        request_key("http://b/v1", {"a": 1, "b": 2}),
        request_key("http://a/v1", {"a": 1, "b": 3}),
    }
    assert len(others | {first}) == 3 and len(first) == 64


@pytest.mark.parametrize("line", ["{}", "[]", "no json", '{"key": "k", "texts": 1}'])
def test_another_file_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(DataError, match=r"rows.jsonl, line 1: not an answer that a command kept"):
        AnswerLog(path)
    assert path.read_text() == f"{line}\n"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot keep answers here"):
        AnswerLog(tmp_path)


def test_one_command_at_a_time_has_a_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with AnswerLog(path), pytest.raises(DataError, match="another command has it open"):
        AnswerLog(path)
    AnswerLog(path).close()


def test_a_killed_process_leaves_its_answers_and_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    code = (
        "import sys, pathlib, signal, os\n"
        "from trainer_client.endpoint import AnswerLog, ChatAnswer\n"
        "log = AnswerLog(pathlib.Path(sys.argv[1]))\n"
        "for number in range(100):\n"
        "    log.keep(str(number), ChatAnswer(('text',), ('stop',), None, 'm'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], env={**os.environ}, check=False)
    assert ended.returncode == -signal.SIGKILL
    with AnswerLog(path) as log:
        assert len(log) == 100
