"""Reads the rubric of a Harbor judge file, a TOML with `[[criterion]]` entries.

Guarantees: a criterion that is not binary is refused, because a verdict here is met or not met.
"""

import tomllib
from pathlib import Path
from typing import Any

from trainer_client.data.records import Raw, shown
from trainer_client.errors import DataError

_UNUSED = ("type", "files", "name", "id")


def rubric(path: Path) -> list[Raw]:
    """The criteria in their order; without a `weight` one has 1 point. Raises DataError."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as TOML ({error})") from None
    criteria = content.get("criterion")
    if not isinstance(criteria, list) or not criteria:
        raise DataError(f"{path}: no `[[criterion]]`; give at least one, with its `description`")
    return [_criterion(path, place, one) for place, one in enumerate(criteria)]


def _criterion(path: Path, place: int, one: Any) -> Raw:
    kind = one.get("type", "binary") if isinstance(one, dict) else None
    if kind != "binary":
        raise DataError(
            f"{path}: `criterion[{place}].type` is {shown(kind)}; only binary criteria can be judged: write it as a "
            'statement that is true or not, with `type = "binary"`'
        )
    kept = {key: value for key, value in one.items() if key not in _UNUSED}
    name = one.get("id", one.get("name"))
    return {"weight": 1, **kept, **({} if name is None else {"id": name})}
