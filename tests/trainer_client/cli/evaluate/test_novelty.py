"""`rubricd evaluate novelty` of two tiny policies in folders."""

import math
from pathlib import Path
from statistics import fmean, median

import pytest

from testkit.tiny_policy import save_policy
from tests.trainer_client.cli.evaluating import results, written
from trainer_client.cli.main import main
from trainer_client.evaluation.likelihood import LocalPolicy, load_tokenizer, token_ids

PROMPTS = ["my tooth hurts", "my knee hurts", "what helps"]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    answers = [["see a doctor soon", "rest"], ["ice and rest", ""], ["water", "sleep well"]]
    pairs = zip(PROMPTS, answers, strict=True)
    return written(tmp_path / "rows.jsonl", *({"prompt": prompt, "responses": some} for prompt, some in pairs))


def evaluated(rows: Path, trained: str, base: str, *options: str) -> int:
    return main(["evaluate", "novelty", str(rows), "--trained", trained, "--base", base, "--quiet", *options])


def test_ratios_are_of_both_policies_and_kept(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = save_policy(tmp_path / "one", seed=1), save_policy(tmp_path / "other", seed=2)
    assert evaluated(rows, one, other) == 1, "an empty answer has no ratio"
    found = results(rows, "novelty")
    tokenizer, policies = load_tokenizer(Path(one)), [LocalPolicy(Path(one)), LocalPolicy(Path(other))]

    def ratio(prompt: str, answer: str) -> float | None:
        ids = token_ids(tokenizer, [{"role": "user", "content": prompt}], answer)
        both = [policy.read(*ids).logprobs for policy in policies]
        return fmean(a - b for a, b in zip(*both, strict=True)) if ids[1] else None

    wanted = {"0": ("see a doctor soon", "rest"), "1": ("ice and rest", ""), "2": ("water", "sleep well")}
    logs = [ratio(PROMPTS[int(id)], text) for id, some in wanted.items() for text in some]
    values = [value for some in found["measures"]["log_ratio"]["values"].values() for value in some]
    assert values == [None if one is None else pytest.approx(one, abs=1e-5) for one in logs]
    ratios = [math.exp(one) for one in logs if one is not None]
    assert found["details"]["ratio"]["mean"] == pytest.approx(fmean(ratios), rel=1e-4)
    assert found["details"]["ratio"]["median"] == pytest.approx(median(ratios), rel=1e-4)
    assert (found["details"]["ratio"]["n"], found["missing"], found["details"]["base"]) == (5, 1, "other")
    assert found["measures"]["entropy"]["mean"] > 0
    monkeypatch.setattr(LocalPolicy, "__init__", lambda *_: pytest.fail("all is kept, and nothing is loaded"))
    assert evaluated(rows, one, other) == 1
    assert results(rows, "novelty")["measures"] == found["measures"]


def test_a_policy_is_not_new_to_itself(rows: Path, tmp_path: Path) -> None:
    one = save_policy(tmp_path / "one")
    evaluated(rows, one, one)
    ratio = results(rows, "novelty")["details"]["ratio"]
    assert [ratio[name] for name in ("mean", "median", "above_2")] == pytest.approx([1.0, 1.0, 0])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("FOLDER", "http://127.0.0.1:9"), "needs --base-model"),
        (("http://127.0.0.1:9", "http://127.0.0.1:9", "--base-model", "b", "--trained-model", "t"), "--tokenizer"),
        (("nothing", "nothing"), "no such folder"),
    ],
)
def test_a_mistake_is_a_sentence(
    rows: Path, tmp_path: Path, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_policy(tmp_path / "one")
    trained, base, *more = (folder if one == "FOLDER" else one for one in options)
    assert evaluated(rows, trained, base, *more) == 2
    assert said in capsys.readouterr().err
