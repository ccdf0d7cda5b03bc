"""Names of files are bytes: how those that are not UTF-8 go through text, JSON and messages.

Python gives a byte that is not UTF-8 as a lone surrogate (``os.fsdecode``), which no UTF-8 file can hold. JSON can, as
an escape; so what is read back names the same file. Texts for people show the byte instead.
"""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["as_utf8", "is_utf8", "json_text", "to_bytes"]

_SURROGATE = re.compile("[\ud800-\udfff]")


def is_utf8(text: str) -> bool:
    """Return whether ``text`` can be written as UTF-8."""
    return _SURROGATE.search(text) is None


def json_text(value: Any, **options: Any) -> str:
    """Return ``value`` as JSON that is valid UTF-8, with bytes of names that are not as escapes; else as ``dumps``."""
    text = json.dumps(value, ensure_ascii=False, **options)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def to_bytes(text: str) -> bytes:
    """Return ``text`` as UTF-8, and names in it as the bytes that they are; for what a shell reads."""
    return text.encode("utf-8", "surrogateescape")


def as_utf8(text: str) -> str:
    r"""Return ``text`` so that it can be stored as UTF-8: each byte of a name that is not stands as ``\xfc``.

    All else stays, line breaks and escapes as well; what people are shown goes through :mod:`dash_hpc.shown`.
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") if not is_utf8(text) else text
