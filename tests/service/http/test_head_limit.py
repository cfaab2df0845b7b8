"""What the parser keeps is bounded, whichever bytes it hands out and whatever pieces they come in."""

import random

from service.http.head_limit import HeadLimit


def _request(limit: HeadLimit, head: int, body: int) -> bool:
    limit.begin_head()
    if not limit.take_head(head):
        return False
    limit.end_head()
    limit.take_body(body)
    return True


def test_a_head_ends_at_its_limit() -> None:
    limit = HeadLimit(100)
    limit.begin_head()
    assert limit.take_head(60) and limit.take_head(40) and not limit.take_head(1)
    limit.begin_head()
    assert limit.take_head(100), "each request has its own"


def test_a_header_of_which_the_parser_hands_out_nothing_ends_too() -> None:
    limit = HeadLimit(1_000)
    limit.begin_data()
    limit.begin_head()
    assert limit.end_data(1_500)
    limit.begin_data()
    assert not limit.end_data(1_000), "nothing was read of 2,500 bytes"


def test_2_000_streams_of_whole_requests_are_never_ended_however_they_are_cut() -> None:
    rng = random.Random(7)
    for _ in range(2_000):
        limit = HeadLimit(200)
        for _ in range(rng.randint(1, 8)):
            limit.begin_data()
            size = 0
            for _ in range(rng.randint(1, 5)):
                head, body = rng.randint(1, 200), rng.choice((0, rng.randint(0, 10_000)))
                assert _request(limit, head, body)
                size += head + body + rng.randint(0, 30)  # the version and line ends
            assert limit.end_data(size)
