"""Evolving rubrics where each answer is judged alone. verl's own way to it is in `contract/dropout.py`."""

import json
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from testkit import scripted_judge
from testkit.chat_server import chat_server
from testkit.scripted_judge import Json, Service
from trainer_client import wire
from trainer_client.client import JudgeClient
from trainer_client.data.rows import Row
from trainer_client.live_rubrics.evolution import Evolution, rollout_hash
from trainer_client.live_rubrics.step_rubric import step_rubric
from trainer_client.reward_client import JudgeConfig
from trainer_client.verl.evolving import Place, VerlEvolving
from trainer_client.verl.reward import NotJudged, compute_score
from trainer_client.verl.rows import to_parquet

RUBRIC = wire.Rubric.model_validate([{"text": "Is kind.", "points": 5}, {"text": "Lies.", "points": -3}])
ROW = Row("row-1", ({"role": "user", "content": "Hello?"},), RUBRIC, None, "made-up")
ANSWERS = ["a", "b", "c", "d"]
FAULT = "Praises itself again and again."
PROPOSED = json.dumps({"criteria": [{"text": "Asks back.", "kind": "positive"}, {"text": FAULT, "kind": "anti_hack"}]})


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    judge = Service()
    monkeypatch.setattr(JudgeConfig, "client", lambda self: JudgeClient(self.url, transport=judge.transport))
    return judge


def _info(folder: Path) -> Json:
    to_parquet([ROW], folder / "train.parquet", split="train")
    (row,) = parquet.read_table(folder / "train.parquet").to_pylist()
    told: Json = row["extra_info"]
    return told


async def _step(evolving: VerlEvolving, info: Json, step: int) -> list[dict[str, float | None]]:
    """One group of four, as our agent loop hands them on."""
    evolved = evolving.shared.before(ROW.id, step)
    drift = evolving.evolution.drift
    now = step_rubric(RUBRIC.criteria, None, row=ROW.id, step=step, evolved=evolved, drift=drift)
    told = []
    for member, answer in enumerate(ANSWERS):
        place = Place(step, member, 4, now.evolved).as_json()
        fields: Any = json.loads(json.dumps(_fields(evolving)))
        more = {"url": "http://judge", "evolving": fields}
        told.append(await compute_score("made-up", answer, None, {**info, "evolving": place}, **more))
    return told


def _fields(evolving: VerlEvolving) -> Json:
    evolution = evolving.evolution
    names = ("every", "propose", "active", "drift", "promote")
    told = {name: getattr(evolving, name) for name in ("folder", "url", "model", "timeout_s")}
    return {**told, "evolution": {name: getattr(evolution, name) for name in names}}


async def test_what_a_group_proposes_counts_from_the_next_step_on(tmp_path: Path, service: Service) -> None:
    with chat_server(lambda asked: PROPOSED) as server:
        evolving = VerlEvolving(str(tmp_path / "live"), server.url, "writer", evolution=Evolution(every=4, drift=0.5))
        info = _info(tmp_path)
        first = await _step(evolving, info, 4)
        second = await _step(evolving, info, 9)
        assert len(server.asked) == 1, "step 9 is not a fourth one"
    assert [one["evolved"] for one in first] == [0.0] * 4 and [one["evolved"] for one in second] == [2.0] * 4
    row = evolving.shared.before(ROW.id, 5)
    assert [one.text for one in row.active] == ["Asks back.", FAULT]
    assert {one.rollouts for one in row.active} == {tuple(map(rollout_hash, ANSWERS))}
    for answer, told in zip(ANSWERS, second, strict=True):
        texts = {"Is kind.": 5.0, "Lies.": -3.0, "Asks back.": 4.0, FAULT: -4.0}  # 4 is the mean of 5 and 3
        met = [points for text, points in texts.items() if scripted_judge.chance(answer, text) >= 0.5]
        assert told["score"] == pytest.approx(sum(met) / 9)
    after = evolving.shared.before(ROW.id, 10)
    for one in row.active:
        apart = {scripted_judge.chance(answer, one.text) >= 0.5 for answer in ANSWERS}
        assert (one.id in {other.id for other in after.active}) == (len(apart) == 2)


async def test_a_proposer_that_fails_and_a_group_with_an_answer_missing_change_nothing(
    tmp_path: Path, service: Service
) -> None:
    with chat_server(lambda asked: "I would rather not.") as server:
        evolving = VerlEvolving(str(tmp_path / "live"), server.url, "writer")
        info = _info(tmp_path)
        assert None not in [one["score"] for one in await _step(evolving, info, 1)]
        plain = service.answer

        def answer(body: Json) -> Any:
            told = plain(body).json()
            if body["items"][0]["response"] == "c":
                told["results"] = [{**one, "score": None, "status": "partial"} for one in told["results"]]
            return scripted_judge.answered(told)

        service.answer = answer
        with pytest.raises(NotJudged):
            await _step(evolving, info, 2)
        assert len(server.asked) == 1
    assert evolving.shared.before(ROW.id, 9).active == ()
