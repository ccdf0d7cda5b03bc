"""TOML: reading with the line of every key, and writing of plain settings."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from dash_hpc.study.limits import check_size

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["TOMLDecodeError", "key_lines", "parse", "to_toml", "value_text"]

TOMLDecodeError = tomllib.TOMLDecodeError
Path = tuple[str | int, ...]

_KEY_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY = rf"{_KEY_PART}(?:\s*\.\s*{_KEY_PART})*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_KEY})\s*\]")
_ASSIGNMENT = re.compile(rf"\s*({_KEY})\s*=")
_STRING = re.compile(r'"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*', re.DOTALL)


def parse(text: str) -> dict[str, Any]:
    """Parse TOML; raises TOMLDecodeError, whose text ends in ``(at line L, column C)``, or TooLarge before that."""
    check_size(text)
    return tomllib.loads(text)


def _parts(key: str) -> Iterator[str]:
    for part in re.findall(_KEY_PART, key):
        yield next(iter(tomllib.loads(f"{part} = 0")))


def _blank(match: re.Match[str]) -> str:
    """Blank a string or comment, so that brackets inside do not count; a string of several lines is a bracket."""
    if match[0][0] == "#":
        return ""
    breaks = match[0].count("\n")
    return "{" + "\n" * breaks + "}" if breaks else '""'


def key_lines(text: str) -> dict[Path, int]:
    """Return the line (from 1) of every table and key of a well-formed TOML text.

    Keys inside an inline table are not listed: their line is that of the key that holds the table. Tables of an
    array carry their index, as in ``("strategy", 1, "name")``.
    """
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    depth = 0
    originals = text.split("\n")
    for number, line in enumerate(_STRING.sub(_blank, text).split("\n"), start=1):
        if depth == 0:
            # Quoted keys were blanked with the strings: the original line still has them.
            original = originals[number - 1]
            if header := _HEADER.match(original):
                table = tuple(_parts(header[2]))
                if header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    table = (*table, counts[table])
                lines.setdefault(table, number)
                continue
            if key := _ASSIGNMENT.match(original):
                path = (*table, *_parts(key[1]))
                for end in range(len(table) + 1, len(path) + 1):
                    lines.setdefault(path[:end], number)
        depth += sum(line.count(bracket) for bracket in "[{") - sum(line.count(bracket) for bracket in "]}")
    return lines


def _text(value: str) -> str:
    # JSON and TOML escape alike, but TOML also wants DEL escaped, and no surrogate pairs.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def value_text(value: Any) -> str:
    """Write one value as TOML: booleans, numbers, text and lists of these."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(value_text(item) for item in value)}]"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key_text(key)} = {value_text(item)}" for key, item in value.items())
        return f"{{{inner}}}"
    return str(value.isoformat()) if hasattr(value, "isoformat") else repr(value)


def _key_text(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def to_toml(document: Mapping[str, Any]) -> str:
    """Write sections (mappings) and arrays of tables (lists of mappings) of plain values as TOML."""
    blocks = []
    for name, content in document.items():
        header, tables = (f"[{name}]", [content]) if isinstance(content, Mapping) else (f"[[{name}]]", content)
        for table in tables:
            rows = [f"{_key_text(key)} = {value_text(value)}" for key, value in table.items()]
            blocks.append("\n".join([header, *rows]))
    return "\n\n".join(blocks) + "\n"
