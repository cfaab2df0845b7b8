"""Checks the base URL of a judge's server."""

import httpx

from service.errors import ConfigurationError


def base_url(url: str, setting: str) -> str:
    """The URL without its `/v1`. Raises ConfigurationError, which names the setting."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo or parsed.query or parsed.fragment:
        raise ConfigurationError(f"`{setting}` must be http(s)://host[:port][/path], with no credentials in it")
    return str(parsed).rstrip("/").removesuffix("/v1")
