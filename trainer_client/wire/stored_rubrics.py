"""Defines stored rubrics: their names, the versions that their content gives them, and what the store answers.

A version is content: the first 16 hexadecimal digits of the SHA-256 of the rubric's canonical JSON. So the same rubric
has the same version everywhere, and a reference can mean one rubric alone, whatever a store lost or was given since.

Guarantees: rubrics that are equal as the contract reads them have one content and one version, in whichever shape they
were written.
"""

import hashlib
import json
import re
from typing import Any

from pydantic import BaseModel, Field

from trainer_client.wire.models import Answer

VERSION_DIGITS = 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_VERSION = re.compile(rf"[0-9a-f]{{{VERSION_DIGITS}}}\Z")


def rubric_content(rubric: BaseModel) -> bytes:
    """The canonical JSON of a rubric's criteria: sorted keys, no white space, and no field that says nothing. Raises
    ValueError for text that is not Unicode."""
    criteria = [_saying(one) for one in rubric.model_dump(mode="json", by_alias=True)["criteria"]]
    text = json.dumps({"criteria": criteria}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def _saying(criterion: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in criterion.items() if value is not None and value != {}}
    if "verifier" in kept:
        kept["verifier"] = _without_nulls(kept["verifier"])
    if "extract" in kept:
        kept["extract"] = _without_nulls({**kept["extract"], "rule": _without_nulls(kept["extract"]["rule"])})
    return kept


def _without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def rubric_digest(content: bytes) -> str:
    """The SHA-256 of a rubric's canonical JSON, in hexadecimal digits; `sha256sum` of its file says the same."""
    return hashlib.sha256(content).hexdigest()


def version_of(content: bytes) -> str:
    return rubric_digest(content)[:VERSION_DIGITS]


def split_ref(ref: str) -> tuple[str, str]:
    """The name and the version of a reference. Raises ValueError with what to write."""
    name, at, version = ref.partition("@")
    if not at:
        raise ValueError(
            "a `ref` names a version, as in `name@0123456789abcdef`: there is no latest one, since a rubric that "
            "changes under a training changes its rewards; GET /v1/rubrics/NAME lists the versions"
        )
    if _NAME.match(name) is None:
        raise ValueError(f"the name of a `ref` is {_ABOUT_NAMES}")
    if _VERSION.match(version) is None:
        raise ValueError(f"the version of a `ref` is {VERSION_DIGITS} of the digits 0-9 and a-f, as the store gave it")
    return name, version


_ABOUT_NAMES = "1 to 64 letters, digits, dots, underscores and hyphens, the first a letter or a digit"


def check_name(name: str) -> str:
    """The name of a stored rubric. Raises ValueError with what to write."""
    if _NAME.match(name) is None:
        raise ValueError(f"the name of a rubric is {_ABOUT_NAMES}")
    return name


class StoredVersion(Answer):
    """One version of a stored rubric."""

    name: str = Field(description="The rubric's name.")
    version: str = Field(description="The first 16 digits of the SHA-256 of its canonical JSON.")
    ref: str = Field(description="What `rubric: {ref}` names it by: `name@version`.")
    bytes: int = Field(description="The bytes of its canonical JSON.")
    stored_at: float = Field(description="When it was first stored, in seconds since 1970.")


class PutRubric(StoredVersion):
    """The answer to `PUT /v1/rubrics/{name}`."""

    digest: str = Field(description="The SHA-256 of its canonical JSON, whole.")
    created: bool = Field(description="False where the store had this version already: nothing changed.")


class StoredVersions(Answer):
    """The versions of one rubric, or of all, the newest first, and how much of the team's room they take."""

    versions: list[StoredVersion] = Field(description="The newest first.")
    stored: int = Field(description="The versions that the team has stored, of all its rubrics.")
    stored_bytes: int = Field(description="Their bytes.")
    max_stored: int = Field(description="The versions that a team may store.")
    max_stored_bytes: int = Field(description="The bytes that a team may store.")
