"""The page at `/`: a person scores a response against a rubric and sees why. One static file, no build, no network."""

from pathlib import Path

from starlette.responses import HTMLResponse

PAGE_ROUTE = "/"
_PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")


async def page() -> HTMLResponse:
    return HTMLResponse(_PAGE)
