"""Keeps a chat endpoint's answers in a file of JSON lines, so that a resumed command pays for none of them twice.

Guarantees: an answer is found for the same request to the same address, or not at all. A last line that is cut off is
removed before more is written; any other damage is an error. One process at a time has a file open.
"""

import fcntl
import json
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from trainer_client.endpoint.answer import ChatAnswer, TokenLogprob, Usage
from trainer_client.errors import DataError
from trainer_client.json_lines import whole_lines


def request_key(url: str, body: Mapping[str, Any]) -> str:
    """The SHA-256 of an address and a request, with the names of its fields in order."""
    return sha256(json.dumps([url, body], sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class AnswerLog:
    """The answers in one file, by key. Raises DataError for a file that it cannot use. Close it after use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("a+b")
        except OSError as error:
            raise DataError(f"{path}: cannot keep answers here ({error.strerror})") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise DataError(f"{path}: another command has it open; wait for it, or name another file") from None
        try:
            self._known = self._read()
        except DataError:
            self._file.close()
            raise

    def __enter__(self) -> "AnswerLog":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._known)

    def close(self) -> None:
        self._file.close()

    def find(self, key: str) -> ChatAnswer | None:
        return self._known.get(key)

    def keep(self, key: str, answer: ChatAnswer) -> None:
        """Writes an answer. It is with the operating system when this returns, so that a kill does not lose it."""
        line = {"key": key, **{name: value for name, value in asdict(answer).items() if name != "from_log"}}
        self._file.write(f"{json.dumps(line)}\n".encode())
        self._file.flush()
        self._known[key] = _answer(line)

    def _read(self) -> dict[str, ChatAnswer]:
        known: dict[str, ChatAnswer] = {}
        for number, text in whole_lines(self._file):
            try:
                line = json.loads(text)
                known[str(line["key"])] = _answer(line)
            except (ValueError, LookupError, TypeError):
                raise DataError(
                    f"{self._path}, line {number}: not an answer that a command kept; name another file"
                ) from None
        return known


def _answer(line: Mapping[str, Any]) -> ChatAnswer:
    usage = line["usage"]
    return ChatAnswer(
        texts=tuple(map(str, line["texts"])),
        finish_reasons=tuple(line["finish_reasons"]),
        usage=None if usage is None else Usage(int(usage["prompt_tokens"]), int(usage["completion_tokens"])),
        model=str(line["model"]),
        logprobs=tuple(tuple(map(_token, one)) for one in line["logprobs"]),
        from_log=True,
    )


def _token(one: Mapping[str, Any]) -> TokenLogprob:
    top = tuple((str(token), float(logprob)) for token, logprob in one["top"])
    return TokenLogprob(str(one["token"]), float(one["logprob"]), top)
