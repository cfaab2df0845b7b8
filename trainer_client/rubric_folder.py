"""Keeps rubrics as plain files under a name and the version that their content gives them: `FOLDER/NAME@VERSION.json`.

A file holds the rubric's canonical JSON and nothing else, as in the service's own folder of rubrics: one may be copied
to the other, and `sha256sum` of a file begins with its version.

Guarantees: a file is there whole or not at all, and one whose content does not fit its version is refused by name. A
version is never written over with another content.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from trainer_client import wire
from trainer_client.errors import DataError


class RubricFolder:
    """The folder is made when the first rubric is put into it."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def put(self, name: str, rubric: wire.Rubric) -> wire.Rubric:
        """Stores the criteria and returns them with their `ref`. Raises ValueError for a name that is none, and for a
        rubric that the service would not store either."""
        wire.check_storable(rubric)
        content = wire.rubric_content(rubric)
        ref = f"{wire.check_name(name)}@{wire.version_of(content)}"
        file = self._file(ref)
        if not file.exists() or file.read_bytes() != content:
            self.path.mkdir(parents=True, exist_ok=True)
            new = file.with_name(f".{secrets.token_hex(8)}.new")
            try:
                new.write_bytes(content)
                os.replace(new, file)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    new.unlink()
        return _read(content, ref)

    def get(self, ref: str) -> wire.Rubric:
        """The stored rubric with its `ref`. Raises DataError where it is not there or not what it should be."""
        try:
            wire.split_ref(ref)
            content = self._file(ref).read_bytes()
        except ValueError as error:
            raise DataError(f"`ref` {ref!r}: {error}") from None
        except FileNotFoundError:
            raise DataError(
                f"{self.path} has no rubric {ref}; `rubricd rubrics get {ref} --into {self.path}` brings it there"
            ) from None
        if wire.version_of(content) != wire.split_ref(ref)[1]:
            raise DataError(f"{self._file(ref)} is not the rubric that its name says; bring it again")
        return _read(content, ref)

    def remove(self, ref: str) -> None:
        """Raises DataError where it is not there."""
        try:
            wire.split_ref(ref)
            self._file(ref).unlink()
        except ValueError as error:
            raise DataError(f"`ref` {ref!r}: {error}") from None
        except FileNotFoundError:
            raise DataError(f"{self.path} has no rubric {ref}") from None

    def refs(self) -> Iterator[str]:
        """The references of all files, by name."""
        for file in sorted(self.path.glob("[!.]*@*.json")):
            yield file.stem

    def _file(self, ref: str) -> Path:
        return self.path / f"{ref}.json"


def _read(content: bytes, ref: str) -> wire.Rubric:
    try:
        return wire.Rubric.model_validate({**wire.read_json(content), "ref": ref})
    except (ValidationError, wire.JsonFault, TypeError) as error:
        raise DataError(f"the rubric {ref} is none that this version of rubricd reads: {error}") from None
