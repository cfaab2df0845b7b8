"""The page's means, shares and intervals are those that numpy and scipy calculate."""

from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest
from playwright.sync_api import Browser
from scipy import stats

from testkit.browser import opened
from tests.trainer_client.viewer.made import page_of, rollout, verdict
from trainer_client.rollouts import Rollout


def _rollouts(seed: int) -> list[Rollout]:
    """60 responses in groups of 1 to 6, whose verdicts lean as their group does."""
    random, found = Random(seed), list[Rollout]()
    for group in range(20):
        lean = random.random()
        for _ in range(random.randint(1, 6)):
            said = [None if random.random() < 0.1 else random.random() < lean for _ in range(3)]
            score = None if random.random() < 0.1 else random.gauss(lean, 0.3)
            criteria = [
                verdict(str(n), met, tags={"axis": "even" if n % 2 == 0 else "odd"}) for n, met in enumerate(said)
            ]
            found.append(rollout(len(found), *criteria, group=str(group), score=score))
    return found


def _wilson(met: list[tuple[str, bool]]) -> tuple[float, float, float]:
    """Wilson's interval on n divided by the design effect of the groups, in scipy's form."""
    values, names = np.array([one[1] for one in met], float), [one[0] for one in met]
    p, n, groups = values.mean(), len(values), sorted(set(names))
    sums = [sum((value - p) for value, name in zip(values, names, strict=True) if name == group) for group in groups]
    variance = sum(one * one for one in sums) * len(groups) / (len(groups) - 1) / n**2
    effective = len(groups) if p in (0, 1) else min(n, p * (1 - p) / variance)
    z = stats.norm.ppf(0.975)
    middle, half = (p + z * z / 2 / effective) / (1 + z * z / effective), z / (1 + z * z / effective)
    half *= np.sqrt(p * (1 - p) / effective + z * z / 4 / effective**2)
    return p, max(0, middle - half), min(1, middle + half)


@pytest.mark.parametrize("seed", range(3))
def test_shares_of_criteria_and_tags(browser: Browser, tmp_path: Path, seed: int) -> None:
    rollouts = _rollouts(seed)
    with opened(browser, page_of(tmp_path / "page.html", rollouts) + "#tab=criteria") as page:
        rates = page.evaluate("rubricd.rates()")
        page.locator("#tab-tags").click()
        tags = page.evaluate("rubricd.tagRates()")
    for n, found in enumerate(rates):
        met = [(one.group, bool(one.criteria[n].met)) for one in rollouts if one.criteria[n].met is not None]
        assert (found["value"], found["low"], found["high"]) == pytest.approx(_wilson(met), abs=1e-9)
        assert found["missing"] == len(rollouts) - len(met) and found["n"] == len(met)
    for axis, found in zip(("even", "odd"), tags, strict=True):
        met = [
            (one.group, bool(said.met))
            for one in rollouts
            for said in one.criteria
            if said.met is not None and said.tags["axis"] == axis
        ]
        assert (found["value"], found["low"], found["high"]) == pytest.approx(_wilson(met), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_mean_score(browser: Browser, tmp_path: Path, seed: int) -> None:
    rollouts = _rollouts(seed)
    with opened(browser, page_of(tmp_path / "page.html", rollouts)) as page:
        tile = page.locator("#tiles .tile").nth(1).inner_text()
    scores = [(one.group, one.score) for one in rollouts if one.score is not None]
    mean, names = float(np.mean([score for _, score in scores])), sorted({name for name, _ in scores})
    sums = [sum(score - mean for own, score in scores if own == name) for name in names]
    half = (
        np.sqrt(np.square(sums).sum() * len(names) / (len(names) - 1))
        / len(scores)
        * stats.t.ppf(0.975, len(names) - 1)
    )
    words = [f"{value:.3f}".replace("-", "\u2212") for value in (mean, mean - half, mean + half)]
    assert tile.split("\n") == [words[0], "mean score", f"{words[1]} to {words[2]}"]


def test_a_mean_score_that_never_varies_is_not_certain(browser: Browser, tmp_path: Path) -> None:
    rollouts = [rollout(n, group=str(n), score=0.7) for n in range(10)]
    with opened(browser, page_of(tmp_path / "page.html", rollouts)) as page:
        tile = page.locator("#tiles .tile").nth(1).inner_text()
    assert tile.split("\n") == ["0.700", "mean score", "no spread seen"]


def test_the_quantile_of_student(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, page_of(tmp_path / "page.html", [rollout(0)])) as page:
        found = page.evaluate("[1, 2, 3, 4, 5, 8, 20, 100, 1e5].map(rubricd.student)")
    exact = [stats.t.ppf(0.975, freedom) for freedom in (1, 2, 3, 4, 5, 8, 20, 100, 1e5)]
    assert found == pytest.approx(exact, rel=1.5e-3)
    assert all(high > low for high, low in pairwise(found)), "it falls"


def test_a_verdict_for_each_group_has_the_plain_interval_of_wilson(browser: Browser, tmp_path: Path) -> None:
    rollouts = [rollout(n, verdict("one", n < 7), group=str(n)) for n in range(10)]
    with opened(browser, page_of(tmp_path / "page.html", rollouts) + "#tab=criteria") as page:
        (found,) = page.evaluate("rubricd.rates()")
    plain = stats.binomtest(7, 10).proportion_ci(method="wilson")
    assert (found["low"], found["high"]) == pytest.approx((plain.low, plain.high), abs=1e-9)
