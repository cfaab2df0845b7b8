"""What a request's comparisons become in the metrics, and in its line of the log."""

from service.api.comparisons import record
from service.modes.comparison import Pair, read_preference
from service.observability import Telemetry
from service.rubrics.judgement import Verdict
from service.rubrics.rubric import Candidate
from service.scoring.comparing import Compared, Order
from service.scoring.request import Usage
from testkit.metrics_page import Page

ONE = Candidate("0", (), "a", ())
PAIR = Pair(ONE, ONE)


def compared(status: str, *verdicts: Verdict | None) -> Compared:
    first, second = verdicts
    preference = None if first is None or second is None else read_preference(first, second)
    return Compared(PAIR, status, (Order(first, "judge"), Order(second, "cache")), preference)


def test_an_order_is_a_judgement_with_its_source_and_what_became_of_it() -> None:
    telemetry = Telemetry()
    found = [
        compared("ok", Verdict(0.9, 0.95), Verdict(0.2, 0.95)),
        compared("abstained", Verdict(0.9, 0.1), Verdict(0.2, 0.1)),
        compared("engine_error", None, Verdict(0.2, 0.9)),
    ]
    summary = record(telemetry, "a", found, Usage(judgements=3, cache_hits=3))
    page = Page(telemetry.exposition().decode())

    def counted(source: str, outcome: str) -> float:
        return page("rubricd_judgements_total", source=source, mode="compare", outcome=outcome)

    assert (counted("judge", "compared"), counted("cache", "compared")) == (1, 2)
    assert (counted("judge", "abstained"), counted("cache", "abstained")) == (1, 1)
    assert counted("judge", "engine_error") == 1
    assert page("rubricd_items_total", team="a", status="ok") == 1
    assert page("rubricd_items_total", team="a", status="failed") == 2
    assert page("rubricd_order_effect_count") == 2
    assert page("rubricd_p_met_count") == 0, "P of a pair is no P(met)"
    assert page("rubricd_label_mass_count") == 2
    assert summary.numbers == {"items": 3, "judgements": 3, "cache_hits": 3, "tokens": 0}
