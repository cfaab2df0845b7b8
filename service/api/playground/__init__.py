"""The page at `/`: a person scores a response against a rubric and sees why. One static file, no build, no network.

Guarantees: a browser runs the script and the style that are in the file and no others, sends to this service alone, and
shows the page in no other page's frame.
"""

import base64
import hashlib
import re
from pathlib import Path

from starlette.responses import HTMLResponse

PAGE_ROUTE = "/"
_PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")


async def page() -> HTMLResponse:
    return HTMLResponse(_PAGE, headers=_HEADERS)


def _policy(page: str) -> str:
    """The content security policy of a page with scripts and styles of its own."""
    script, style = (" ".join(_hashes(page, tag)) or "'none'" for tag in ("script", "style"))
    rules = {
        "default-src": "'none'",
        "script-src": script,
        "style-src": style,
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hashes(page: str, tag: str) -> list[str]:
    contents = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.S)
    digests = (hashlib.sha256(content.encode()).digest() for content in contents)
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]


def headers_of(page: str) -> dict[str, str]:
    """The headers of one of our pages: a browser runs what stands in it, and shows it in no frame."""
    return {
        "Content-Security-Policy": _policy(page),
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
    }


_HEADERS = headers_of(_PAGE)
