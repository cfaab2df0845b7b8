"""Tests of what every answer has: HEAD beside GET, its headers, and addresses that stay behind a proxy's path."""

import pytest

from testkit.apps import fake_settings, item, serving

GETS = ("/", "/docs", "/healthz", "/readyz", "/metrics", "/v1/judge", "/openapi.json")


async def test_head_is_get_without_the_body() -> None:
    async with serving() as client:
        for path in GETS:
            got, head = await client.get(path), await client.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-type"] == got.headers["content-type"]
            if path != "/metrics":  # the counters have gone on
                assert head.headers["content-length"] == str(len(got.content))
        assert (await client.head("/v1/score")).status_code == 405
        assert (await client.head("/nowhere")).status_code == 404


async def test_no_answer_is_guessed_to_be_of_another_type() -> None:
    async with serving() as client:
        for path in (*GETS, "/nowhere", "/v1/score"):
            assert (await client.get(path)).headers["x-content-type-options"] == "nosniff"
        assert (await client.post("/v1/score", content=b"{")).headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("left_on", [True, False], ids=["the proxy leaves the path on", "the proxy takes it off"])
async def test_below_a_path_everything_is_found_and_named(left_on: bool) -> None:
    before = "/judge" if left_on else ""
    async with serving(settings=fake_settings(root_path="/judge")) as client:
        for path in GETS:
            assert (await client.get(before + path)).status_code == 200, path
        scored = await client.post(f"{before}/v1/score", json={"items": [item()]})
        assert scored.status_code == 200
        moved = await client.get(f"{before}/healthz/?a=b")
        assert (moved.status_code, moved.headers["location"]) == (307, "/judge/healthz?a=b")
        document = (await client.get(f"{before}/openapi.json")).json()
        assert document["servers"] == [{"url": "/judge"}]
        page = (await client.get("/metrics")).text
    assert 'rubricd_requests_total{route="/v1/score",status="200"} 1.0' in page
    assert 'rubricd_request_seconds_count{route="/v1/score"} 1.0' in page


async def test_the_page_below_a_path_ends_with_a_slash() -> None:
    """Else its relative addresses would miss the path."""
    async with serving(settings=fake_settings(root_path="/a/judge")) as client:
        moved = await client.get("/a/judge")
        assert (moved.status_code, moved.headers["location"]) == (307, "/a/judge/")


async def test_a_path_that_a_route_begins_with_is_no_matter() -> None:
    async with serving(settings=fake_settings(root_path="/v1")) as client:
        for path in ("/v1/judge", "/v1/v1/judge"):
            assert (await client.get(path)).status_code == 200


async def test_a_redirect_names_no_host() -> None:
    """Behind TLS or another name the service knows neither."""
    async with serving() as client:
        moved = await client.get("/v1/judge/")
    assert moved.headers["location"] == "/v1/judge"
