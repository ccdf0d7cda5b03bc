"""How large a TOML text may be, judged before it is parsed.

The parser's work and stack grow with what it is given, and a number of too many digits is not even an error of its own
kind. One pass over the words of the text, without building anything, says where it goes beyond what a study can need.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from dash_hpc.errors import DashHpcError, StudyError
from dash_hpc.files import NotRegular, open_regular

__all__ = ["LIMITS", "TooLarge", "check_size", "read_limited"]

MAX_BYTES = 8 << 20
MAX_LINES = 200_000
MAX_DEPTH = 16
MAX_PARTS = 16
MAX_KEYS = 10_000
MAX_ENTRIES = 100_000
MAX_WORD = 128
MAX_TEXT = 65_536
# A text within the limits has fewer.
_MAX_TOKENS = 500_000

LIMITS = (
    ("size of the file", f"{MAX_BYTES >> 20} MiB, a regular file"),
    ("lines", f"{MAX_LINES:,}"),
    ("keys and headers", f"{MAX_KEYS:,}"),
    ("entries of all lists together", f"{MAX_ENTRIES:,}; a range in quotes is one"),
    ("lists and tables inside one another", str(MAX_DEPTH)),
    ("parts of a dotted key", str(MAX_PARTS)),
    ("characters of a number or bare key", str(MAX_WORD)),
    ("characters of a text", f"{MAX_TEXT:,}"),
)
"""What there is a limit to, and the limit, as the reference shows them."""

# One word after the other. What a study repeats most, plain values of a list, is taken many at a time.
_VALUE = rf"[^\s\"'#\[\]{{}},=]{{1,{MAX_WORD}}}"
_TOKEN = re.compile(
    rf"""
      (?P<values> (?: \s* {_VALUE} [^\S\n]* , ){{1,1000}} )
    | (?P<word>   [^\s"'#\[\]{{}},=]+ )
    | (?P<long>   \"\"\" | ''' )
    | (?P<short>  " | ' )
    | (?P<gap>    (?: [^\S\n]* (?:\#[^\n]*)? \n )+ | \#[^\n]* )
    | (?P<blank>  [^\S\n]+ )
    | (?P<open>   [\[{{] )
    | (?P<close>  [\]}}] )
    | (?P<comma>  , )
    | (?P<equals> = )
    """,
    re.VERBOSE,
)
# The rest of a text, behind its opening quotes.
_REST = {
    '"': re.compile(r'[^"\\\n]*(?:\\.[^"\\\n]*)*"'),
    "'": re.compile(r"[^'\n]*'"),
    '"""': re.compile(r'[^"\\]*(?:(?:\\.|"{1,2}(?!"))[^"\\]*)*"{3,5}', re.DOTALL),
    "'''": re.compile(r"[^']*(?:'{1,2}(?!')[^']*)*'{3,5}"),
}


class TooLarge(ValueError):
    """A TOML text beyond a limit: ``line`` (from 1) says where, the message what and the remedy."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def read_limited(path: Path, what: str = "study file", hint: str = "", error: type[DashHpcError] = StudyError) -> str:
    """Read a TOML file; ``hint`` is added to the message when there is none.

    Raises
    ------
    error
        Missing, a folder, a device or pipe, not readable, larger than the limit (known before anything is read), or
        not UTF-8.
    """
    try:
        with open_regular(path, links=True) as file:
            size = os.fstat(file.fileno()).st_size
            # Files of /proc have no size.
            data = file.read(MAX_BYTES + 1) if size <= MAX_BYTES else b""
            if (size := max(size, len(data))) > MAX_BYTES:
                raise error(f"{path}: {size:,} bytes are no {what}; at most {MAX_BYTES:,} are read")
    except NotRegular as found:
        remedy = "name the .toml file" if str(found) == "a folder" else "write it to a file"
        raise error(f"{path}: is {found}, not a {what}; {remedy}") from None
    except FileNotFoundError:
        raise error(f"{path}: no such {what}{hint}") from None
    except OSError as reason:
        raise error(f"{path}: cannot be read ({reason.strerror or reason})") from None
    except ValueError as reason:  # a name that no file can have
        raise error(f"{path}: no such {what} ({reason})") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        line = data[: reason.start].count(b"\n") + 1
        raise error(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from None


def check_size(text: str) -> None:
    """Raise TooLarge where ``text`` goes beyond a limit. What is not TOML is left to the parser to refuse.

    The words are those that the parser would see, up to the first place at which it would stop.
    """
    if len(text) > MAX_BYTES:
        raise TooLarge(1, f"{len(text):,} characters; at most {MAX_BYTES:,} are read")
    if (lines := text.count("\n")) > MAX_LINES:
        raise TooLarge(MAX_LINES, f"{lines:,} lines; at most {MAX_LINES:,} are read, so write lists in one line")
    depth = parts = keys = entries = words = position = 0
    statement = True  # at the beginning of one

    def refuse(message: str) -> TooLarge:
        return TooLarge(text.count("\n", 0, position) + 1, message)

    while token := _TOKEN.match(text, position):
        kind, end = token.lastgroup, token.end()
        words += 1
        if kind == "word":
            parts += text.count(".", position, end)
            if parts >= MAX_PARTS:
                raise refuse(f"a key of more than {MAX_PARTS} parts; a study needs no more than section.key")
            if end - position > MAX_WORD:
                raise refuse(f"a number or key of {end - position:,} characters; at most {MAX_WORD} are read")
        elif kind in ("short", "long"):
            rest = _REST[token[0]].match(text, end, end + MAX_TEXT + 3)
            if rest is None:
                if _longer(text, token[0], end):
                    raise refuse(f"a text of more than {MAX_TEXT:,} characters, or without its closing quotes")
                return  # no closing quotes: here the parser stops, too
            end = rest.end()
        elif kind == "values":
            entries += text.count(",", position, end)
        elif kind == "open":
            keys += statement and depth == 0  # a header
            depth += 1
            if depth > MAX_DEPTH:
                raise refuse(f"lists or tables more than {MAX_DEPTH} deep; a study needs a list of values")
        elif kind == "close":
            depth = max(0, depth - 1)
        elif kind == "comma":
            entries += 1
        elif kind == "equals":
            keys += 1
        if kind not in ("word", "short", "blank"):
            parts = 0
        if kind != "blank":
            statement = kind == "gap"
        if keys > MAX_KEYS:
            raise refuse(f"more than {MAX_KEYS:,} keys; split the study")
        if entries > MAX_ENTRIES:
            raise refuse(f'more than {MAX_ENTRIES:,} entries of lists; write a range in quotes, such as "0..999"')
        if words > _MAX_TOKENS:
            raise refuse("more words than a study can have")
        position = end


def _longer(text: str, quotes: str, start: int) -> bool:
    """Whether the text that begins at ``start`` goes on beyond the limit (True) or ends without quotes before it."""
    stop = start + MAX_TEXT
    return len(text) > stop and (len(quotes) == 3 or text.find("\n", start, stop) < 0)
