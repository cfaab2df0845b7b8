"""Tests of several judges through the routes: names, fingerprints, refusals, and what one judge alone answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.app import create_app, lifecycle_of
from service.engine.build import LoadedJudge
from service.engine.fake import FakeEngine
from service.errors import ConfigurationError
from service.judges.judges import Judges
from service.lifecycle import Lifecycle
from service.settings import Settings
from testkit.apps import client_of, fake_settings, item, serving, started
from testkit.metrics_page import Page
from testkit.tokenizer_families import family

FILE = """
judges:
  both: {panel: [a, b]}
  a: {engine: fake}
  b: {engine: fake, prompt: bare}
  by_tag: {routed: [{tag: hard, judge: b}], default: a}
"""


def settings(folder: Path, text: str = FILE, **changes: Any) -> Settings:
    file = folder / "judges.yaml"
    file.write_text(text, encoding="utf-8")
    return fake_settings(judges=file, **changes)


async def test_a_request_names_its_judge_and_gets_the_first_one_without(tmp_path: Path) -> None:
    async with serving(settings=settings(tmp_path)) as client:
        answers = {
            name: (await client.post("/v1/score", json={"items": [item()], **({"judge": name} if name else {})})).json()
            for name in (None, "both", "a", "b", "by_tag")
        }
    judges = {name: answer["judge"] for name, answer in answers.items()}
    assert judges[None] == judges["both"]
    assert [judges[name]["name"] for name in ("both", "a", "b", "by_tag")] == ["both", "a", "b", "by_tag"]
    assert len({one["fingerprint"] for one in judges.values()}) == 4
    assert [one["name"] for one in judges["both"]["members"]] == ["a", "b"]
    assert [one["fingerprint"] for one in judges["both"]["members"]] == [
        judges["a"]["fingerprint"],
        judges["b"]["fingerprint"],
    ]
    assert "members" not in judges["a"]
    of_a, of_b, both = (answers[name]["results"][0]["criteria"] for name in ("a", "b", "both"))
    for a, b, panel in zip(of_a, of_b, both, strict=True):
        assert panel["p"] == pytest.approx((a["p"] + b["p"]) / 2)
        assert [(one["judge"], one["p"]) for one in panel["members"]] == [("a", a["p"]), ("b", b["p"])]


async def test_a_judge_that_there_is_not_is_refused_on_every_route_with_the_nearest_name(tmp_path: Path) -> None:
    label = json.dumps({"rubric": item()["rubric"]})
    bodies: dict[str, Any] = {
        "/v1/score": {"items": [item()], "judge": "bth"},
        "/v1/compare": {"items": [{"prompt": "p", "a": "x", "b": "y"}], "judge": "bth"},
        "/get_reward?judge=bth": {"query": ["pr"], "prompts": ["p"], "labels": [label]},
        "/v1/systemone?judge=bth": {"state": "s", "questions": {"q": {"type": "noul", "instructions": "Is it?"}}},
        "/v1/decisions?judge=bth": {
            "model": "m",
            "input": "i",
            "questions": [{"type": "predicate", "instructions": "Is it?"}],
        },
    }
    async with serving(settings=settings(tmp_path)) as client:
        for path, body in bodies.items():
            refused = await client.post(path, json=body)
            assert (refused.status_code, "did you mean `both`?" in refused.text) == (422, True), (path, refused.text)
            known = path.replace("bth", "b"), {name: "b" if one == "bth" else one for name, one in body.items()}
            assert (await client.post(known[0], json=known[1])).status_code == 200, path
        assert (await client.get("/v1/judge?judge=bth")).status_code == 422
        assert (await client.get("/v1/judge?name=b")).status_code == 422


async def test_the_model_of_a_typed_question_may_be_a_judge(tmp_path: Path) -> None:
    state = {"state": "s", "questions": {"q": {"type": "noul", "instructions": "Is it?"}}}
    asked = {"input": "i", "questions": [{"type": "predicate", "instructions": "Is it?"}]}
    async with serving(settings=settings(tmp_path)) as client:
        for path, body in (("/v1/systemone", state), ("/v1/decisions", asked)):
            for model, url, answered in (("b", "", "b"), ("gpt", "", "both"), ("b", "?judge=a", "a")):
                reply = await client.post(path + url, json={"model": model, **body})
                assert reply.json()["model"] == answered, (path, model, url)


async def test_the_expected_judge_holds_for_compositions(tmp_path: Path) -> None:
    async with serving(settings=settings(tmp_path)) as client:
        mine = (await client.get("/v1/judge")).json()["fingerprint"]
        for expected, status in ((mine, 200), ("0" * 16, 409)):
            body = {"items": [item()], "expect_judge": expected}
            assert (await client.post("/v1/score", json=body)).status_code == status


async def test_what_a_composition_cannot_do_is_refused_with_what_can(tmp_path: Path) -> None:
    pair = {"items": [{"prompt": "p", "a": "x", "b": "y"}]}
    async with serving(settings=settings(tmp_path)) as client:
        compared = await client.post("/v1/compare", json=pair)
        assert (compared.status_code, compared.json()["errors"][0]["loc"]) == (422, ["judge"])
        assert "name a member as `judge`: `a`, `b`" in compared.json()["detail"]
        rated = await client.post("/v1/score", json={"items": [item()], "mode": "implicit"})
        assert (rated.status_code, rated.json()["errors"][0]["loc"]) == (422, ["mode"])
        debiased = await client.post("/v1/score", json={"items": [item()], "debias": True})
        assert (debiased.status_code, debiased.json()["errors"][0]["loc"]) == (422, ["debias"])


async def test_the_judges_are_described_and_drawn(tmp_path: Path) -> None:
    async with serving(settings=settings(tmp_path)) as client:
        info = (await client.get("/v1/judge")).json()
        of_b = (await client.get("/v1/judge?judge=b")).json()
        models = (await client.get("/v1/models")).json()
    assert (info["name"], of_b["name"]) == ("both", "b")
    assert (
        [one["name"] for one in info["deployed"]]
        == ["both", "a", "b", "by_tag"]
        == [one["name"] for one in models["models"]]
    )
    assert [(one["kind"], one["members"], one["required"]) for one in info["deployed"]] == [
        ("panel", ["a", "b"], True),
        ("fake", [], False),
        ("fake", [], False),
        ("routed", ["b", "a"], True),
    ]
    assert info["deployed"][0]["rule"] == {"rule": "mean", "quorum": "2"}
    assert info["diagram"].splitlines()[0] == "flowchart TD" and "j0 --> j1" in info["diagram"]
    assert {one["mode"] for one in info["judges"]} == {"verdict", "reasoned"}


async def test_without_a_file_answers_have_no_field_of_several_judges() -> None:
    async with serving() as client:
        answer = (await client.post("/v1/score", json={"items": [item()]})).json()
        info = (await client.get("/v1/judge")).json()
        refused = await client.post("/v1/score", json={"items": [item()], "judge": "a"})
    assert not {"name", "members"} & answer["judge"].keys()
    assert "members" not in answer["results"][0]["criteria"][0]
    assert not {"name", "deployed", "diagram"} & info.keys()
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["judge"])
    assert "one judge, which has no name" in refused.json()["detail"]
    assert answer["judge"]["fingerprint"] == "78463ad63a884581", "the fingerprint of the fake judge since it exists"


async def test_a_verdict_is_judged_once_for_all_that_ask_its_judge(tmp_path: Path) -> None:
    async with serving(settings=settings(tmp_path)) as client:
        first = (await client.post("/v1/score", json={"items": [item()]})).json()["usage"]
        again = (await client.post("/v1/score", json={"items": [item()], "judge": "b"})).json()["usage"]
    assert (first["judgements"], first["cache_hits"]) == (4, 0), "two criteria, two members"
    assert (again["judgements"], again["cache_hits"]) == (0, 2)


async def test_a_panel_without_a_member_says_so_everywhere(tmp_path: Path) -> None:
    """In the result's warnings, in each criterion, in readiness, in the description and in the metrics."""
    engines: list[FakeEngine] = []

    async def build(own: Settings) -> LoadedJudge:
        engines.append(FakeEngine(seed=len(engines)))
        return LoadedJudge(engines[-1], family("qwen"))

    text = "judges:\n  three: {panel: [a, b, c], quorum: 2}\n  a: {}\n  b: {}\n  c: {}\n"
    app = create_app(settings(tmp_path, text), build=build)
    async with started(app), client_of(app) as client:
        whole = (await client.post("/v1/score", json={"items": [item()]})).json()["results"][0]
        engines[1].down = "it restarts"
        ready, info = await client.get("/readyz"), (await client.get("/v1/judge")).json()
        body = {"items": [item(response="Another.")]}
        result = (await client.post("/v1/score", json=body)).json()["results"][0]
        alone = await client.post("/v1/score", json={**body, "judge": "b"})
        engines[2].down = "it was killed"
        refused, unready = await client.post("/v1/score", json=body), await client.get("/readyz")
        still = await client.post("/v1/score", json={**body, "judge": "a"})
        page = Page((await client.get("/metrics")).text)
    assert [one["code"] for one in whole["warnings"]] == ["toy_judge"]
    assert [one["code"] for one in result["warnings"]] == ["toy_judge", "members_missing"]
    assert result["status"] == "ok"
    assert [said["status"] for said in result["criteria"][0]["members"]] == ["ok", "engine_error", "ok"]
    assert ready.json() == {"status": "ready", "degraded": ["judge `b`: it restarts"]}
    three = info["deployed"][0]
    assert (three["ready"], three["reason"]) == (True, "`b`: it restarts")
    assert (alone.status_code, "judge `b`: it restarts" in alone.text) == (503, True)
    assert (refused.status_code, unready.status_code, still.status_code) == (503, 503, 200)
    assert "2 of the 3 judges of panel `three` cannot judge" in unready.json()["detail"]
    assert page("rubricd_panel_members_total", judge="three", member="b", outcome="missing") == 2
    assert page("rubricd_panel_members_total", judge="three") == 12
    assert page("rubricd_panel_disagreement_count", judge="three") == 4
    assert [page("rubricd_judge_ready", judge=name) for name in ("three", "a", "b")] == [0, 1, 0]
    assert page("rubricd_disagreement_count") == 0, "which is of two askings"
    assert all(engine.stopped for engine in engines)


async def test_metrics_are_by_judge_and_the_old_ones_are_sums(tmp_path: Path) -> None:
    async with serving(settings=settings(tmp_path)) as client:
        await client.post("/v1/score", json={"items": [item()]})
        page = Page((await client.get("/metrics")).text)
    assert [page("rubricd_judge_info", judge=name) for name in ("a", "b")] == [1, 1]
    assert page("rubricd_judge_tokens_per_second", judge="a") > 0
    assert page("rubricd_drain_tokens_per_second") == pytest.approx(
        sum(page("rubricd_judge_tokens_per_second", judge=name) for name in ("a", "b"))
    )


async def test_one_judge_that_cannot_start_ends_the_start_and_is_named(tmp_path: Path) -> None:
    for text, why in (
        ("judges:\n  a: {engine: fake, prompt: qustion}\n", "judge `a`: "),
        ("judges:\n  a: {engine: remote, remote_key_env: RUBRICD_NO_SUCH}\n", "which is not set"),
    ):
        failures: list[BaseException] = []
        app = create_app(settings(tmp_path, text), lifecycle=Lifecycle[Judges](on_failed=failures.append))
        async with started(app):
            assert lifecycle_of(app).state == "failed"
        assert "judge `a`: " in str(failures[0]) and why in str(failures[0])
    with pytest.raises(ConfigurationError, match="line 2"):
        create_app(settings(tmp_path, "judges:\n  a: {engin: fake}\n"))
