"""`Accept` as RFC 9110 weighs it."""

import pytest

from service.api.accept import wants_lines

CASES: list[tuple[list[str], bool]] = [
    ([], False),
    ([""], False),
    (["*/*"], False),
    (["application/*"], False),
    (["application/json"], False),
    (["application/x-ndjson"], True),
    (["Application/X-NDJSON"], True),
    (["application/x-ndjson;q=0"], False),
    (["application/x-ndjson; q=0.000, */*"], False),
    (["application/x-ndjson;q=1.0"], True),
    (["application/x-ndjson;charset=utf-8; q=0.2"], True),
    (["application/x-ndjson, application/json"], True),
    (["application/json", "application/x-ndjson"], True),
    (["application/json, application/x-ndjson;q=0.9"], False),
    (["application/json;q=0.5, application/x-ndjson;q=0.9"], True),
    (["application/x-ndjson;q=0.5, */*"], False),
    (["application/x-ndjson;q=0.5, */*;q=0.1"], True),
    (["application/x-ndjson;q=0.5, application/*;q=0.6, */*;q=0.1"], False),
    (["application/x-ndjson;q=2"], False),
    (["application/x-ndjson;q=abc"], False),
    (["text/x-ndjson, application/x-ndjson-seq"], False),
    ([";;;,,,q=1,;q="], False),
]


@pytest.mark.parametrize(("accept", "lines"), CASES)
def test_who_names_lines_and_wants_nothing_more_gets_them(accept: list[str], lines: bool) -> None:
    assert wants_lines(accept) is lines
