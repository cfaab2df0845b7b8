"""The Dockerfile read as data: what a target copies, runs, and starts with."""

import json
import shlex
import shutil
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from dockerfile_parse import DockerfileParser
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = ROOT / "Dockerfile"


@dataclass(frozen=True, slots=True)
class Step:
    instruction: str
    value: str


def arguments() -> dict[str, str]:
    """The defaults of what a builder may choose."""
    given = (step.value.partition("=") for step in _steps() if step.instruction == "ARG")
    return {name: value for name, _, value in given}


def stage(name: str) -> list[Step]:
    """Its own steps, without its FROM."""
    found: list[Step] | None = None
    for step in _steps():
        if step.instruction == "FROM":
            if found is not None:
                return found
            found = [] if step.value.split()[-1] == name else None
        elif found is not None:
            found.append(step)
    assert found is not None, f"there is no stage {name}"
    return found


def copied(step: Step) -> list[tuple[str, str]]:
    """Returns what a COPY takes from the checkout, and its place below WORKDIR."""
    *sources, place = step.value.split()
    if sources[0].startswith("--from="):
        assert sources[1:] == ["/"] and place == "./", step
        return [one for other in stage(sources[0].removeprefix("--from=")) for one in copied(other)]
    below = place.removeprefix("./").strip("/")
    return [(source, below if len(sources) == 1 and below else f"{below}/{source}".strip("/")) for source in sources]


def lay_out(steps: list[Step], folder: Path) -> None:
    """Returns what the COPYs make, in `folder`; what .dockerignore leaves out is left out."""
    for step in steps:
        for source, place in copied(step) if step.instruction == "COPY" else ():
            to = folder / place
            to.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", ".*")
                shutil.copytree(ROOT / source, to, ignore=ignored, dirs_exist_ok=True)
            else:
                shutil.copy2(ROOT / source, to)


def environment(steps: list[Step]) -> dict[str, str]:
    words = [word for step in steps if step.instruction == "ENV" for word in shlex.split(step.value)]
    return dict(word.split("=", 1) for word in words)


def words(steps: list[Step], instruction: str) -> list[str]:
    """The program of an ENTRYPOINT, of a CMD or of a HEALTHCHECK."""
    [value] = [step.value for step in steps if step.instruction == instruction]
    found: list[str] = json.loads(value[value.index("[") :])
    return found


def one(steps: list[Step], instruction: str) -> str:
    [value] = [step.value for step in steps if step.instruction == instruction]
    return value


def documents(text: str) -> list[Any]:
    """Of a YAML file."""
    return list(YAML(typ="safe").load_all(text))


def _steps() -> list[Step]:
    parser = DockerfileParser(fileobj=BytesIO(DOCKERFILE.read_bytes()))
    return [Step(one["instruction"], one["value"]) for one in parser.structure if one["instruction"] != "COMMENT"]
