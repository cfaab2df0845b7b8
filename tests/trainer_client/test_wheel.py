"""The wheel in an environment of its own: it brings httpx and pydantic and nothing else, and importing it is quick."""

import json
import re
import resource
import subprocess
import sys
import time
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _pip(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    (path,) = folder.glob("rubricd-*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel and what it brings."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    _pip("--python", python, "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel)
    return python


def _closure(*names: str) -> set[str]:
    """These distributions and all that they need without extras, as they are installed here."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = re.sub(r"[-_.]+", "-", left.pop()).lower()
        if name in found:
            continue
        found.add(name)
        needs = (need for need in distribution(name).requires or [] if "extra ==" not in need)
        left += [re.split(r"[^\w.-]", need, maxsplit=1)[0] for need in needs if _applies(need)]
    return found


def _applies(need: str) -> bool:
    """Whether a requirement's marker holds for this interpreter."""
    _, _, marker = need.partition(";")
    from packaging.markers import Marker

    return not marker or Marker(marker.strip()).evaluate()


def test_it_brings_httpx_and_pydantic_and_no_more(python: Path) -> None:
    listed = json.loads(_pip("--python", python, "list", "--format", "json"))
    names = {re.sub(r"[-_.]+", "-", one["name"]).lower() for one in listed}
    assert names == {"rubricd"} | _closure("httpx", "pydantic")
    assert not {"torch", "transformers", "trl", "fastapi", "numpy"} & names


def test_it_holds_the_client_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"trainer_client"}
    shipped = {name for name in names if name.startswith("trainer_client/")}
    files = (path for path in (ROOT / "trainer_client").rglob("*") if path.is_file() and path.suffix != ".pyc")
    here = {str(path.relative_to(ROOT)) for path in files}
    assert shipped == here and {"trainer_client/py.typed", "trainer_client/pages/page.html"} <= shipped


PUBLIC = "from trainer_client import Failed, JudgeClient, Outcome, ScoreOptions, Scored, errors, reward, wire"
IMPORTS = (PUBLIC, "import trainer_client.scaffold", "import trainer_client.cli.main")


@pytest.mark.parametrize("statement", IMPORTS)
def test_importing_loads_nothing_heavy(python: Path, statement: str) -> None:
    loaded = _loaded(python, statement)
    assert "trainer_client" in loaded
    assert not {"torch", "transformers", "trl", "datasets", "numpy", "pyarrow", "rich", "service"} & loaded


@pytest.mark.parametrize("statement", ["import trainer_client.wire", "from trainer_client import wire"])
def test_the_contract_alone_needs_pydantic_alone(python: Path, statement: str) -> None:
    loaded = _loaded(python, statement)
    assert "pydantic" in loaded and not {"httpx", "anyio", "asyncio"} & loaded


def _loaded(python: Path, statement: str) -> set[str]:
    """The top-level packages that are loaded after the statement."""
    code = f"import sys; {statement}; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([python, "-I", "-c", code], check=True, capture_output=True, text=True, cwd="/")
    return set(done.stdout.split())


def test_importing_the_public_names_takes_less_than_three_tenths_of_a_second(python: Path) -> None:
    """Of CPU, over the bare interpreter: the machine may be busy with something else."""
    bare = _seconds(python, "pass")
    for statement in ("import trainer_client.wire", PUBLIC):
        wall_s, cpu_s = (whole - own for whole, own in zip(_seconds(python, statement), bare, strict=True))
        print(f"{statement}: {wall_s:.3f} s, {cpu_s:.3f} s of CPU")
        assert cpu_s < 0.3


def _seconds(python: Path, code: str) -> tuple[float, float]:
    """The least of several starts: by the wall, of CPU."""
    starts = [_started(python, code) for _ in range(7)]
    return min(wall for wall, _ in starts), min(cpu for _, cpu in starts)


def _started(python: Path, code: str) -> tuple[float, float]:
    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    began, before = time.perf_counter(), spent()
    subprocess.run([python, "-I", "-c", code], check=True, cwd="/")
    return time.perf_counter() - began, spent() - before


def test_the_command_says_what_is_missing(python: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("policy: a\n")
    command = [str(python), "-I", "-m", "trainer_client", "train", str(tmp_path / "run.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "rubricd: train needs numpy: pip install 'rubricd[train]'\n"


@pytest.mark.parametrize("command", ["agree", "audit", "calibrate"])
def test_what_needs_numpy_says_so(python: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "p", "response": "r", "rubric": [{"text": "t", "points": 1}]}\n')
    started = [str(python), "-I", "-m", "trainer_client", command, str(tmp_path / "rows.jsonl")]
    done = subprocess.run(started, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"rubricd: {command} needs numpy: pip install 'rubricd[cli]'\n"
