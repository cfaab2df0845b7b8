"""Serves the pages for people, `/` and `/live`: each is put together once from small files, and loads nothing else.

Guarantees: a browser runs the script and the style that are in the page and no others, sends to this service alone, and
shows the page in no other page's frame.
"""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse

from service.api.pages.headers import headers_of
from trainer_client.pages.assembly import assembled

PAGE_ROUTE = "/"
LIVE_PAGE_ROUTE = "/live"

FOLDER = Path(__file__).parent
_PLAYGROUND, _LIVE = assembled(FOLDER, "playground.html"), assembled(FOLDER, "live.html")
_PLAYGROUND_HEADERS, _LIVE_HEADERS = headers_of(_PLAYGROUND), headers_of(_LIVE)


async def playground(request: Request) -> HTMLResponse:
    return HTMLResponse(_PLAYGROUND, headers=_PLAYGROUND_HEADERS)


async def live(request: Request) -> HTMLResponse:
    return HTMLResponse(_LIVE, headers=_LIVE_HEADERS)
