"""The documentation's site is built strictly, asks no other host for anything, has a search, and can be read by all."""

import functools
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from testkit.browser import axe_problems, brightness, opened, too_wide
from tools import docs_site, operations, reference_pages

ROOT = docs_site.ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    assert docs_site.build(folder=folder) == 0
    return folder / "site"


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_page_is_in_the_site(site: Path) -> None:
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    expected = [*map(str, pages), *docs_site.OUTSIDE.values(), *reference_pages.pages()]
    assert [one for one in expected if not (site / one).with_suffix(".html").exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    pages = [page for page in pages if not page.startswith("design/decisions/")]
    missing = [page for page in (*pages, *reference_pages.pages()) if f'"{page}"' not in navigation]
    assert missing == [], "write them into `nav` of zensical.toml"


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    assert list(docs_site.requests_elsewhere(site)) == []
    (site / "bad.html").write_text('<script src="https://cdn.example/a.js"></script>', encoding="utf-8")
    assert list(docs_site.requests_elsewhere(site)) == ["bad.html: https://cdn.example/a.js"]
    (site / "bad.html").unlink()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("page", "width"),
    [
        ("index.html", 1280),
        ("tutorial/first-score.html", 1280),
        ("reference/settings.html", 1280),
        ("guide/verl.html", 390),
    ],
)
def test_a_page_in_a_browser(browser: Browser, url: str, page: str, width: int, scheme: str) -> None:
    asked: list[str] = []
    with opened(browser, "about:blank", width=width, scheme=scheme) as tab:  # type: ignore[arg-type]
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(f"{url}/{page}")
        tab.wait_for_load_state("networkidle")
        assert (brightness(tab, "body", "backgroundColor") < 0.5) is (scheme == "dark")
        assert axe_problems(tab) == []
        assert too_wide(tab) == []
    assert len(asked) > 3 and [one for one in asked if not one.startswith((url, "data:", "blob:"))] == []


def test_the_search_finds_a_page(browser: Browser, url: str) -> None:
    with opened(browser, f"{url}/index.html") as tab:
        tab.wait_for_load_state("networkidle")  # before, nobody hears the key
        tab.keyboard.press("/")
        tab.keyboard.type("truncation_penalty", delay=20)
        tab.get_by_text("truncation_penalty", exact=False).nth(0).wait_for()
        assert tab.locator("a[href*='run-file'], a[href*='training']").count() > 0


GOOD = "[here](glossary.md#a-heading)"
BROKEN = ["[gone](nowhere.md)", "[gone](glossary.md#no-such-heading)", "[gone](../NOTHING.md)", "![gone](none.png)"]


@pytest.mark.parametrize(("link", "ends"), [(GOOD, 0), *((link, 1) for link in BROKEN)])
def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path, link: str, ends: int) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "glossary.md").write_text("# Glossary\n\n## A heading\n", encoding="utf-8")
    settings = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    before, _, after = settings.partition("\nnav = [")
    (tmp_path / "zensical.toml").write_text(before + after.partition("\n]\n")[2], encoding="utf-8")
    (tmp_path / "docs" / "index.md").write_text(f"# Home\n\n{link}\n", encoding="utf-8")
    assert docs_site.build(tmp_path, tmp_path / "build", {}) == ends


def test_a_table_of_operations_stands_in_the_reference_alone(tmp_path: Path) -> None:
    docs_site.stage(ROOT, tmp_path, reference_pages.pages())
    page = (tmp_path / "operate" / "operations.md").read_text(encoding="utf-8")
    for heading, name in operations.REFERENCES.items():
        assert f"\n## {heading}\n" in page and f"[The table](../reference/{name}.md)" in page
        rows = operations.rows(heading)
        reference = (tmp_path / "reference" / f"{name}.md").read_text(encoding="utf-8")
        assert len(rows) > 10 and [row for row in rows if row not in reference] == []
        assert "\n|" not in page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert "\n| `abstained` |" in page, "what is not in the reference stays"


def test_a_port_in_use_is_said_before_anything_is_built(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr("sys.argv", ["docs_site", "--serve", "--port", str(port)])
        assert docs_site.main() == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(f"port {port} cannot be served on (Address already in use")


def test_links_out_of_the_site_lead_to_the_repository(tmp_path: Path) -> None:
    docs_site.stage(ROOT, tmp_path, {})
    index = (tmp_path / "index.md").read_text(encoding="utf-8")
    assert f"({docs_site.REPOSITORY}/blob/main/README.md)" in index
    assert "(design/contributing.md)" in index and "(design/decisions/index.md)" in index


def test_the_reference_has_what_the_code_has() -> None:
    pages = reference_pages.pages()
    assert "## rubricd evaluate healthbench" in pages["reference/command-line.md"]
    assert "| `score` |" in pages["reference/wire.md"] or "## ScoreResponse" in pages["reference/wire.md"]
    assert "`rubricd_judgements_total`" in pages["reference/metrics.md"]
    assert "[RubricdDown](../operate/runbook.md#rubricddown)" in pages["reference/alerts.md"]
    assert "`quota_exceeded` | 429" in pages["reference/errors.md"]
    assert "### JudgeClient.score" in pages["reference/python.md"]
    assert (
        "| `POST /v1/score` | Judge" in pages["reference/wire.md"]
        and "[ScoreRequest](#scorerequest)" in pages["reference/wire.md"]
    )
    models = ("ScoreRequest", "Item", "Criterion", "ScoreResponse", "Result", "CompareRequest", "PairItem")
    places = [pages["reference/wire.md"].index(f"## {name}\n") for name in models]
    assert places == sorted(places), "the body before the answer, a model behind what uses it"
    assert all(page.startswith("# ") and "{{" not in page for page in pages.values())
