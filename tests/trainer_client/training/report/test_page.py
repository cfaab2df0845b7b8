"""The page of a run says what its folder holds, needs nothing else, and can be read by day and by night."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser

from testkit.browser import Scheme, axe_problems, brightness, opened, too_wide
from tests.trainer_client.training import runs
from trainer_client.cli.main import main
from trainer_client.pages.assembly import digest
from trainer_client.training.report import charts as report_charts
from trainer_client.training.report import page as report
from trainer_client.training.run import config as run_config
from trainer_client.training.run import folder as run_dir
from trainer_client.training.run.config import RunConfigError

Json = dict[str, Any]
JUDGE: Json = {"fingerprint": "f00d", "model": "judge <&>", "mode": "verdict", "layout": "rubricd", "facts": {"a": "b"}}


def _log(step: int, **metrics: float | None) -> Json:
    common = {
        "reward": 0.5,
        "reward/bare": step / 100,
        "scaffold/revealed_share": 1 - step / 50,
        "judge/none_share": 0.25,
        "completions/clipped_ratio": 0.125,
    }
    return {"step": step, **common, "criteria/tea": step / 50, "criteria/<b>boxes": 0.5, **metrics}


def _folder(folder: Path, logs: list[Json], statuses: list[str] | None = None, **fields: Any) -> Path:
    out = folder / "out"
    run_dir.start(out, run_config.read(runs.run_file(folder, "http://judge:8000", **fields)), {"train": {}})
    run_dir.write_judge(out, JUDGE, 0)
    (out / "metrics.jsonl").write_text("".join(f"{json.dumps(log)}\n" for log in logs))
    for step, status in enumerate(statuses or [], start=1):
        (out / "completions").mkdir(exist_ok=True)
        scored = status == "ok"
        table = {
            "prompt": [[{"role": "user", "content": "Where <does> it hurt?", "row": "{}"}]] * 2,
            "completion": [[{"role": "assistant", "content": f"<script>alert({step})</script>"}]] * 2,
            "score": pa.array([0.25, 0.75] if scored else [None, None], pa.float64()),
            "revealed_share": [0.5, 0.5],
            "status": [status, status],
        }
        pq.write_table(pa.table(table), out / "completions" / f"completions_{step:05d}.parquet")
    return out


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 50 logs in which the scaffold ends half-way and two batches in six were not judged."""
    logs = [_log(step, **({"reward/scaffolded": 0.8} if step < 25 else {})) for step in range(1, 51)]
    logs += [{"step": step, "eval_reward": step / 200} for step in (10, 20, 30, 40, 50)]
    logs += [{"step": 50, "train_runtime": 3.0}]
    statuses = ["ok", "ok", "overloaded", "ok", "timeout and abstained", "ok"]
    return _folder(tmp_path_factory.mktemp("run"), logs, statuses)


def _text(page: str, section: str) -> str:
    found = re.search(rf"<h2>{section}</h2>(.*?)</section>", page, re.DOTALL)
    assert found is not None, section
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", found.group(1)))


def test_the_page_counts_batches(tmp_path: Path) -> None:
    out = _folder(tmp_path, [_log(step) for step in (4, 8)], mini_batch=1, trl={"num_iterations": 2})
    assert '<div class="tile"><b>2</b><span>batches of rollouts' in report.page(out)


def test_the_page_says_what_the_folder_holds(out: Path) -> None:
    page = report.page(out)
    for heading in (
        "Reward",
        "Rubric revealed",
        "Not judged",
        "Answers cut off",
        "Criteria",
        "Why not judged",
        "Answers",
        "Run config",
    ):
        assert f"<h2>{heading}</h2>" in page
    assert "<h2>Distance from the start</h2>" not in page, "this run logged no KL"
    tiles = re.findall(r'<div class="tile"><b>([^<]*)</b><span>([^<]*)', page)
    assert tiles == [
        ("50", "batches of rollouts"),
        ("0.480", "reward, bare prompt, last tenth"),
        ("0.250", "held-out reward, last tenth"),
        ("12.5 %", "of the answers cut off, last tenth"),
        ("4 of 12", "rollouts not judged"),
    ]
    why = _text(page, "Why not judged")
    assert "overloaded 2 16.67 %" in why and "timeout and abstained 2 16.67 %" in why and " ok " not in why
    criteria = _text(page, "Criteria")
    assert criteria.index("tea 0.11 0.91 +0.80") < criteria.index("&lt;b&gt;boxes 0.50 0.50 0.00")
    answers = _text(page, "Answers")
    assert "0.750 0.50 Where &lt;does&gt; it hurt? &lt;script&gt;alert(6)&lt;/script&gt;" in answers
    assert "fingerprint f00d" in page and "judge &lt;&amp;&gt;" in page and "group: 4" in page


def test_a_page_needs_nothing_else_and_runs_its_own_script(out: Path) -> None:
    page = report.page(out)
    assert not re.search(r"<link|<img|<iframe|@import|\bon\w+=\"|(?:src|href)=\"(?!#)|url\((?!#)", page)
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert script is not None and page.count("<script>") == 1
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest(script[1])}'" in page
    assert report.page(out) == page, "the same folder gives the same page"


def test_a_run_is_reported_where_its_policy_is_not(tmp_path: Path) -> None:
    """As after it was copied from a cluster: its report reads the folder, and loads nothing."""
    folders = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        folders.append(_folder(tmp_path / name, [_log(1)], ["ok"]))
    for folder in folders:
        written = folder / "run.yaml"
        told = re.sub(r"(?m)^policy: .*", "policy: /no/such/policy", written.read_text())
        assert "/no/such/policy" in told
        written.write_text(told)
    assert "policy, group 4" in report.page(folders[0])
    assert main(["report", *map(str, folders), "--out", str(tmp_path / "both.html")]) == 0
    with pytest.raises(RunConfigError, match="`policy`: no folder"):
        run_config.read(folders[0] / "run.yaml")


def test_what_a_rollout_saw_is_not_said_where_nothing_says_it(tmp_path: Path) -> None:
    out = _folder(tmp_path, [_log(1)], ["ok"])
    assert " revealed " in _text(report.page(out), "Answers")
    (table,) = (out / "completions").iterdir()
    pq.write_table(pq.read_table(table).drop_columns("revealed_share"), table)
    answers = _text(report.page(out), "Answers")
    assert "revealed" not in answers and " 0.00 " not in answers


def test_a_run_that_has_only_begun_has_a_page(tmp_path: Path) -> None:
    page = report.page(_folder(tmp_path, []))
    assert "<b>0</b>" in page and "<figure" not in page and "<h2>Criteria</h2>" not in page


def test_a_run_without_failures_says_so(tmp_path: Path) -> None:
    assert "Every rollout was judged." in report.page(_folder(tmp_path, [_log(1)], ["ok"]))


def test_a_batch_of_which_nothing_was_judged_shows_no_answers(tmp_path: Path) -> None:
    page = report.page(_folder(tmp_path, [_log(1, **{"reward/bare": None})], ["timeout"]))
    assert "<h2>Answers</h2>" not in page and "2 of 2" in page
    assert "reward, bare prompt" not in page, "no number where there is none"


def test_every_judge_of_a_run_is_named(tmp_path: Path) -> None:
    out = _folder(tmp_path, [_log(1)])
    run_dir.write_judge(out, {**JUDGE, "fingerprint": "beef"}, 7)
    page = report.page(out)
    assert "judge &lt;&amp;&gt; f00d, then judge &lt;&amp;&gt; beef" in page
    assert "Judge from step 0 on" in page and "Judge from step 7 on" in page


def test_what_is_missing_is_a_gap_and_not_a_zero() -> None:
    logs = [_log(1), _log(2, **{"reward/bare": None}), {"step": 2, "eval_reward": 1.0}, {"step": 3, "reward": 1.0}]
    assert report_charts.points(logs, "reward/bare") == [(1, 0.01), (2, None), (3, None)]
    assert report_charts.points(logs, "eval_reward") == [(2, 1.0)]


def test_the_command_writes_the_page_again(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "moved"
    shutil.copytree(out, copy)
    assert main(["report", str(copy)]) == 0
    assert capsys.readouterr().out.strip() == str(copy / "report.html")
    assert (copy / "report.html").read_text() == report.page(copy)
    with pytest.raises(RunConfigError, match="holds no run"):
        report.write(tmp_path)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_in_a_browser(browser: Browser, out: Path, scheme: Scheme, width: int) -> None:
    with opened(browser, "about:blank", width=width, height=900, scheme=scheme) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.write(out).as_uri())
        assert len(asked) == 1
        assert too_wide(page) == []
        ground = brightness(page, "body", "backgroundColor")
        for place in ("body", "figure svg text", "figcaption", "td"):
            ink = brightness(page, place, "fill" if "text" in place else "color")
            assert abs(ink - ground) > 0.35, (place, ink, ground)
        assert (ground > 0.5) is (scheme == "light")
        assert page.locator("figure svg").first.bounding_box() is not None


def test_values_are_shown_under_the_pointer_and_by_key(browser: Browser, out: Path) -> None:
    with opened(browser, report.write(out).as_uri()) as page:
        figure = page.locator("figure.plot").first
        figure.locator("svg").hover(position={"x": 200, "y": 60})
        assert re.match(r"batch \d+\s*bare prompt 0\.\d+", figure.locator(".tip").inner_text())
        figure.focus()
        page.keyboard.press("ArrowRight")
        page.mouse.move(0, 0)
        page.keyboard.press("ArrowLeft")
        assert figure.locator(".tip").inner_text().startswith("batch 50")
        page.keyboard.press("Escape")
        assert figure.locator(".tip").is_hidden()


def test_lines_are_smoothed_as_the_slider_says(browser: Browser, tmp_path: Path) -> None:
    logs = [_log(step, **{"reward/bare": float(step % 2)}) for step in range(1, 61)]
    with opened(browser, report.write(_folder(tmp_path, logs)).as_uri()) as page:

        def spread() -> float:
            path = page.locator("figure.plot path.line").first.get_attribute("d") or ""
            heights = [float(one) for one in re.findall(r"[ML][\d.]+,([\d.]+)", path)][10:-10]
            return max(heights) - min(heights)

        as_drawn, slider = spread(), page.locator(".smoothing input")
        slider.fill("0")
        raw = spread()
        slider.fill("15")
        assert raw > as_drawn > spread() and "15 % of the points" in page.locator(".smoothing").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Browser, out: Path, scheme: Scheme) -> None:
    with opened(browser, report.write(out).as_uri(), scheme=scheme) as page:
        assert axe_problems(page) == []
        assert page.locator("svg[role=img]:not([aria-label])").count() == 0, "every chart says what it shows"
