"""The page about changing a judge: its comparison runs as it stands, on what two judges said."""

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx

from service.app import create_app
from service.engine.build import LoadedJudge
from service.engine.fake import FakeEngine, FaultPlan
from service.settings import Settings
from testkit.apps import fake_settings, item, started
from testkit.tokenizer_families import family
from testkit.waiting import HUNG_S
from trainer_client import wire
from trainer_client.cli import results_file
from trainer_client.client import JudgeClient, Outcome, Scored

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operate" / "upgrading.md").read_text(encoding="utf-8")


async def said(engine: FakeEngine) -> list[Outcome]:
    async def build(settings: Settings) -> LoadedJudge:
        return LoadedJudge(engine, family("qwen"))

    app = create_app(fake_settings(), build=build)
    async with started(app), JudgeClient("http://localhost", transport=httpx.ASGITransport(app=app)) as client:
        return await client.score([item(response=f"Rest it. {n}") for n in range(40)])


def keep(file: Path, outcomes: list[Outcome]) -> None:
    asked = wire.Item.model_validate(item())
    lines = [json.dumps(results_file.line(place, one, "asked", asked, 0)) for place, one in enumerate(outcomes)]
    file.write_text("\n".join(lines) + "\n")


def run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=HUNG_S, check=True
    )
    return done.stdout


async def test_the_comparison_of_two_judges(tmp_path: Path) -> None:
    block = re.search(r"```python\n(.*?)```", PAGE, re.S)
    assert block is not None
    code = "\n".join(line.removeprefix("   ") for line in block.group(1).splitlines())
    some_fail = FaultPlan(script=("ok",), rates={"some": 1.0})  # but the canaries do not
    old, new = await said(FakeEngine(seed=0)), await said(FakeEngine(seed=1, plan=some_fail))
    keep(tmp_path / "old.jsonl", old)
    keep(tmp_path / "new.jsonl", new)
    pairs = [
        (a, b)
        for one, other in zip(old, new, strict=True)
        if isinstance(one, Scored) and isinstance(other, Scored)
        for a, b in zip(one.result.criteria, other.result.criteria, strict=True)
    ]
    judged = [(a, b) for a, b in pairs if a.status == b.status == "ok"]
    same = sum(a.met == b.met for a, b in judged) / len(judged)
    apart = sum(abs((a.p or 0.0) - (b.p or 0.0)) for a, b in judged) / len(judged)
    assert 0 < len(judged) < len(pairs) == 80
    assert run(code, tmp_path).splitlines() == [
        f"{same:.2%} the same verdict, P(met) {apart:.3f} apart on average",
        f"{80 - len(judged)} of 80 have no verdict of one of them",
    ]
