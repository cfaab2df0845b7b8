"""Without keys no web page can ask the service, whatever it sends; programs and the service's own page can."""

from pathlib import Path

import pytest

from service.api.caller_check import names_this_machine
from testkit.apps import fake_settings, item, serving
from testkit.teams_file import auth, team, write

BODY = {"items": [item()]}
OWN = "http://127.0.0.1"


REFUSED: list[tuple[dict[str, str], str]] = [
    ({"Origin": "https://evil.example", "Content-Type": "text/plain"}, "web forms"),
    ({"Origin": "https://evil.example", "Content-Type": "application/json"}, "another site's"),
    ({"Origin": "null"}, "another site's"),
    ({"Origin": "http://127.0.0.1:9999"}, "another site's"),
    ({"Origin": "http://evil.example", "Host": "evil.example"}, "`Host`"),
    ({"Host": "evil.example:8000"}, "`Host`"),
    ({"Host": "127.0.0.1.evil.example"}, "`Host`"),
    ({"Host": "localhost.evil.example"}, "`Host`"),
    ({"Sec-Fetch-Site": "cross-site"}, "another site's page"),
    ({"Sec-Fetch-Site": "same-site"}, "another site's page"),
    ({"Content-Type": "text/plain;charset=UTF-8"}, "web forms"),
    ({"Content-Type": "multipart/form-data; boundary=x"}, "web forms"),
]
POSTS = ("/v1/score", "/score", "/v1/rubrics/lint", "/get_reward", "/v1/decisions", "/rm")


async def test_what_a_web_page_sends_is_refused_72_of_72() -> None:
    async with serving() as client:
        for path in POSTS:
            for headers, said in REFUSED:
                answer = await client.post(path, json=BODY, headers=headers)
                assert answer.status_code == 403, (path, headers)
                assert said in answer.json()["detail"]


LET_IN: list[dict[str, str]] = [
    {},
    {"Content-Type": "application/x-www-form-urlencoded"},  # curl -d
    {"Origin": OWN, "Sec-Fetch-Site": "same-origin"},  # the page
    {"Origin": "http://localhost:8000", "Host": "localhost:8000"},
    {"Origin": "http://[::1]:8000", "Host": "[::1]:8000"},
    {"Host": "LOCALHOST:8000"},
    {"Host": "10.1.2.3:8000"},
]


async def test_a_program_and_the_services_own_page_are_let_in() -> None:
    async with serving() as client:
        for headers in LET_IN:
            answer = await client.post("/v1/score", json=BODY, headers=headers)
            assert answer.status_code == 200, (headers, answer.text)


async def test_a_name_that_was_pointed_here_reads_nothing_and_a_link_opens_the_page() -> None:
    async with serving() as client:
        for path in ("/", "/v1/judge", "/metrics", "/openapi.json"):
            assert (await client.get(path, headers={"Host": "evil.example"})).status_code == 403
            assert (await client.get(path)).status_code == 200
        assert (await client.get("/", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 200


async def test_a_preflight_allows_nothing() -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    async with serving() as client:
        answer = await client.options("/v1/score", headers=asked)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_with_keys_any_name_and_any_site_may_ask(tmp_path: Path) -> None:
    settings = fake_settings(teams=write(tmp_path / "teams.json", team("a")))
    async with serving(settings=settings) as client:
        answer = await client.post(
            "/v1/score", json=BODY, headers={"Host": "judge.example", "Origin": "https://a.b", **auth("a")}
        )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("a.localhost:80", True),
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("[::1", True),
        ("notlocalhost", False),
        ("", False),
        ("1.2.3", False),
        ("\x00", False),
    ],
)
def test_a_host_is_an_address_or_a_name_nobody_can_point_here(host: str, known: bool) -> None:
    assert names_this_machine(host) is known
