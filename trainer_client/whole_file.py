"""Writes a file whole, or leaves it as it was.

Guarantees: a link and a device, such as /dev/stdout, are written to, and are not replaced. What UTF-8 cannot hold, a
lone surrogate, is written as its escape.
"""

from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Raises OSError."""
    content = text.encode("utf-8", errors="backslashreplace")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        path.write_bytes(content)
        return
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
