"""Lists the rows of the drill: each attack with what has to be answered, and the service that it is sent to."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from loadtests.callers import bodies
from loadtests.callers.attacks import Attack, half_sent, header_flood, posting, silent, slow_bodies, unread_answers

Site = Literal["one", "nginx", "few descriptors", "no teams", "mortal"]
"""`one` service; two replicas behind `nginx`; one that may have `few descriptors`; one that has `no teams`; and, behind
nginx, two `mortal` ones: with a fake judge, and killed by a request that says so."""
Meanwhile = Literal["nothing", "revoke a key", "a FIFO for the teams file"]
REFUSED = frozenset({"400", "413", "422"})
ANSWERED = REFUSED | {"200", "429", "503"}
"""A text that is too long may be refused, or answered with a status of its criteria."""
ENDED = REFUSED | {"408", "431", "503", "closed"}
"""A connection that sends nothing, or too much, is not held for ever."""
NOT_FROM_A_PAGE = frozenset({"403", "415"})


@dataclass(frozen=True, slots=True)
class Row:
    """`answers` are the outcomes that are right, where it matters; `within_s` is the longest that one may take.
    `before` primes the service. An attack is repeated while the row lasts, with a pause. A row of `quick` ones takes
    no memory and little time where all is well."""

    name: str
    attack: Attack
    answers: frozenset[str] | None = None
    within_s: float | None = None
    site: Site = "one"
    before: Attack | None = None
    meanwhile: Meanwhile = "nothing"
    quick: bool = False
    once: bool = False
    """Sent once: what it does is over then."""
    lasts_s: float = 0.0
    """Where the service has to give up on connections; these are opened once."""


_CACHED_ONCE = posting(partial(bodies.cached, 1))
_LINT = "/v1/rubrics/lint"
_FROM_A_PAGE = "Origin: https://page.example\r\nContent-Type: text/plain\r\n"

ROWS: tuple[Row, ...] = (
    Row("15 MB of one digit", posting(bodies.digits), ANSWERED, 2),
    Row("four of them at once", posting(bodies.digits, at_once=4), ANSWERED, 4),
    Row("four of them through nginx", posting(bodies.digits, at_once=4), ANSWERED, 4, "nginx"),
    Row("15 MB of one digit, /get_reward", posting(bodies.digits_for_openrlhf, path="/get_reward"), ANSWERED, 2),
    Row("4 MB of words, deadline_ms 1000", posting(bodies.hurried), ANSWERED, 1.5),
    Row("two large texts", posting(bodies.words, at_once=2), ANSWERED, 2),
    Row("500 texts below any bound of size, twice", posting(bodies.near_the_bound, at_once=2), ANSWERED),
    Row("256 rules on 15 MB", posting(bodies.rules_on_a_long_response), ANSWERED),
    Row("lint of a 15 MB criterion", posting(bodies.long_criterion, path=_LINT), ANSWERED, 2),
    Row("lint of 100,000 criteria", posting(bodies.many_criteria, path=_LINT), REFUSED, 2),
    Row("unknown field with a 15 MB name", posting(bodies.long_name), REFUSED, 2),
    Row("512 x 256 cached criteria", posting(bodies.cached), ANSWERED, before=_CACHED_ONCE),
    Row("128 x 256 cached criteria", posting(partial(bodies.cached, 128)), ANSWERED, before=_CACHED_ONCE),
    Row("100,000 items", posting(bodies.many_items), REFUSED, 2),
    Row("10,240 rule checks", posting(bodies.many_checks), ANSWERED),
    Row("9,984 rule checks", posting(partial(bodies.many_checks, 39)), before=posting(bodies.one_check)),
    Row(
        "$10^{10^{10}}$ and $((50!)!)!$", posting(bodies.huge_numbers), ANSWERED, 1.5, before=posting(bodies.one_check)
    ),
    Row("400 MB of headers", header_flood(400), ENDED, 2),
    Row("2,000 half-sent requests", half_sent(2000), ENDED, lasts_s=13),
    Row("500 slow bodies", slow_bodies(500), ENDED, lasts_s=35),
    Row("100 readers that do not read", unread_answers(100), ENDED, lasts_s=35),
    Row("3,000 silent connections", silent(3000), ENDED, lasts_s=13),
    Row("no descriptors left", silent(1000), ENDED, site="few descriptors", meanwhile="revoke a key", lasts_s=13),
    Row("a FIFO for the teams file", posting(bodies.plain), meanwhile="a FIFO for the teams file", quick=True),
    Row("deadline_ms 1e400", posting(partial(bodies.endless_deadline, b"1e400")), REFUSED, 1, quick=True),
    Row(
        "deadline_ms 1 and 400 zeros",
        posting(partial(bodies.endless_deadline, b"1" + b"0" * 400)),
        REFUSED,
        1,
        quick=True,
    ),
    Row("points at the float limit", posting(bodies.points_at_the_limit), REFUSED, 1, quick=True),
    Row("duplicate keys", posting(bodies.duplicate_keys), REFUSED, 1, quick=True),
    Row("a million brackets", posting(bodies.deep), REFUSED, 2, quick=True),
    Row("a web page's POST", posting(bodies.plain, head=_FROM_A_PAGE), NOT_FROM_A_PAGE, 1, "no teams", quick=True),
    Row("a request that kills its replica", posting(bodies.poison), site="mortal", once=True),
)
