"""Tests of the doctor: each finding, when all is well and when it is not."""

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from service import doctor
from service.doctor import judge, machine, surroundings
from service.doctor.findings import Finding, report
from service.doctor.machine import Memory
from service.engine.devices import Gpu
from service.settings import Settings
from testkit.redis import RedisServer
from testkit.teams_file import team, write

GIB = 1024**3
PLENTY = Memory(64 * GIB, 64 * GIB)
H200 = Gpu("NVIDIA H200", 139 * GIB)


def settings(**given: Any) -> Settings:
    return Settings(**given)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that looks like a judge of 3 GiB in 16 bits, without its bytes."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    with (folder / "model.safetensors").open("wb") as weights:
        weights.truncate(3 * GIB)
    return folder


def assert_says(finding: Finding, level: str, *texts: str) -> None:
    assert finding.level == level, finding
    for text in texts:
        assert text in f"{finding.text} {finding.remedy}", finding
    # An operator is always told what to do, and never told to do something where all is well.
    assert bool(finding.remedy) == (level != "ok"), finding


def test_python() -> None:
    assert_says(machine.check_python((3, 11, 7)), "ok", "3.11.7")
    assert_says(machine.check_python((3, 10, 12)), "error", "3.10.12", "Python 3.11 or newer")


def test_machine(model: Path) -> None:
    on_cpu = settings(judge=str(model), device="cpu")
    assert_says(machine.check_machine([on_cpu], 1, PLENTY), "ok", "1 CPU core,", "64.0 GiB of memory")
    busy = machine.check_machine([on_cpu], 8, Memory(16 * GIB, 2 * GIB))
    assert_says(busy, "warning", "8 CPU cores", "2.0 GiB of it free", "weights need 6.0 GiB", "end other programs")
    assert_says(machine.check_machine([on_cpu], 2, Memory(4 * GIB, 4 * GIB)), "error", "need 6.0 GiB", "smaller judge")
    halved = settings(judge=str(model), dtype="bfloat16")
    assert_says(machine.check_machine([halved], 2, Memory(4 * GIB, 4 * GIB)), "ok")
    elsewhere = settings(judge=str(model), engine="remote")
    assert_says(machine.check_machine([elsewhere], 2, Memory(GIB, GIB)), "ok")
    assert_says(machine.check_machine([on_cpu], 2, None), "ok", "2 CPU cores")


def test_memory_is_what_a_container_may_have(tmp_path: Path) -> None:
    assert machine.read_memory(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text(
        "MemTotal:       8388608 kB\nMemFree: 1 kB\nMemAvailable:    4194304 kB\n"
    )
    assert machine.read_memory(tmp_path) == Memory(8 * GIB, 4 * GIB)
    group = tmp_path / "sys" / "fs" / "cgroup"
    group.mkdir(parents=True)
    (group / "memory.current").write_text(f"{GIB}\n")
    (group / "memory.max").write_text("max\n")
    assert machine.read_memory(tmp_path) == Memory(8 * GIB, 4 * GIB)
    (group / "memory.max").write_text(f"{2 * GIB}\n")
    assert machine.read_memory(tmp_path) == Memory(2 * GIB, GIB)


@pytest.mark.parametrize(
    ("given", "gpus", "level", "text"),
    [
        ({}, None, "ok", "need none"),
        ({}, (), "ok", "need none"),
        ({}, (H200,), "ok", "NVIDIA H200 with 139.0 GiB"),
        ({"device": "cuda"}, (H200,), "ok", "H200"),
        ({"device": "cuda"}, (), "error", "need 1"),
        ({"device": "cuda"}, None, "error", "build of torch"),
        ({"device": "cuda:1"}, (H200,), "error", "need 2"),
        ({"device": "cuda:1", "engine": "fake"}, None, "ok", "need none"),
        ({"engine": "vllm"}, None, "ok", "need none"),  # its build for CPUs
        ({"engine": "vllm"}, (), "error", "need 1"),
        ({"engine": "vllm", "vllm_tensor_parallel_size": 2}, (H200, H200), "ok", "H200"),
        ({"engine": "vllm", "vllm_tensor_parallel_size": 4}, (H200, H200), "error", "need 4"),
    ],
)
def test_gpu(given: dict[str, Any], gpus: tuple[Gpu, ...] | None, level: str, text: str) -> None:
    assert_says(machine.check_gpu([settings(**given)], gpus), level, text)


def test_packages() -> None:
    def check(*judges: Settings, without: str = "", **given: Any) -> Finding:
        def installed(module: str) -> str | None:
            return None if without in (module, "*") else "1.0"

        look = installed if without else machine.installed_version
        return machine.check_packages(settings(**given), judges or [settings(**given)], look)

    assert_says(check(), "ok", "engine local: torch")
    assert_says(check(without="vllm"), "ok", "torch 1.0")
    assert_says(check(without="vllm", engine="vllm"), "error", "needs vllm", "[service,vllm]")
    several = check(settings(), settings(engine="vllm"), without="vllm")
    assert_says(several, "error", "engines local, vllm need vllm", "[service,vllm]")
    missing = check(without="*", otlp_endpoint="http://collector:4318")
    assert_says(missing, "error", "torch, transformers", "opentelemetry.sdk", "[service,tracing]")


def test_judges_that_run_beside_each_other_need_memory_for_all(model: Path) -> None:
    """The same weights twice are two processes with a copy each."""
    twice = [settings(judge=str(model), device="cpu")] * 2
    assert_says(machine.check_machine(twice, 8, PLENTY), "ok")
    small = machine.check_machine(twice, 8, Memory(8 * GIB, 8 * GIB))
    assert_says(small, "error", "the weights of 2 judges need 12.0 GiB", "smaller judge")
    elsewhere = settings(judge=str(model), engine="remote")
    assert_says(machine.check_machine([twice[0], elsewhere], 8, Memory(8 * GIB, 8 * GIB)), "ok")
    shared = [settings(engine="vllm"), settings(engine="vllm", vllm_gpu_memory_utilization=0.2)]
    assert_says(machine.check_gpu(shared, (H200,)), "warning", "take 1.1 of the first", "`vllm_gpu_memory_utilization`")
    assert_says(machine.check_gpu(shared, None), "ok")
    assert_says(machine.check_gpu([], None), "ok")


def test_a_module_is_found_by_its_own_name() -> None:
    assert machine.installed_version("pydantic_settings")
    assert machine.installed_version("no_such_module") is None
    assert machine.installed_version("no_such_module.below") is None


def test_judge(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_says(judge.check_judge(settings(judge=str(model))), "ok", str(model))
    assert_says(judge.check_judge(settings()), "warning", "miniature", "`judge`")
    assert_says(judge.check_judge(settings(engine="fake")), "warning", "mean nothing")
    assert_says(judge.check_judge(settings(engine="remote")), "error", "no tokenizer", "`judge`")
    assert_says(judge.check_judge(settings(judge=str(tmp_path / "none"))), "error", "there is no folder")
    (model / "model.safetensors").unlink()
    assert_says(judge.check_judge(settings(judge=str(model))), "error", "lacks weights in safetensors")
    assert_says(judge.check_judge(settings(judge=str(model), engine="remote")), "ok", str(model))
    (model / "tokenizer.json").unlink()
    broken = judge.check_judge(settings(judge=str(model)))
    assert_says(broken, "error", "a tokenizer and weights in safetensors", "download the whole model")
    monkeypatch.setattr(judge, "MINIATURE", tmp_path / "none")
    assert_says(judge.check_judge(settings()), "error", "bundled judge", "check the files out again")


def test_judge_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub import constants

    cached = {"rubricd/in-the-cache": "/cache/config.json"}
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda name, *_, **__: cached.get(name))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert_says(judge.check_judge(settings(judge="rubricd/in-the-cache")), "ok", "the hub's cache")
    absent = settings(judge="rubricd/absent")
    assert_says(judge.check_judge(absent), "warning", "downloaded at the start", "hf download rubricd/absent")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert_says(judge.check_judge(absent), "error", "HF_HUB_OFFLINE is set", "hf download rubricd/absent")


async def test_remote() -> None:
    def server(status: int, models: Sequence[str] = ("m",)) -> httpx.MockTransport:
        def answer(request: httpx.Request) -> httpx.Response:
            assert request.headers["authorization"] == "Bearer hidden"
            assert request.url.host == "judge"
            cards = [{"id": name, "max_model_len": 4096} for name in models]
            return httpx.Response(status, json={"data": cards, "version": "0.32"})

        return httpx.MockTransport(answer)

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    given = settings(engine="remote", judge="j", remote_url="http://judge:8001/v1/", remote_key="hidden")
    assert_says(await judge.check_remote(given, server(200)), "ok", "http://judge:8001 serves m, up to 4096 tokens")
    assert_says(await judge.check_remote(given, server(401)), "error", "`remote_key`")
    assert_says(await judge.check_remote(given, server(404)), "error", "it answers 404", "`remote_url`")
    assert_says(await judge.check_remote(given, server(200, ())), "error", "serves no model")
    assert_says(await judge.check_remote(given, server(200, ("a", "b"))), "error", "set `remote_model`")
    down = await judge.check_remote(given, httpx.MockTransport(refuse))
    assert_says(down, "error", "no answer (ConnectError)", "start the server")
    assert_says(await judge.check_remote(settings(engine="remote")), "error", "`remote_url`")


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


async def test_redis(redis: RedisServer) -> None:
    assert_says(await surroundings.check_redis(settings()), "ok", "not used")
    assert_says(await surroundings.check_redis(settings(redis_url=redis.url, redis_timeout_s=5)), "ok", "answers in")
    slow = await surroundings.check_redis(settings(redis_url=redis.url, redis_timeout_s=1e-9))
    assert_says(slow, "warning", "answers in", "`redis_timeout_s`")
    down = await surroundings.check_redis(settings(redis_url="redis://user:hidden@127.0.0.1:1/0"))
    assert_says(down, "warning", "redis://127.0.0.1:1/0 cannot be used: connection", "start Redis")
    assert_says(
        await surroundings.check_redis(settings(redis_url="http://127.0.0.1")), "error", "cannot be used", "`redis_url`"
    )


def test_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        busy = surroundings.check_port(settings(port=port))
        assert_says(busy, "error", f"127.0.0.1:{port}", "in use", "another `port`")
    assert_says(surroundings.check_port(settings(port=port)), "ok", f"127.0.0.1:{port} is free")
    assert_says(surroundings.check_port(settings(host="0.0.0.0")), "error", "0.0.0.0:8000", "teams file")
    teams = write(tmp_path / "teams.json", team("a"))
    assert_says(surroundings.check_port(settings(host="0.0.0.0", port=0, teams=teams)), "ok")
    assert_says(surroundings.check_port(settings(host="203.0.113.7", teams=teams)), "error", "cannot be listened on")


def test_the_port_of_the_metrics_is_looked_at_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        busy = surroundings.check_port(settings(port=0, metrics_port=port))
        assert_says(busy, "error", f"127.0.0.1:{port}", "in use", "another `metrics_port`")
    free = surroundings.check_port(settings(host="::1", port=0, metrics_port=port))
    assert_says(free, "ok", f"[::1]:0 and [::1]:{port} are free")
    open_to_all = surroundings.check_port(settings(port=0, metrics_port=0, metrics_host="0.0.0.0"))
    assert_says(open_to_all, "error", "0.0.0.0:0", "teams")


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_says(surroundings.check_folders(settings()), "ok", "none is written to")
    ledger, file = tmp_path / "a" / "b", tmp_path / "file"
    assert_says(surroundings.check_folders(settings(ledger=ledger)), "ok", f"ledger {ledger}, ", "GiB free")
    assert not ledger.parent.exists()  # it changes nothing
    file.touch()
    below = surroundings.check_folders(settings(ledger=file, rubrics=file / "x"))
    assert_says(
        below, "error", f"`ledger` is {file}, which is no folder; `rubrics` is {file}/x, and {file} is", "choose"
    )
    monkeypatch.setattr(os, "access", lambda folder, mode: folder != tmp_path)
    assert_says(surroundings.check_folders(settings(rubrics=tmp_path)), "error", "cannot be written to", "the right")
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    assert_says(surroundings.check_folders(settings(ledger=ledger)), "warning", "0.0 GiB free", "make room there")


def test_the_folder_of_prometheus_client_is_looked_at_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "none"))
    assert_says(surroundings.check_folders(settings()), "error", "PROMETHEUS_MULTIPROC_DIR is", "choose another folder")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    assert_says(surroundings.check_folders(settings()), "ok", "none is written to")


def test_connections() -> None:
    assert_says(surroundings.check_connections(settings(), 10_000), "ok", "4096 at a time")
    few = surroundings.check_connections(settings(), 1024)
    assert_says(few, "warning", "768 at a time, 1024 descriptors", "`max_connections` to 768")


def test_teams(tmp_path: Path) -> None:
    assert_says(surroundings.check_teams(settings()), "ok", "no key is needed")
    good = write(tmp_path / "teams.json", team("a"), team("b"))
    assert_says(surroundings.check_teams(settings(teams=good)), "ok", "2 teams, 2 keys")
    keyless = write(tmp_path / "keyless.json", team("a"), {"name": "b"})
    assert_says(surroundings.check_teams(settings(teams=keyless)), "warning", "without a key: b", "keys new b --teams")
    assert_says(surroundings.check_teams(settings(teams=tmp_path / "none.yaml")), "error", "cannot be read", "example")
    broken = tmp_path / "broken.yaml"
    broken.write_text("teams: [")
    assert_says(surroundings.check_teams(settings(teams=broken)), "error", "not YAML", "correct the file")
    good.chmod(0o666)
    assert_says(surroundings.check_teams(settings(teams=good)), "warning", "any user may write the file", "chmod")


ROW = {"item": {"prompt": "p", "response": "r", "rubric": [{"text": "t", "points": 1}]}, "met": {"0": True}}


def test_files_of_the_judge(tmp_path: Path) -> None:
    def check(**given: Any) -> Finding:
        return judge.check_files(settings(**given))

    assert_says(check(), "ok", "no calibration, canaries or template")
    file = tmp_path / "file.json"
    assert_says(check(calibration=file), "error", "`calibration` cannot be read", "correct the file")
    file.write_text("{}")
    assert_says(check(calibration=file), "error", "is no calibration file", "correct the file")
    assert_says(check(canaries=file), "error", "`canaries`, line 1 of", "correct the file")
    assert_says(check(prompt="unknown"), "error", "no prompt of ours", "correct the file")
    file.write_bytes(b"\xff")
    assert_says(check(healthbench_template=file), "error", "`healthbench_template` cannot be read", "correct the file")
    file.write_text(json.dumps(ROW))
    assert_says(check(canaries=file), "ok", f"canaries {file}")


def test_the_report_is_aligned_and_ends_with_the_conclusion() -> None:
    fine = Finding("GPU", "ok", "none is needed")
    odd = Finding("Packages", "warning", "an odd one", "look at it")
    bad = Finding("Port", "error", "taken", "take another")
    assert report([fine, odd]).splitlines() == [
        "ok       GPU       none is needed",
        "warning  Packages  an odd one",
        "                   -> look at it",
        "",
        "The service can start.",
    ]
    assert report([bad, fine]).splitlines()[-1] == "The service cannot start: 1 error(s)."


def test_the_exit_status_says_whether_the_service_could_start(capsys: pytest.CaptureFixture[str]) -> None:
    loaded = {*sys.modules}  # by other tests of this process
    assert doctor.doctor(settings(engine="fake", port=0)) == 0
    well = capsys.readouterr().out
    assert [line.split()[1] for line in well.splitlines() if line and line[0] != " "][:-1] == [
        "Python", "Machine", "GPU", "Packages", "Judge", "Files", "Redis", "Folders", "Port", "Connections", "Teams"
    ]  # fmt: skip
    assert doctor.doctor(settings(engine="fake", host="0.0.0.0", redis_url="redis://u:hidden@127.0.0.1:1")) == 1
    out = capsys.readouterr().out
    assert "The service cannot start: 1 error(s)." in out
    assert "hidden" not in out
    assert not {name for name in {*sys.modules} - loaded if name.partition(".")[0] == "vllm"}  # it loads no engine


def test_a_server_that_reads_texts_needs_its_url_and_its_model() -> None:
    assert_says(judge.check_judge(settings(engine="decisions")), "error", "`decisions_url` (the server)")
    named = {"engine": "decisions", "decisions_url": "http://judge", "decisions_model": "jev"}
    assert_says(judge.check_judge(settings(**named)), "ok", "jev at http://judge, which is asked at the start")
    assert_says(judge.check_judge(settings(**named, judge="x")), "error", "leave `judge` out")
    wrong = judge.check_judge(settings(**{**named, "decisions_url": "judge:80"}))
    assert_says(wrong, "error", "`decisions_url` must be http(s)://")
