"""What a calibration adds to a request: its priors, and nothing where these are missing."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from service.engine.fake import FakeEngine, Fault, FaultPlan
from service.modes.calibrated_modes import calibrated_modes
from service.modes.calibration import Calibration, Line, Prior, SelectedCurve
from service.modes.modes import Query
from service.rubrics.rubric import Candidate, Criterion, Turn
from service.scoring.prior_queries import PriorQueries
from service.scoring.request import Options
from tests.service.scoring.shared import Calibrate, Modes, Pool, replica
from tests.service.scoring.test_scorer import candidate

LINE, CONTEXTUAL = Line(0.5, 1.0), Line(prior_weight=1.0)
ABOUT_CRITERION, ABOUT_RESPONSE = Prior("criterion", "N/A"), Prior("response", "")


def calibrating(curve: Line, prior: Prior | None = None) -> Calibrate:
    def calibrate(modes: Modes) -> Modes:
        judge = modes["verdict", "rubricd"].judge
        made = Calibration("x", judge.fingerprint, "verdict", "rubricd", (SelectedCurve(curve),), judge.prompt, prior)
        return modes.replaced(calibrated_modes(modes.ways, [made], escalates=False))

    return calibrate


async def test_verdicts_that_are_kept_serve_every_calibration() -> None:
    pool, asked = Pool(), candidate("Rest it.", 3)
    found = []
    for calibrate in (lambda modes: modes, calibrating(LINE), calibrating(Line(2.0))):
        engine = FakeEngine()
        async with replica(engine, pool, calibrate=calibrate) as (scorer, _):
            [scored], usage = await scorer.score([asked], Options())
        found.append(scored)
        assert (engine.prompts, usage.cache_hits) == ((3, 0) if len(found) == 1 else (0, 3))
    raw = [one.p_raw for one in found[0].judgements]
    assert all([one.p_raw for one in scored.judgements] == raw for scored in found)
    assert len({tuple(one.p for one in scored.judgements) for scored in found}) == 3


@pytest.mark.parametrize(("fault", "status"), [("batch", "engine_error"), ("low_mass", "abstained")])
async def test_without_its_prior_a_verdict_is_none(fault: Fault, status: str) -> None:
    """The prior is the fourth prompt; each is a batch of its own."""
    engine = FakeEngine(plan=FaultPlan(script=("ok", fault)))
    pool = Pool()
    async with replica(engine, pool) as (scorer, _):
        await scorer.score([candidate("Rest it.", 3)], Options())
    async with replica(engine, pool, calibrate=calibrating(CONTEXTUAL, ABOUT_CRITERION)) as (scorer, _):
        [scored], _ = await scorer.score([candidate("Rest it.", 3)], Options())
    assert engine.prompts == 4
    for judgement in scored.judgements:
        assert (judgement.status, judgement.met, judgement.p) == (status, None, None)
    assert scored.score.value is None


def responses(*texts: str) -> list[Candidate]:
    turns = (Turn("user", "My knee hurts."),)
    criteria = tuple(Criterion(str(n), f"Criterion {n}.", 1.0) for n in range(3))
    return [Candidate(str(n), turns, text, criteria) for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("prior", "made", "asks"),
    [
        (ABOUT_CRITERION, 2, lambda query: query.criterion.text == "N/A" and query.candidate.response != ""),
        (ABOUT_RESPONSE, 3, lambda query: query.criterion.text != "N/A" and query.candidate.response == ""),
    ],
)
def test_each_is_made_once(prior: Prior, made: int, asks: Callable[[Query], bool]) -> None:
    queries: list[Query] = []
    priors = PriorQueries(prior, queries)
    group = responses("Rest it.", "Run.")
    group[1] = replace(group[1], trajectory=(Turn("assistant", "Run."),))
    indexes = [priors.index(one, criterion) for one in group for criterion in one.criteria]
    assert len(queries) == made
    assert all(asks(query) for query in queries)
    assert indexes == ([0, 0, 0, 1, 1, 1] if prior is ABOUT_CRITERION else [0, 1, 2] * 2)
    if prior is ABOUT_RESPONSE:
        assert all(query.candidate.trajectory == () for query in queries)


def test_another_conversation_has_priors_of_its_own() -> None:
    queries: list[Query] = []
    priors = PriorQueries(ABOUT_RESPONSE, queries)
    one, other = responses("Rest it.")[0], replace(responses("Rest it.")[0], turns=(Turn("user", "Hello."),))
    assert priors.index(one, one.criteria[0]) != priors.index(other, other.criteria[0])
    assert priors.index(one, one.criteria[0]) != priors.index(replace(one, reference="Rest."), one.criteria[0])
