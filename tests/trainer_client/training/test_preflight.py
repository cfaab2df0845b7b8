"""What would end a training later ends it before anything is loaded, and says what to change."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import FINGERPRINT, Service, answered, judge_info, problem, scores, served
from tests.trainer_client.training import runs
from tests.trainer_client.training.planned import checkpoint, first_row, planned, run_of
from trainer_client import wire
from trainer_client.cli.main import main
from trainer_client.errors import DataError, JudgeMismatch, RubricdClientError
from trainer_client.rubric_folder import RubricFolder
from trainer_client.training.preflight import Processes, check_packages, prepare, rows_of
from trainer_client.training.run import config as run_config
from trainer_client.training.run import folder as run_dir
from trainer_client.training.run.config import RunConfigError

Json = dict[str, Any]


def test_a_plan_is_whole_batches_in_the_seeds_order(tmp_path: Path, url: str, service: Service) -> None:
    plan = planned(run_of(tmp_path, url, steps=7, prompts_per_batch=3, mini_batch=3))
    assert (plan.steps, len(plan.order), plan.checkpoint) == (7, 21, None)
    assert [row.id for row in plan.order] == [
        row.id for row in planned(run_of(tmp_path, url, steps=7, prompts_per_batch=3, mini_batch=3, out="b")).order
    ]
    other = planned(run_of(tmp_path, url, steps=7, prompts_per_batch=3, mini_batch=3, out="c", seed=1))
    assert [row.id for row in plan.order] != [row.id for row in other.order]
    assert planned(run_of(tmp_path, url, steps=None, epochs=3, out="d")).steps == 3 * 4
    assert plan.judging.options["expect_judge"] == FINGERPRINT, "a run is judged by one judge"


def test_a_ledger_is_in_the_runs_folder(tmp_path: Path, url: str) -> None:
    assert planned(run_of(tmp_path, url)).judging.ledger is None
    plan = planned(run_of(tmp_path, url, ledger=True, out="b"))
    assert plan.judging.ledger == plan.out / "ledger"


def test_rows_that_name_a_stored_rubric_have_its_criteria(tmp_path: Path, url: str) -> None:
    rubric = wire.Rubric.model_validate(runs.rows()[0]["rubric"])
    ref = RubricFolder(tmp_path / "rubrics").put("tea", rubric).ref
    run = run_of(tmp_path, url, rubric_folder="rubrics")
    runs.lines(tmp_path / "train.jsonl", *[{**row, "rubric": {"ref": ref}} for row in runs.rows()])
    found = rows_of(run, run.data)
    assert {row.rubric.ref for row in found if row.rubric is not None} == {ref}
    assert found[0].rubric is not None
    assert found[0].rubric.criteria == rubric.criteria
    with pytest.raises(DataError, match="rubric_folder"):
        rows_of(run.model_copy(update={"rubric_folder": None}), run.data)


def test_the_folder_says_what_was_begun(tmp_path: Path, url: str) -> None:
    run = run_of(tmp_path, url)
    plan = planned(run)
    assert run_config.read(plan.out / "run.yaml") == run
    assert json.loads((plan.out / "data.json").read_text()) == {
        "train": run_dir.digest(plan.order),
        "eval": run_dir.digest([]),
    }
    (judge,) = run_dir.judges(plan.out)
    assert (judge["from_step"], judge["fingerprint"], judge["model"]) == (0, FINGERPRINT, "fake")
    with pytest.raises(RunConfigError, match="exists; continue it with --resume, or name another folder with --out"):
        planned(run)


def test_only_the_first_process_writes(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    plan = planned(run_of(tmp_path, url))
    assert plan.processes == Processes(1, 2) and not plan.out.exists()
    assert plan.judging.options["expect_judge"] == FINGERPRINT


@pytest.mark.parametrize(
    ("fields", "row", "said"),
    [
        ({}, {"rubric": None}, "row stiff-neck: has no `rubric`; leave the row out or set `rubric: generic`"),
        ({}, {"rubric": [{"text": "a", "points": 0}]}, "row stiff-neck: every criterion has 0 points"),
        ({"reference": "needed"}, {}, "row stiff-neck: has no reference answer; leave the row out or set"),
        (
            {"judging": {"aggregation": "rar_explicit"}},
            {"rubric": [{"text": "Essential Criteria: a", "points": 1}, {"text": "b", "points": 1}]},
            "row stiff-neck: `rar_explicit` weighs by category and criterion 1 has none",
        ),
        ({"prompts_per_batch": 4, "mini_batch": 4}, {}, "holds 2 rows and a batch takes 4; lower `prompts_per_batch`"),
        ({}, {"prompt": []}, "line 1: `prompt`: must end with a turn"),
    ],
)
def test_rows_that_can_have_no_score_are_refused(tmp_path: Path, url: str, fields: Json, row: Json, said: str) -> None:
    changed = {key: value for key, value in first_row(**row).items() if value is not None}
    run = run_of(tmp_path, url, [changed, runs.rows()[1]], **fields)
    with pytest.raises(DataError) as caught:
        planned(run)
    assert said in str(caught.value) and str(tmp_path / "train.jsonl") in str(caught.value)
    assert not Path(run.out).exists()


def test_what_becomes_of_rubric_and_reference(tmp_path: Path, url: str) -> None:
    rows = [first_row(id=str(n), reference="Rest.") for n in range(2)]
    own = rows_of(run_of(tmp_path, url, rows), [str(tmp_path / "train.jsonl")])[0]
    assert own.reference is None and own.rubric is not None and len(own.rubric.criteria) == 3
    for preset, reference, criteria in (
        ("direct-likert", None, 0),
        ("reference-likert", "Rest.", 0),
        ("rar-predefined", None, 4),
        ("rar-explicit", None, 3),
    ):
        run = run_of(tmp_path, url, rows, preset=preset)
        row = rows_of(run, run.data)[0]
        assert (row.reference, len(row.rubric.criteria) if row.rubric else 0) == (reference, criteria)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"scaffold": {"last": ["answer"]}}, "`scaffold.last`: no criterion of the rows has the name 'answer'"),
        ({"scaffold": {"first": ["tea", "form"]}}, "`scaffold.first`: no criterion of the rows has the name 'form'"),
        ({"rubric_dropout": {"protect": ["axis:saftey"]}}, "`rubric_dropout.protect`: no criterion .* 'axis:saftey'"),
    ],
)
def test_a_name_that_no_criterion_has_is_refused(tmp_path: Path, url: str, fields: Json, said: str) -> None:
    rubric = [
        {"id": "tea", "text": "Names tea.", "points": 5},
        {"text": "Lies.", "points": -1, "tags": ["axis:safety"]},
    ]
    rows = [{**row, "rubric": rubric} for row in runs.rows()]
    run = run_of(tmp_path, url, **fields)
    runs.lines(tmp_path / "train.jsonl", *rows)
    with pytest.raises(RunConfigError, match=said):
        planned(run)
    names: Json = {"first": ["tea", "axis"], "last": ["axis:safety"]}
    right = run_of(tmp_path, url, scaffold=names, rubric_dropout={"protect": ["1", "tea"]}, out="b")
    runs.lines(tmp_path / "train.jsonl", *[{**one, "rubric": [rubric[0], {**rubric[1], "id": None}]} for one in rows])
    assert planned(right).run.scaffold.last == ["axis:safety"]


def test_empty_files_and_missing_ones(tmp_path: Path, url: str) -> None:
    with pytest.raises(DataError, match="holds no rows"):
        planned(run_of(tmp_path, url, []))
    with pytest.raises(DataError, match="No such file"):
        planned(run_of(tmp_path, url, data="none.jsonl"))


def test_a_judge_that_is_not_there_or_does_not_know_us(tmp_path: Path, url: str, service: Service) -> None:
    with pytest.raises(RubricdClientError) as caught:
        planned(run_of(tmp_path, "http://127.0.0.1:9"))
    assert caught.value.code == "connect_failed"
    service.answer = lambda body: problem("unauthorized", 401)
    with pytest.raises(RubricdClientError, match="about unauthorized"):
        planned(run_of(tmp_path, url))
    assert not (tmp_path / "out").exists()


def test_a_judge_is_asked_only_in_its_modes(tmp_path: Path, url: str) -> None:
    with pytest.raises(RunConfigError, match="this judge offers the modes verdict and the layouts rubricd, not impl"):
        planned(run_of(tmp_path, url, judging={"mode": "implicit"}))


def test_a_rubric_longer_than_the_judge_takes_is_named(tmp_path: Path) -> None:
    with served(Service(max_criteria=2)) as url, pytest.raises(DataError, match="row stiff-neck: has 3 criteria and"):
        planned(run_of(tmp_path, url))


def test_an_examiner_is_checked_and_recorded_as_the_judge_is(tmp_path: Path, url: str) -> None:
    first, *others = runs.rows()[0]["rubric"]
    one_weighed = [{**first, "tags": ["category:essential"]}, *others]
    runs.lines(tmp_path / "held.jsonl", first_row(id="held", rubric=one_weighed))
    fields: Json = {"eval_data": "held.jsonl", "eval_every": 2}
    with pytest.raises(RunConfigError, match="`examiner`: this judge offers the modes verdict and"):
        planned(run_of(tmp_path, url, **fields, examiner={"mode": "implicit"}))
    weighed = {"aggregation": "rar_explicit"}
    with pytest.raises(DataError, match=r"held\.jsonl, row held: `rar_explicit` weighs by category"):
        planned(run_of(tmp_path, url, **fields, examiner=weighed))
    another = Service(lambda body: answered({**scores(body), "judge": {**scores(body)["judge"], "fingerprint": "e-1"}}))
    with served(another) as strong:
        run = run_of(tmp_path, url, **fields, examiner={"url": strong})
        plan = planned(run)
        assert plan.examining is not None and plan.examining.options["expect_judge"] == "e-1"
        assert plan.judging.options["expect_judge"] == FINGERPRINT
        assert [one["fingerprint"] for one in run_dir.judges(plan.out, "examiners")] == ["e-1"]
        assert [one["fingerprint"] for one in run_dir.judges(plan.out)] == [FINGERPRINT]
        checkpoint(plan.out, 2)
    with served(Service()) as other, pytest.raises(JudgeMismatch, match=r"judged by fake \(e-1\), and the service now"):
        planned(run_of(tmp_path, url, **fields, examiner={"url": other}), resume=True)


def test_a_check_leaves_nothing(tmp_path: Path, url: str) -> None:
    run = run_of(tmp_path, url)
    assert prepare(run, resume=False).data["train"]["rows"] == 8 and not Path(run.out).exists()


def test_a_folder_that_cannot_be_made_is_told_before_anything_else(tmp_path: Path, url: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunConfigError, match=r"`out`: .*file is a file; name a folder"):
        prepare(run_of(tmp_path, url, out="file/inner"), resume=False)


@pytest.mark.parametrize(
    ("trl", "said"),
    [
        ({"report_to": ["wandb"]}, "this run needs wandb: pip install 'wandb'"),
        ({"use_vllm": True, "report_to": "trackio"}, "this run needs trackio, vllm: pip install 'trackio' 'vllm'"),
        ({"use_liger_kernel": True}, "this run needs liger_kernel: pip install 'liger-kernel'"),
    ],
)
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, trl: Json, said: str) -> None:
    there = {"trl", "peft", "datasets", "accelerate"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name in there else None)
    with pytest.raises(RunConfigError) as caught:
        check_packages(trl)
    assert str(caught.value) == said
    check_packages({"report_to": [], "use_vllm": False})
    there.clear()
    with pytest.raises(RunConfigError, match=r"needs trl, peft, datasets, accelerate: pip install 'rubricd\[train\]'$"):
        check_packages({})


def test_wandb_by_name_needs_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RunConfigError, match="wandb has no key; run `wandb login`"):
        check_packages({"report_to": ["wandb"]})
    monkeypatch.setenv("WANDB_MODE", "offline")
    check_packages({"report_to": ["wandb"]})


def test_an_evaluation_that_would_never_come_is_refused(tmp_path: Path, url: str) -> None:
    runs.lines(tmp_path / "held.jsonl", first_row(id="held"))
    with pytest.raises(RunConfigError, match=r"`eval_every` \(5\) exceeds the 4 batches of this run; lower it"):
        planned(run_of(tmp_path, url, eval_data="held.jsonl", eval_every=5))


def test_the_probe_asks_about_the_first_row_as_the_run_will(tmp_path: Path, url: str, service: Service) -> None:
    planned(run_of(tmp_path, url, judging={"aggregation": "mean", "soft": True}))
    (body,) = service.bodies
    assert (body["aggregation"], body["soft"], body["items"][0]["response"]) == ("mean", True, "")
    assert body["items"][0]["prompt"] == [{"role": "user", "content": runs.rows()[0]["prompt"]}]
    assert wire.JudgeInfo.model_validate(judge_info()).fingerprint == FINGERPRINT


def test_a_judge_that_cannot_judge_the_first_row_is_a_doubt(tmp_path: Path, url: str, service: Service) -> None:
    assert planned(run_of(tmp_path, url, out="a")).trial_failure is None

    def answer(body: Json) -> httpx.Response:
        whole = scores(body)
        whole["results"][0].update(score=None, status="failed", coverage=0.0)
        whole["results"][0]["criteria"][0].update(status="abstained", met=None, p=None)
        return answered(whole)

    service.answer = answer
    assert planned(run_of(tmp_path, url, out="b")).trial_failure == "abstained"


def test_rows_may_stand_in_several_files(tmp_path: Path, url: str) -> None:
    first, second = runs.rows()[:5], runs.rows()[5:]
    runs.lines(tmp_path / "more.jsonl", *second)
    run = run_of(tmp_path, url, first, data=["train.jsonl", "more.jsonl"], eval_data=["more.jsonl"], eval_every=1)
    assert [(row.id, row.source) for row in rows_of(run, run.data)] == [
        *((row["id"], "train") for row in first),
        *((row["id"], "more") for row in second),
    ]
    plan = planned(run)
    assert len(plan.order) == 8 and len(plan.eval_rows) == 3
    assert run_config.read(plan.out / "run.yaml") == run
    runs.lines(tmp_path / "more.jsonl", {**second[0], "rubric": None})
    with pytest.raises(DataError, match=r"more\.jsonl, line 1, row itchy-ankle: has no `rubric`"):
        rows_of(run, run.data)


def test_a_run_may_have_several_addresses_of_its_judge(tmp_path: Path, url: str) -> None:
    other = Service()
    with served(other) as second:
        plan = planned(run_of(tmp_path, url, judging={"url": [url, second]}))
        assert plan.judging.url == (url, second) and plan.judging.options["expect_judge"] == FINGERPRINT
    assert [request.url.path for request in other.requests].count("/v1/judge") >= 1


def test_addresses_of_two_judges_are_refused(tmp_path: Path, url: str) -> None:
    class Another(Service):
        def respond(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, content=super().respond(request).content.replace(b"judge-1", b"judge-2"))

    with served(Another()) as second, pytest.raises(JudgeMismatch, match="judge-1"):
        planned(run_of(tmp_path, url, judging={"url": [url, second]}))


def test_the_digest_sees_every_part_of_a_row_and_their_order(tmp_path: Path, url: str) -> None:
    run = run_of(tmp_path, url, reference="hidden")
    rows = rows_of(run, run.data)
    digests = [run_dir.digest(some)["sha256"] for some in (rows, rows[::-1], rows[1:], [*rows, rows[0]])]
    changed = runs.rows()
    changed[0]["rubric"][0]["points"] = 6
    runs.lines(tmp_path / "train.jsonl", *changed)
    digests.append(run_dir.digest(rows_of(run, run.data))["sha256"])
    assert len(set(digests)) == 5


def test_a_toy_trains_for_a_demonstration_alone(tmp_path: Path, url: str, service: Service) -> None:
    service.toy = True
    run = run_of(tmp_path, url)
    with pytest.raises(RunConfigError, match=r"judge, fake, is a toy .* say --toy-judge"):
        planned(run)
    assert not Path(run.out).exists(), "nothing is begun"
    assert planned(run, toy_judge=True).judge["toy"] is True


def test_misuse_is_one_line_and_status_2(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = runs.run_file(tmp_path, url)
    for options, said in (
        (["--set", "groups=3"], "`groups`: unknown field; did you mean `group`?"),
        (["--set", "judging.url=http://127.0.0.1:9"], "127.0.0.1:9"),
        (["--set", "data=none.jsonl"], "none.jsonl: No such file or directory"),
    ):
        assert main(["train", str(path), *options]) == 2
        error = capsys.readouterr().err
        assert error.startswith("rubricd: ") and said in error and error.count("\n") == 1
    assert main(["report", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_what_the_reader_noticed_is_told_once(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(tmp_path, url, [{**row, "question": "Other?"} for row in runs.rows()])
    rows_of(run, run.data)
    assert capsys.readouterr().err == "rubricd: note: `prompt` is the conversation; `question` is not read\n"


def test_the_command_is_there_without_torch() -> None:
    code = (
        "import sys, trainer_client.cli.train, trainer_client.cli.main\n"
        "heavy = {'torch', 'transformers', 'trl', 'datasets', 'peft', 'matplotlib', 'pyarrow', 'ruamel'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=runs.ROOT)
    assert done.stdout == "[]\n"
