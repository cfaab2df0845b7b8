"""Several runs are drawn over each other, with their final figures and what differs between them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from testkit.browser import PHONE_PX, axe_problems, opened, too_wide
from tests.trainer_client.training import runs
from trainer_client.cli.main import main
from trainer_client.training.run import config as run_config
from trainer_client.training.run import folder as run_dir


def _run(folder: Path, name: str, rate: float, **fields: Any) -> Path:
    out = folder / name
    config = run_config.read(runs.run_file(folder, "http://judge:8000", **fields))
    run_dir.start(out, config, {"train": {}})
    run_dir.write_judge(out, {"fingerprint": f"f-{name}", "model": "judge"}, 0)
    logs = [
        {"step": n, "reward": 0.5, "reward/bare": rate * n, "grad_norm": 1.0, "judge/usage/prompt_tokens": 1000.0}
        for n in range(1, 21)
    ]
    (out / "metrics.jsonl").write_text("".join(f"{json.dumps(log)}\n" for log in logs))
    return out


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [_run(folder, "slow", 0.01), _run(folder, "quick", 0.04, seed=7)]


def _page(two: list[Path]) -> Path:
    assert main(["report", *map(str, two)]) == 0
    return two[0].with_name("compared.html")


def _text(page: str, section: str) -> str:
    found = re.search(rf"<h2>{section}</h2>(.*?)</section>", page, re.DOTALL)
    assert found is not None, section
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", found.group(1)))


def test_figures_have_differences_from_the_first_run(two: list[Path]) -> None:
    page = _page(two).read_text()
    final = _text(page, "Final figures")
    assert "reward, bare prompt 0.195 0.780 +0.585" in final and "norm of the gradient 1.000 1.000 0.000" in final
    assert "KL" not in final, "neither run logged it"
    assert "tokens read 20,000 20,000 0" in _text(page, "What judging took")
    differs = _text(page, "What differs")
    assert "judge judge f-slow judge f-quick" in differs and "seed 0 7" in differs and "policy" not in differs


def test_lines_lie_over_each_other_with_a_legend(two: list[Path]) -> None:
    page = _page(two).read_text()
    reward = re.search(r"<h2>Reward: bare prompt</h2>.*?</figure>", page, re.DOTALL)
    assert reward is not None and reward[0].count('class="line"') == 2
    assert 'var(--one)"></i>slow' in reward[0] and 'var(--two)"></i>quick' in reward[0]


def test_the_page_can_be_read_everywhere(browser: Browser, two: list[Path]) -> None:
    address = _page(two).as_uri()
    with opened(browser, address) as page:
        assert axe_problems(page) == []
    with opened(browser, address, width=PHONE_PX) as page:
        assert too_wide(page) == []


def test_mistakes_are_one_sentence(two: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folders, about in (
        ([two[0], tmp_path], "holds no run"),
        ([two[0], two[0]], "the same run is named twice"),
        ([two[0]] * 7, "7 runs are too many for one page: give at most 6"),
        ([two[0], "--out", tmp_path / "a.html"], "--out names the page of several runs"),
    ):
        assert main(["report", *map(str, folders)]) == 2
        assert about in capsys.readouterr().err
    assert main(["report", *map(str, two), "--out", str(tmp_path / "b.html")]) == 0 and (tmp_path / "b.html").exists()
