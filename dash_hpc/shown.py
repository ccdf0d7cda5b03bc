"""Names, paths and messages as people may see them.

Gene names, study names, paths and error texts come from files, and a file may have been sent by somebody else. What is
shown on a terminal, in a log, a figure or a page goes through :func:`shown`: a character that acts on its surroundings
(escape sequences, line breaks, changes of the writing direction) or that cannot be seen is written as Python writes it
in a string, ``\\x1b`` or ``\\u202e``, and what is longer than a screen loses its middle. The other functions here are
that one for places with rules of their own.
"""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING, Any, TextIO
from unicodedata import category

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = [
    "LABEL",
    "LINE",
    "NAME",
    "console",
    "duration",
    "harmless",
    "python_text",
    "rich_text",
    "shell_path",
    "shell_word",
    "shown",
    "shown_block",
    "shown_json",
]

NAME = 60
"""Most letters of a name in a table."""
LABEL = 160
"""Most letters of a strategy with all its options."""
LINE = 1000
"""Most letters of a message: half a screen."""
_LINES = 500


def shown(text: object, most: int = LINE) -> str:
    """Return ``text`` as one line of at most ``most`` letters that does nothing but stand there.

    A byte of a path that is not UTF-8 is shown as the byte, ``\\xff``.
    """
    line = _cut(str(text), most)
    if line.isprintable():
        return line
    return _cut("".join(letter if _harmless(letter) else _escape(letter) for letter in line), most)


def harmless(text: str) -> bool:
    """Whether :func:`shown` would leave all letters of ``text`` as they are."""
    return text.isprintable() or all(map(_harmless, text))


def shown_block(text: object, most: int = LINE) -> str:
    """Return text of several lines, such as a traceback, each line as :func:`shown` has it; long ones lose lines."""
    lines = str(text).split("\n")
    if len(lines) > _LINES:
        half = _LINES // 2
        lines = [*lines[:half], f"… {len(lines) - 2 * half:,} lines left out …", *lines[-half:]]
    return "\n".join(shown(line.replace("\t", "    "), most) for line in lines)


def shown_json(text: str) -> str:
    """Return a JSON document in which no letter acts on a terminal; it is read back as the same values."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(letter if letter == "\n" or _harmless(letter) else _json_escape(letter) for letter in text)


def shell_path(path: str | os.PathLike[str]) -> str:
    """Return a path as a word for the shell that no command takes for an option."""
    text = os.fspath(path)
    return shell_word(f"./{text}" if text.startswith("-") else text)


def shell_word(word: str) -> str:
    """Return ``word`` as a shell (bash, zsh, ksh) reads it, and so that it can be shown and copied."""
    if harmless(word):
        return shlex.quote(word)
    # $'…' is the one form that can hold every byte and show it.
    pieces = [letter if _harmless(letter) else _shell_escape(letter) for letter in re.sub(r"([\\'])", r"\\\1", word)]
    return f"$'{''.join(pieces)}'"


def duration(seconds: float) -> str:
    """Return a time as people say it: "0.25 s", "93 s", "4.5 min", "22 h", "2.5 days"."""
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            count = seconds / size
            return f"{count:.2g} {unit}" if count < 9.95 else f"{count:.0f} {unit}"
    return f"{seconds / 86400:.1f} days"


def python_text(text: str | os.PathLike[str]) -> str:
    """Return text or a path as a literal of Python, to copy into a program."""
    return repr(os.fspath(text))


def rich_text(text: object, most: int = NAME, style: str = "") -> Text:
    """Return a cell or title of a rich table: no markup is read in it, whatever console prints it."""
    from rich.text import Text

    return Text(shown(text, most), style=style)


def console(file: TextIO, **settings: Any) -> Console:
    """Return a rich console that shows plain strings as they are: no markup, no emoji codes, no escape sequences."""
    from rich.console import Console

    class Plain(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            options |= {"emoji": False, "markup": False, "highlight": False}
            return super().render_str(shown_block(text), **options)

    return Plain(file=file, markup=False, emoji=False, highlight=False, **settings)


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    # The end of a path is its name, and the end of a message its remedy.
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"


def _harmless(letter: str) -> bool:
    return letter.isprintable() or category(letter) == "Zs"  # Python counts only the common space as printable


def _escape(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(letter)
    return named or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def _json_escape(letter: str) -> str:
    pair = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{pair[k]:02x}{pair[k + 1]:02x}" for k in range(0, len(pair), 2))


def _shell_escape(letter: str) -> str:
    rule = "surrogateescape" if 0xDC80 <= ord(letter) <= 0xDCFF else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in letter.encode("utf-8", rule))
