"""One file says everything, and what is wrong with it is told with its place before anything else happens."""

from pathlib import Path
from typing import Any

import pytest

from trainer_client.client import ScoreOptions
from trainer_client.scaffold import Schedule, Wording
from trainer_client.training.run import config as run_config
from trainer_client.training.run.config import RunConfig, RunConfigError
from trainer_client.training.run.sections import JudgingSection, ScaffoldSection, WordingSection
from trainer_client.wire.aggregations import Caps

LEAST = "policy: Qwen/Qwen3-4B\ndata: train.jsonl\nout: runs/a\njudging: {url: 'http://judge:8000'}\n"


def _file(folder: Path, text: str = "", least: str = LEAST) -> Path:
    path = folder / "run.yaml"
    path.write_text(least + text, encoding="utf-8")
    return path


def _said(folder: Path, text: str = "", **more: Any) -> str:
    with pytest.raises(RunConfigError) as caught:
        run_config.read(_file(folder, text), **more)
    return str(caught.value)


def test_what_is_not_said_is_the_presets(tmp_path: Path) -> None:
    run = run_config.read(_file(tmp_path))
    assert (run.preset, run.epochs, run.steps, run.group, run.prompts_per_batch, run.mini_batch) == (
        "ruscarl",
        5,
        None,
        8,
        64,
        32,
    )
    assert (run.scaffold.start, run.scaffold.steepness, run.ratio) == (0.2, 125.0, "bare/bare")
    assert run.trl["beta"] == 0.001 and run.judging.aggregation == "healthbench"
    assert run.judging.truncation_penalty == 0.0, "a cut answer is not rewarded as a whole one"


def test_what_is_said_wins_and_leaves_the_rest(tmp_path: Path) -> None:
    text = """
preset: rar-implicit
steps: 7
scaffold: {over: linear, wording: {warn: false}}
trl: {learning_rate: 1e-6, bf16: no}
"""
    with pytest.raises(RunConfigError):  # `no` is a text in YAML 1.2, but TRL's own fields are TRL's to check
        run_config.read(_file(tmp_path, text.replace("trl:", "seed: no\ntrl:")))
    run = run_config.read(_file(tmp_path, text))
    assert run.trl["learning_rate"] == 0.000001 and run.trl["lr_scheduler_type"] == "constant_with_warmup"
    assert (run.steps, run.epochs, run.group) == (7, None, 16)
    assert (run.scaffold.over, run.scaffold.wording.warn, run.scaffold.wording.points) == ("linear", False, True)
    assert run.judging.mode == "implicit" and run.judging.url == ["http://judge:8000"]


def test_an_adapter_has_a_learning_rate_of_its_own(tmp_path: Path) -> None:
    for preset in ("ruscarl", "rar-explicit"):
        assert run_config.read(_file(tmp_path, f"preset: {preset}\nlora: {{}}\n")).trl["learning_rate"] == 1e-5
    said = "lora: {r: 4}\ntrl: {learning_rate: 2e-6}\n"
    assert run_config.read(_file(tmp_path, said)).trl["learning_rate"] == 2e-6
    assert run_config.read(_file(tmp_path, "lora: null\n")).trl["learning_rate"] == 1e-6


def test_held_out_rows_are_evaluated(tmp_path: Path) -> None:
    """A preset without `eval_every` evaluates as often as it saves."""
    for text, every in (
        ("preset: rar-explicit\neval_data: a.jsonl\n", 50),
        ("preset: rar-explicit\neval_data: a.jsonl\nsave_every: 7\n", 7),
        ("preset: rar-explicit\neval_data: a.jsonl\neval_every: 3\n", 3),
        ("eval_data: a.jsonl\n", 5),
        ("preset: rar-explicit\n", None),
    ):
        assert run_config.read(_file(tmp_path, text)).eval_every == every


def test_steps_and_epochs_stand_for_each_other(tmp_path: Path) -> None:
    assert run_config.read(_file(tmp_path, "steps: 9\n")).epochs is None
    assert run_config.read(_file(tmp_path, "preset: rar-explicit\nepochs: 2\n")).steps is None
    assert "give exactly one of `steps` and `epochs`" in _said(tmp_path, "steps: 9\nepochs: 2\n")


def test_what_was_written_is_read_as_the_same_run(tmp_path: Path) -> None:
    text = "eval_every: null\nlora: {r: 4}\nsteps: 3\ntrl: {top_k: 0}\nscaffold: {tokens: 9}\npitfalls: met_is_bad\n"
    run = run_config.read(_file(tmp_path, text))
    assert run.eval_every is None and run.lora is not None
    again = tmp_path / "elsewhere" / "run.yaml"
    again.parent.mkdir()
    again.write_text(run_config.written(run), encoding="utf-8")
    assert run_config.read(again) == run
    assert set(RunConfig.model_fields) == set(run.model_dump())


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    run = run_config.read(_file(tmp_path, "eval_data: ../held.jsonl\n"))
    assert (run.data, run.out) == ([str(tmp_path / "train.jsonl")], str(tmp_path / "runs/a"))
    assert run.eval_data is not None
    assert [Path(one).resolve() for one in run.eval_data] == [tmp_path.parent / "held.jsonl"]
    assert run.policy == "Qwen/Qwen3-4B"
    (tmp_path / "mine").mkdir()
    assert run_config.read(_file(tmp_path), changes=["policy=mine"]).policy == str(tmp_path / "mine")
    assert "`policy`: no folder" in _said(tmp_path, changes=["policy=./theirs"])
    elsewhere = run_config.read(_file(tmp_path), out=tmp_path / "b")
    assert elsewhere.out == str(tmp_path / "b")


def test_changes_are_as_if_they_stood_in_the_file(tmp_path: Path) -> None:
    changes = [
        "scaffold.start=0.3",
        "trl.learning_rate=2e-5",
        "judging.soft=true",
        "lora={r: 2}",
        "steps=4",
        "trl.a.b=1",
    ]
    run = run_config.read(_file(tmp_path), changes=changes)
    assert (run.scaffold.start, run.trl["learning_rate"], run.judging.soft, run.steps) == (0.3, 2e-5, True, 4)
    assert run.lora is not None and run.lora.r == 2 and run.trl["a"] == {"b": 1}
    assert _said(tmp_path, changes=["start"]).startswith("--set start: must be key.path=value")
    assert _said(tmp_path, changes=["data.x=1"]) == "--set data.x=1: `data` holds no fields"
    assert "not YAML" in _said(tmp_path, changes=["steps=[1"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scafold: {}\n", "`scafold`: unknown field; did you mean `scaffold`? known here: policy, data"),
        (
            "scaffold: {steepnes: 1}\n",
            "`scaffold.steepnes`: unknown field; did you mean `steepness`? known here: within",
        ),
        ("scaffold: {first: [a, b], last: b}\n", "`first` and `last` both name b; leave it in one of them"),
        ("scaffold: {wording: {oppener: x}}\n", "`scaffold.wording.oppener`: unknown field; did you mean `opener`?"),
        ("learning_rat: 1\n", "`learning_rat`: unknown field; did you mean `trl.learning_rate`? known here: policy"),
        ("start: 0.1\n", "`start`: unknown field; did you mean `scaffold.start`? "),
        ("eval_data: []\n", "`eval_data`: List should have at least 1 item"),
        ("eval_data: 7\n", "`eval_data`: is 7; write a text, or a list of texts"),
        ("eval_data: [a, 7]\n", "`eval_data.1`: Input should be a valid string"),
        ("urll: x\n", "`urll`: unknown field; did you mean `judging.url`? "),
        ("zzz: 1\n", "`zzz`: unknown field; settings of TRL's GRPOConfig stand under `trl`; known here: policy"),
        ("eval_data: a.jsonl\neval_every: null\n", "`eval_data` would never be used: set `eval_every`"),
        ("rewards: {functions: [{cal: 'a:b'}]}\n", "`rewards.functions.0.cal`: unknown field; did you mean `call`?"),
        ("rewards: {functions: [{call: 'a'}]}\n", "`rewards.functions.0.call`: String should match"),
        ("rewards: {functions: [{call: 'a:b'}, {call: 'c:b'}]}\n", "`rewards`: functions must have distinct names"),
        ("rewards: {functions: [{call: 'a:judge'}]}\n", "and none may be `judge`"),
        ("rewards: {by: axis}\n", "`rewards.by`: Input should be 'total', 'tag' or 'criterion'"),
        ("preset: rar-implicit\nrewards: {by: tag}\n", "rewards.by `tag` needs verdicts: set judging.mode to verdict"),
        ("lora: {rank: 3}\n", "`lora.rank`: unknown field; "),
        ("group: 1\n", "`group`: Input should be greater than or equal to 2"),
        ("group: '8'\n", "`group`: Input should be a valid integer"),
        ("group: true\n", "`group`: Input should be a valid integer"),
        ("prompts_per_batch: 10\n", "`prompts_per_batch` (10) must be a multiple of `mini_batch` (32)"),
        ("ratio: bare\n", "`ratio`: Input should be 'bare/bare'"),
        ("preset: ruscral\n", "`preset`: did you mean ruscarl? It must be one of ruscarl, rubric-rl"),
        ("rubric: none\n", "judging.mode `verdict` needs a rubric: set `rubric` to own or generic"),
        ("pitfalls: maybe\n", "`pitfalls`: Input should be 'met_is_good' or 'met_is_bad'"),
        ("seed: -1\n", "`seed`: Input should be greater"),
        ("steps: 1\nsteps: 2\n", 'line 6: not YAML: found duplicate key "steps"'),
        ("scaffold: [1\n", "not YAML"),
    ],
)
def test_slips_are_told_with_their_place(tmp_path: Path, text: str, said: str) -> None:
    message = _said(tmp_path, text)
    assert message.startswith(str(tmp_path / "run.yaml")) and said in message


def test_a_function_of_a_file_lies_beside_the_run_config(tmp_path: Path) -> None:
    text = "rewards: {functions: [{call: 'own/r.py:f'}, {call: 'a.b:g', none: zero}]}\n"
    run = run_config.read(_file(tmp_path, text))
    assert [one.call for one in run.rewards.functions] == [f"{tmp_path}/own/r.py:f", "a.b:g"]
    (again := tmp_path / "elsewhere").mkdir()
    (again / "run.yaml").write_text(run_config.written(run), encoding="utf-8")
    assert run_config.read(again / "run.yaml") == run


def test_every_slip_is_told_at_once(tmp_path: Path) -> None:
    assert len(_said(tmp_path, "group: 1\nseed: x\nnew: 2\n").splitlines()) == 3


def test_files_that_are_no_run_file(tmp_path: Path) -> None:
    for text in ("", "- a\n", "1: 2\n"):
        with pytest.raises(RunConfigError, match="must hold fields"):
            run_config.read(_file(tmp_path, text, least=""))
    with pytest.raises(RunConfigError, match="No such file"):
        run_config.read(tmp_path / "none.yaml")
    with pytest.raises(RunConfigError, match="`policy`: missing"):
        run_config.read(_file(tmp_path, LEAST.partition("\n")[2], least=""))
    (tmp_path / "run.yaml").write_bytes(b"policy: \xff")
    with pytest.raises(RunConfigError, match="not UTF-8"):
        run_config.read(tmp_path / "run.yaml")


def test_an_aggregation_may_have_options(tmp_path: Path) -> None:
    run = run_config.read(_file(tmp_path), changes=["judging.aggregation={name: caps, cap: 0.5}"])
    assert run.judging.aggregation == Caps(name="caps", cap=0.5)
    again = tmp_path / "again.yaml"
    again.write_text(run_config.written(run), encoding="utf-8")
    assert run_config.read(again).judging == run.judging
    assert _said(tmp_path, changes=["judging.aggregation={name: caps, cap: 2}"]).startswith(
        f"{tmp_path / 'run.yaml'}: `judging.aggregation.cap`: Input should be less than"
    )
    assert "did you mean `cap`?" in _said(tmp_path, changes=["judging.aggregation={name: caps, capp: 1}"])


@pytest.mark.parametrize("url", ["judge:8000", "ftp://judge", "http://", ""])
def test_a_judge_has_a_url(tmp_path: Path, url: str) -> None:
    assert "`judging.url`: must be a URL" in _said(tmp_path, changes=[f"judging.url='{url}'"])


def test_a_run_file_never_holds_a_key(tmp_path: Path) -> None:
    said = _said(tmp_path, changes=["judging.url=http://me:secret@judge:8000"])
    assert "`judging.url`: holds a key" in said and "secret" not in said
    run = run_config.read(_file(tmp_path, changes := "", LEAST.replace("8000'", "8000', token_env: MY_KEY")))
    assert changes == "" and run.judge({"MY_KEY": "rbd_1"}, expect_judge="f").token == "rbd_1"
    assert run.judge({}, expect_judge=None).token is None and "rbd_1" not in run_config.written(run)


def test_the_scaffold_is_made_of_the_files_numbers(tmp_path: Path) -> None:
    text = "seed: 5\nscaffold: {within: binary, nested: true, exponent: 3, wording: {points: false}}\n"
    scaffold = run_config.read(_file(tmp_path, text)).scaffolding()
    assert scaffold.schedule == Schedule(within="binary", full=8, exponent=3.0) and scaffold.seed == 5
    assert scaffold.nested and scaffold.wording == Wording(points=False)
    named = run_config.read(_file(tmp_path, "scaffold: {choose: in_order, first: form, last: [final, 'a:b']}\n"))
    assert (named.scaffolding().first, named.scaffolding().last) == (("form",), ("final", "a:b"))
    assert named.scaffolding().choose == "in_order"
    merf = run_config.read(_file(tmp_path, "preset: merf\ngroup: 6\n")).scaffolding().schedule
    assert [merf.share(member, 6, 99, 100) for member in range(6)] == [1.0] * 6
    assert run_config.read(_file(tmp_path, "scaffold: {full: 0}\n")).scaffolding().schedule.full == 0


def test_the_fields_are_those_of_what_they_make(tmp_path: Path) -> None:
    schedule = {name: getattr(Schedule(), name) for name in Schedule.__dataclass_fields__}
    part = ScaffoldSection().model_dump()
    assert {name: part[name] for name in schedule} == {**schedule, "full": None}
    assert WordingSection().model_dump() == {name: getattr(Wording(), name) for name in Wording.__dataclass_fields__}
    assert JudgingSection.model_fields.keys() >= ScoreOptions.__annotations__.keys() - {"cache", "pitfalls"}
    judging = run_config.read(_file(tmp_path)).judge({}, expect_judge="me")
    assert (
        judging.options.keys() == ScoreOptions.__annotations__.keys() - {"cache"}
        and judging.options["expect_judge"] == "me"
    )


def test_an_examiner_is_the_judge_but_for_what_it_says(tmp_path: Path) -> None:
    held_out = "eval_data: held.jsonl\n"
    judge = "judging: {url: 'http://judge:8000', concurrency: 3, soft: true, expect_judge: a1}\n"
    least = LEAST.replace("judging: {url: 'http://judge:8000'}\n", judge)
    run = run_config.read(_file(tmp_path, f"{held_out}examiner: {{mode: reasoned, votes: 3}}\n", least))
    assert run.examiner is not None
    changed = {"mode": "reasoned", "votes": 3, "expect_judge": None, "max_missing_fraction": 1.0}
    assert run.examiner == run.judging.model_copy(update=changed)
    (tmp_path / "again.yaml").write_text(run_config.written(run))
    assert run_config.read(tmp_path / "again.yaml") == run
    assert "`examiner` judges held-out rows alone: set `eval_data`" in _said(tmp_path, "examiner: {mode: reasoned}\n")
    same = f"{held_out}examiner: {{judge_timeout_s: 9.0, priority: eval}}\n"
    assert "`examiner` would score as `judging` does: give it another `url`, `mode` or option" in _said(tmp_path, same)
    rated = f"preset: direct-likert\n{held_out}examiner: {{mode: verdict}}\n"
    assert "examiner.mode `verdict` needs a rubric" in _said(tmp_path, rated)
    assert "`examiner.mod`: unknown field; did you mean `mode`?" in _said(tmp_path, f"{held_out}examiner: {{mod: x}}\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("preset: [ruscarl]\n", "`preset`: did you mean ruscarl? It must be one of"),
        ("lora: true\n", "`lora`: must hold fields, as `lora: {…}`; known here: r, alpha"),
        ("rewards: tag\n", "`rewards`: must hold fields, as `rewards: {…}`; known here: by, functions"),
        ("learning_rat: 1e-6\n", "`learning_rat`: unknown field; did you mean `trl.learning_rate`?"),
    ],
)
def test_a_value_of_another_kind_is_told_by_its_place(tmp_path: Path, text: str, said: str) -> None:
    assert said in _said(tmp_path, text)
