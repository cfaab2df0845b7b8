"""Makes the headers of a page for people, of which a browser runs what stands in it, and shows it in no frame.

Guarantees: the policy allows the page's own scripts and styles by their digests, and no others.
"""

import re

from trainer_client.pages.assembly import digest


def headers_of(page: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": _policy(page),
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
    }


def _policy(page: str) -> str:
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
    return [f"'sha256-{digest(content)}'" for content in contents]
