"""Labels through the service itself, in one process, with the fake engine."""

import json
from pathlib import Path

import httpx
import pytest

from miniature.world.cases import evaluation
from service.app import create_app
from service.engine.build import LoadedJudge
from service.engine.fake import FakeEngine
from service.settings import Settings
from testkit.apps import fake_settings, started
from testkit.tokenizer_families import family
from trainer_client.agreement.criteria import criterion_figures, verdicts_of
from trainer_client.client import JudgeClient, ScoreOptions
from trainer_client.labels import judge_labels, read_labels


async def _build(settings: Settings) -> LoadedJudge:
    return LoadedJudge(FakeEngine(), family("qwen"))


@pytest.mark.parametrize(
    "options",
    [{}, {"mode": "reasoned"}, {"judge_prompt": "examples"}, {"judge_prompt": "opposite"}, {"consistency": 2}],
)
async def test_the_miniatures_cases_are_judged_and_kept(tmp_path: Path, options: ScoreOptions) -> None:
    """In requests of at most 30 judgements, of which a criterion that is asked twice has two."""
    path, store = tmp_path / "labels.jsonl", tmp_path / "verdicts.jsonl"
    cases = [evaluation(1, index) for index in range(40)]
    path.write_text("".join(f"{json.dumps({'item': case.wire, 'met': case.truth})}\n" for case in cases))
    labels = read_labels([str(path)])
    app = create_app(fake_settings(max_judgements=30), build=_build)
    async with started(app), JudgeClient("http://localhost", transport=httpx.ASGITransport(app=app)) as client:
        judged = await judge_labels(client, labels, options=options, store=store)
        again = await judge_labels(client, labels, options=options, store=store)
    assert judged == again and judged.judge.mode == options.get("mode", "verdict")
    assert judged.judge.prompt == (None if "mode" in options else options.get("judge_prompt", "question"))
    assert [one.met_label for one in judged.criteria] == [met for case in cases for met in case.met]
    assert {one.status for one in judged.criteria} == {"ok"}
    found = criterion_figures(verdicts_of(labels, judged), resamples=50)
    assert found["not_judged"].value == 0 and found["accuracy"].value is not None
