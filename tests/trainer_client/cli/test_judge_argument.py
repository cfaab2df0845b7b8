"""Every command that asks a judge can ask one of several by its name, and says which one answered."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from testkit.scripted_judge import Service, answered, items, judge_info, preferences, problem, scores, served
from tests.trainer_client.cli.test_calibrate import rows as calibration_rows
from tests.trainer_client.rescoring.logs import line
from tools.reference_pages import commands_below
from trainer_client.cli import main

Json = dict[str, Any]
JUDGES = {"small": "fingerprint-small", "large": "fingerprint-large"}
JUDGE_OF = {
    "--url": "--judge",
    "--teacher": "--teacher-judge",
    "--shadow": "--shadow-judge",
    "--truth-url": "--truth-judge",
}
"""The arguments that name a judge service, each with the one that names a judge of it."""
WITHOUT = {
    f"rubrics {action}": "it stores criteria, and no judge is asked" for action in ("put", "get", "list", "remove")
}


def test_every_command_that_takes_a_service_takes_a_judge_of_it() -> None:
    lacking, seen = [], 0
    for name, parser in commands_below("rubricd", main.parser(main.ALL)):
        options = set(re.findall(r"^  (--[a-z-]+)", parser.format_help(), re.M))
        for service, judge in JUDGE_OF.items():
            if service in options:
                seen += 1
                if judge not in options:
                    lacking.append(name.removeprefix("rubricd "))
    assert sorted(lacking) == sorted(WITHOUT)
    assert seen >= 20


class Deployment(Service):
    """Two judges by name; a request that names neither is answered as the first, and is remembered in `unnamed`."""

    def __init__(self) -> None:
        super().__init__()
        self.unnamed = 0

    def respond(self, request: httpx.Request) -> httpx.Response:
        if request.url.path in ("/healthz", "/readyz"):
            return answered({"status": "alive", "version": "1"})
        if request.url.path == "/v1/judge":
            name = parse_qs(request.url.query.decode()).get("judge", [None])[0]
            return answered(self._info(self._known(name)))
        body = json.loads(request.content)
        name = self._known(body.get("judge"))
        if body.get("expect_judge") not in (None, JUDGES[name]):
            return problem("judge-mismatch", 409)
        self.bodies.append(body)
        whole = preferences(body) if request.url.path == "/v1/compare" else scores(body)
        whole["judge"].update(name=name, fingerprint=JUDGES[name], prompt=body.get("judge_prompt"))
        return answered(whole)

    def _known(self, name: str | None) -> str:
        self.unnamed += name is None
        return name or "small"

    def _info(self, name: str) -> Json:
        info = judge_info()
        judge = {**info["judges"][0], "name": name, "fingerprint": JUDGES[name], "prompt": "question"}
        prompt = {"name": "question", "description": "", "labels": ["Yes", "No"], "reading": "single", "examples": 0}
        return {
            **info,
            "name": name,
            "fingerprint": JUDGES[name],
            "judges": [judge],
            "prompts": [{**prompt, "served": True}],
            "compare": {"judge": {**judge, "mode": "compare", "prompt": None}},
        }


def _labels(folder: Path) -> Path:
    path = folder / "labels.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in calibration_rows(16)))
    return path


def _pairs(folder: Path) -> Path:
    path = folder / "pairs.jsonl"
    rubric = items(1)[0]["rubric"]
    rows = [{"prompt": f"p{n}", "chosen": f"a {n}", "rejected": f"b {n}", "rubric": rubric} for n in range(12)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def _log(folder: Path) -> Path:
    path = folder / "log.jsonl"
    rows = [line(f"g{n // 4}", f"r{n}", [n % 10 / 10, 0.2, 0.7]) for n in range(12)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def _rows(folder: Path) -> Path:
    path = folder / "rows.jsonl"
    same = [{"text": "Names the tea.", "points": 1}, {"text": "Says which tea.", "points": 2}]
    path.write_text("".join(f"{json.dumps({**one, 'rubric': same})}\n" for one in items(12)))
    return path


ASKING: dict[str, tuple[tuple[str, ...], Callable[[Path], Path], bool]] = {
    "calibrate": (("calibrate", "--priors", "none", "--out", "{folder}/c.json"), _labels, True),
    "tune": (("tune",), _labels, True),
    "audit": (("audit", "--rows", "4"), _rows, True),
    "audit --pairwise": (("audit", "--pairwise", "--steps", "1"), _log, True),
    "align": (("align", "--arm", "explicit-hard", "--arm", "compare"), _pairs, True),
    "rescore": (("rescore",), _log, True),
    "watch": (("watch",), _log, False),
    "lint": (("lint",), _rows, True),
    "score": (("score",), _rows, True),
    "doctor": (("doctor",), lambda folder: folder, True),
}
"""How each is run, on what, and whether it says the judge's fingerprint."""


@pytest.mark.parametrize("name", ASKING)
def test_the_judge_that_is_named_is_asked_and_said(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, made, says = ASKING[name]
    file = made(tmp_path)
    first = [] if name == "doctor" else [str(file)]
    if name == "audit --pairwise":
        first *= 2
    service = Deployment()
    with served(service) as url:
        options = [one.format(folder=tmp_path) for one in command[1:]]
        main.main([command[0], *first, *options, "--url", url, "--judge", "large"])
    said = capsys.readouterr()
    assert service.unnamed == 0, "somebody asked for the first judge"
    assert {body["judge"] for body in service.bodies} == ({"large"} if name != "doctor" else set())
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.suffix in (".json", ".html"))
    if says:
        assert JUDGES["large"] in said.out + said.err + written
    assert JUDGES["small"] not in said.out + said.err + written


def test_judges_of_one_deployment_are_measured_side_by_side(tmp_path: Path) -> None:
    """A judge is known by its fingerprint, whatever it is called: what it said before is not asked again."""
    file, found, service = _labels(tmp_path), tmp_path / "found.json", Deployment()
    with served(service) as url:
        assert main.main(["agree", str(file), "--url", url, "--quiet"]) == 0
        asked = len(service.bodies)
        command = ["agree", str(file), "--url", url, "--judge", "small", "--judge", "large", "--json", str(found)]
        assert main.main([*command, "--price-in", "1", "--price-in", "9", "--price-out", "0"]) == 0
    assert {body["judge"] for body in service.bodies[asked:]} == {"large"}
    judges = json.loads(found.read_text())["judges"]
    assert [one["name"] for one in judges] == ["small", "large"]
    assert [one["judge"]["fingerprint"] for one in judges] == list(JUDGES.values())


@pytest.mark.parametrize(("command", "why"), [("calibrate", "a calibration is of one judge"), ("tune", "tune these")])
def test_a_composition_is_refused_where_single_judges_are_meant(
    command: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = Service()
    members = [{"name": name, "kind": "fake", "model": "m", "fingerprint": f"f-{name}"} for name in ("a", "b")]
    service.info = {"name": "both", "judges": [{**judge_info()["judges"][0], "name": "both", "members": members}]}
    with served(service) as url:
        assert main.main([command, str(_labels(tmp_path)), "--url", url, "--quiet"]) == 2
    said = capsys.readouterr().err
    assert "judge `both` is composed of `a`, `b`" in said and why in said and said.count("\n") == 1
    assert service.bodies == []


def test_a_service_without_the_judge_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Lacking(Deployment):
        def respond(self, request: httpx.Request) -> httpx.Response:
            if request.url.path == "/v1/judge":
                return problem("invalid-request", 422)
            return super().respond(request)

    with served(Lacking()) as url:
        assert main.main(["doctor", "--url", url, "--judge", "lrge"]) == 1
        said = capsys.readouterr().out
        assert "error    judge" in said and "name another one by --judge" in said
        assert main.main(["agree", str(_labels(tmp_path)), "--url", url, "--judge", "lrge"]) == 2
