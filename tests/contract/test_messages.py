"""Messages to operators name settings that exist, and name them as settings."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from service.modes.registry import LAYOUTS, MODES
from service.settings import EngineName, Settings

ROOT = Path(__file__).resolve().parents[2]
TO_OPERATORS = (
    "service/engine",
    "service/modes",
    "service/prompting",
    "service/doctor",
    "service/redis_client.py",
    "service/redis_faults.py",
    "service/server.py",
    "service/wiring.py",
)
"""What the service says of itself at its start and in its log, and not of a request."""
NAMED = re.compile(r"`([a-z][a-z0-9_]*)`")
OTHERS = {*get_args(EngineName), *MODES, *LAYOUTS, "r", "judge_prompt", "opposite", "consistency", "batch", "name"}
"""Engines, modes and layouts, the mode of a lock's file, fields of requests, and those of a prompt's file."""
TO_JUDGES = {"service/engine/chat/messages.py"}
"""What a judge is asked, whose marked names are those of a document."""
LONG_NAMES = {name for name in Settings.model_fields if name.count("_") >= 1}


def texts(file: Path) -> Iterator[str]:
    """Strings that are no docstrings and no keys or arguments of one word."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in alone
            and " " in node.value
        ):
            yield node.value


def messages() -> list[tuple[str, str]]:
    files = [
        file
        for place in TO_OPERATORS
        for file in ([ROOT / place] if place.endswith(".py") else sorted((ROOT / place).rglob("*.py")))
    ]
    named = {file: str(file.relative_to(ROOT)) for file in files}
    return [(name, text) for file, name in named.items() if name not in TO_JUDGES for text in texts(file)]


def test_every_setting_that_a_message_names_exists() -> None:
    found = [(file, name) for file, text in messages() for name in NAMED.findall(text)]
    unknown = [(file, name) for file, name in found if name not in Settings.model_fields and name not in OTHERS]
    assert not unknown
    assert len({name for _, name in found if name in Settings.model_fields}) > 15


def test_a_setting_in_a_message_is_marked_as_one() -> None:
    bare = re.compile(rf"(?<![`\w])({'|'.join(LONG_NAMES)})(?![`\w])")
    assert not [(file, text) for file, text in messages() if bare.search(text)]
