"""Each example of `examples/`, run as its first lines say, against the bundled judge."""

import asyncio
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Generic, NamedTuple, TypeVar

import httpx
import pytest
from pyarrow import parquet
from pydantic import BaseModel, ConfigDict

from testkit.processes import ROOT, Running
from testkit.waiting import HUNG_S
from trainer_client.verl.reward import compute_score

EXAMPLES = ROOT / "examples"
ANSWER = "Drink ginger tea and see a nurse."
POLICY = ROOT / "miniature" / "checkpoints" / "policy"
UNJUDGEABLE = [{"text": "word " * 6_000, "points": 1}]
"""A criterion that is longer than the judge's context: nothing is known of the answer."""
T = TypeVar("T")


def _run(*arguments: str | Path) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def _loaded(name: str) -> ModuleType:
    spec = spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def judge_url(bundled: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("JUDGE_URL", bundled.url)
    yield bundled.url


def _first_row() -> dict[str, Any]:
    row: dict[str, Any] = json.loads((EXAMPLES / "rows.jsonl").read_text(encoding="utf-8").splitlines()[0])
    return row


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_own_trainer_script(bundled: Running, tmp_path: Path) -> None:
    printed = _run(EXAMPLES / "grpo_trainer.py", bundled.url, POLICY, tmp_path)
    steps = [json.loads(line) for line in printed.splitlines() if line.startswith('{"')]
    assert len(steps) == 2
    assert all(-1 <= step["rewards/judge/mean"] <= 1 and step["judge/none_share"] == 0 for step in steps)


def test_the_run_file(bundled: Running, tmp_path: Path) -> None:
    _run(
        "-m", "trainer_client", "train", EXAMPLES / "run.yaml", "--toy-judge", "--out", tmp_path / "run", "--set",
        f"judging.url={bundled.url}",
    )  # fmt: skip
    assert any("reward" in line for line in _lines(tmp_path / "run" / "metrics.jsonl"))


@pytest.mark.parametrize("how", ["scaffold", "bare"])
def test_verls_data_and_command(bundled: Running, tmp_path: Path, how: str) -> None:
    """The reward is asked for as verl's worker asks: with the sample's `extra_info`, by the settings printed."""
    command = shlex.split(_run(EXAMPLES / "verl_recipe.py", bundled.url, "policy", tmp_path, how))
    settings = dict(one.lstrip("+").split("=", 1) for one in command[3:])
    assert settings["reward.custom_reward_function.path"] == "pkg://trainer_client.verl.reward"
    table = parquet.read_table(settings["data.train_files"]).to_pylist()
    assert {row["agent_name"] for row in table} == {"rubricd_scaffold" if how == "scaffold" else "single_turn_agent"}
    assert ("rubricd_scaffold" in (tmp_path / "agents.yaml").read_text()) if how == "scaffold" else True
    url = settings["reward.custom_reward_function.reward_kwargs.url"].strip('"')
    scored = asyncio.run(compute_score("rows", ANSWER, None, table[0]["extra_info"], url=url))
    assert scored["score"] == pytest.approx(1.0) and scored["judged"] == 1.0


def test_openrlhfs_data(bundled: Running, tmp_path: Path) -> None:
    printed = shlex.split(_run(EXAMPLES / "openrlhf_data.py", bundled.url, tmp_path / "runs" / "prompts.jsonl"))
    rows = _lines(tmp_path / "runs" / "prompts.jsonl")
    prompts = [f"<|user|>{row['input'][0]['content']}<|assistant|>" for row in rows]
    body = {"query": [one + ANSWER for one in prompts], "prompts": prompts, "labels": [row["label"] for row in rows]}
    reply = httpx.post(printed[printed.index("--reward.remote_url") + 1], json=body, timeout=HUNG_S).json()
    assert reply["rewards"] == pytest.approx([1.0, 1.0]) and reply["extra_logs"]["judged"] == [1.0, 1.0]


def test_slimes_data(bundled: Running, tmp_path: Path) -> None:
    printed = shlex.split(_run(EXAMPLES / "slime_data.py", bundled.url, tmp_path / "runs" / "prompts.jsonl"))
    row = _lines(tmp_path / "runs" / "prompts.jsonl")[0]
    body = {"prompt": row["prompt"], "response": ANSWER, "label": row["label"]}
    reply = httpx.post(printed[printed.index("--rm-url") + 1], json=body, timeout=HUNG_S).json()
    assert reply[printed[printed.index("--reward-key") + 1]] == pytest.approx(1.0) and reply["judged"] is True


async def test_nemo_gyms_server(judge_url: str) -> None:
    server = _loaded("nemo_gym_server")
    row = _first_row()
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": ANSWER}]}
    body = {
        "responses_create_params": {"input": [{"role": "user", "content": row["prompt"]}]},
        "response": {"output": [said]},
        "rubric": row["rubric"],
    }
    transport = httpx.ASGITransport(app=server.app)
    async with server.judge, httpx.AsyncClient(transport=transport, base_url="http://gym") as gym:
        assert (await gym.post("/seed_session", json=body)).json() == {}
        reply = (await gym.post("/verify", json=body)).json()
    assert reply["reward"] == pytest.approx(1.0) and reply["judge_status"] == "ok"


async def test_an_ors_environment_and_its_null(judge_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = _loaded("ors_environment")
    rubrics = environment.Rubrics(task_spec=environment.Rubrics.list_tasks("train")[0])
    assert rubrics.get_prompt()[0].text == _first_row()["prompt"]
    answer = environment.Answer(text=ANSWER)
    async with environment.judge:
        done = await rubrics.submit(answer)
        assert done.reward == pytest.approx(1.0) and done.finished
        monkeypatch.setitem(rubrics.task_spec, "rubric", UNJUDGEABLE)
        unjudged = await rubrics.submit(answer)
    assert unjudged.reward is None and json.loads(unjudged.model_dump_json())["reward"] is None


class _Rubric:
    """OpenEnv's Rubric as far as a rubric sees it, read in openenv-core 0.3.0: the package brings 60 others."""

    last_score: float | None = None

    async def __call__(self, action: Any, observation: Any) -> float:
        self.last_score = await self.forward(action, observation)
        return self.last_score

    async def forward(self, action: Any, observation: Any) -> float:
        raise NotImplementedError


async def test_an_openenv_rubric_and_what_it_does_without_a_verdict(
    judge_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("openenv", "openenv.core", "openenv.core.rubrics"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules["openenv.core.rubrics"], "Rubric", _Rubric, raising=False)
    example = _loaded("openenv_rubric")
    rubric = example.Judged(_first_row())
    async with example.judge:
        assert await rubric(ANSWER, None) == pytest.approx(1.0) == rubric.last_score
        rubric.row["rubric"] = UNJUDGEABLE
        with pytest.raises(RuntimeError, match="the action was not judged: too_long"):
            await rubric(ANSWER, None)


def _standing_in(monkeypatch: pytest.MonkeyPatch, **names: Any) -> None:
    """Puts modules in the place of packages that are not installed; `a__b={"c": d}` is the module a.b with d as c."""
    for name, held in names.items():
        module = ModuleType(name.replace("__", "."))
        vars(module).update(held)
        monkeypatch.setitem(sys.modules, module.__name__, module)


class _TaskData(BaseModel):
    """verifiers' task data, as far as a task sees it, read in verifiers 0.4.0."""

    model_config = ConfigDict(frozen=True)
    id: str | None = None
    prompt: str | None = None


class _Task(Generic[T]):
    def __init__(self, data: T, config: Any = None) -> None:
        self.data = data


class _Taskset(Generic[T]):
    config = SimpleNamespace(task=None)


def _vf_reward(method: Any) -> Any:
    method.reward = True
    return method


async def test_a_taskset_of_verifiers(judge_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"TaskData": _TaskData, "Task": _Task, "Taskset": _Taskset, "reward": _vf_reward, "Trace": SimpleNamespace}
    _standing_in(monkeypatch, verifiers={}, verifiers__v1=held)
    example = _loaded("verifiers_taskset")
    first, second = example.Rubrics().load()
    assert first.judged.reward and first.data.prompt == _first_row()["prompt"]
    async with example.judge:
        assert await first.judged(SimpleNamespace(last_reply=ANSWER)) == pytest.approx(1.0)
        unjudged = example.Judged(second.data.model_copy(update={"rubric": UNJUDGEABLE}))
        with pytest.raises(RuntimeError, match="the response was not judged: too_long"):
            await unjudged.judged(SimpleNamespace(last_reply=ANSWER))


class _BaseTextEnv:
    """SkyRL's environment of texts, as far as ours sees it, read in skyrl-gym 0.4.0."""


def test_an_environment_of_skyrl(judge_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}
    _standing_in(
        monkeypatch,
        skyrl_gym={"register": lambda id, entry_point: made.update({id: entry_point})},
        skyrl_gym__envs={},
        skyrl_gym__envs__base_text_env={"BaseTextEnv": _BaseTextEnv, "BaseTextEnvStepOutput": dict},
    )
    example = _loaded("skyrl_environment")
    example.write(tmp_path / "runs" / "prompts.jsonl")
    (row, _) = _lines(tmp_path / "runs" / "prompts.jsonl")
    assert row["prompt"] == [{"role": "user", "content": _first_row()["prompt"]}]

    def step(spec: dict[str, Any], answer: str) -> dict[str, Any]:
        extras = {"reward_spec": spec, "max_turns": 1}
        told: dict[str, Any] = made[row["env_class"]](env_config={}, extras=extras).step(answer)
        return told

    with example.judge:
        told = step(row["reward_spec"], f"<think>Lift heavy boxes.</think>{ANSWER}")
        assert told == {"observations": [], "reward": pytest.approx(1.0), "done": True, "metadata": {}}
        unjudgeable = json.dumps({**_first_row(), "rubric": UNJUDGEABLE})
        with pytest.raises(RuntimeError, match="the answer was not judged: too_long"):
            step({"row": unjudgeable}, ANSWER)


class _StepResult(NamedTuple):
    """What an environment of tinker-cookbook returns, read in tinker-cookbook 0.6.1."""

    reward: float
    episode_done: bool
    next_observation: Any
    next_stop_condition: Any


class _Renderer:
    def build_generation_prompt(self, turns: list[dict[str, str]]) -> Any:
        return turns

    def get_stop_sequences(self) -> list[str]:
        return ["<|end|>"]

    def parse_response(self, action: list[str]) -> tuple[dict[str, str], Any]:
        return {"role": "assistant", "content": "".join(action)}, None


async def test_environments_of_tinker(judge_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _standing_in(
        monkeypatch,
        tinker={"ModelInput": SimpleNamespace(empty=lambda: "nothing")},
        tinker_cookbook={},
        tinker_cookbook__renderers={"Renderer": _Renderer, "get_text_content": lambda message: message["content"]},
        tinker_cookbook__rl={},
        tinker_cookbook__rl__types={"Env": object, "EnvGroupBuilder": object, "StepResult": _StepResult},
    )
    example = _loaded("tinker_environment")
    group = example.JudgedGroup(_first_row(), _Renderer(), group=3)
    environments = await group.make_envs()
    assert len(environments) == 3
    observed, stop = await environments[0].initial_observation()
    assert (observed, stop) == ([{"role": "user", "content": _first_row()["prompt"]}], ["<|end|>"])
    async with example.judge:
        told = await environments[0].step(list(ANSWER))
        assert (told.reward, told.episode_done) == (pytest.approx(1.0), True)
        unjudged = example.Judged({**_first_row(), "rubric": UNJUDGEABLE}, _Renderer())
        with pytest.raises(RuntimeError, match="the answer was not judged: too_long"):
            await unjudged.step(list(ANSWER))
