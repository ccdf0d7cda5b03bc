"""One cell of a table: a number, a missing value, a name or a sign, as people and their programs write them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "MISSING",
    "Remarks",
    "clip",
    "count_cells",
    "is_number",
    "name",
    "read_number",
    "sign",
    "spells_number",
    "tidy",
]

#: The documented words for a missing value.
MISSING = ("", "NA", "NaN", "nan")
_MISSING_WORDS = frozenset(
    ("na", "n/a", "nan", "-nan", "null", "none", "nil", "missing", "<na>", "#n/a", "#na", "n.a.", ".", "-", "--", "?")
)
# no-break, figure, thin and narrow no-break space: what spreadsheets and typesetters put into numbers
_INNER = "\u00a0\u2007\u2009\u202f"
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
_AROUND = " \t\r\n\f\v\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2008\u200a\u3000" + _INNER + _INVISIBLE
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_GROUPED = re.compile(
    rf"([+-]?)[{_INNER}]?(\d{{1,3}}(?:[{_INNER}]\d{{3}})+|\d+)((?:[.,]\d+)?(?:[eE][+-]?\d+)?)", re.ASCII
)
_COMMA = re.compile(r"[+-]?(\d+,\d+|,\d+)([eE][+-]?\d+)?", re.ASCII)
_MINUS = str.maketrans("\u2212\u2013", "--")

_POSITIVE = frozenset(("+", "++", "true", "t", "yes", "act", "pos", "up", "->", "-->", "→", "⟶"))
_NEGATIVE = frozenset(("-", "--", "false", "f", "no", "rep", "inh", "neg", "down", "-|", "--|", "⊣"))
_UNKNOWN = frozenset(
    ("", "?", "na", "nan", "n/a", "none", "null", "unk", "unknown", "unspecified", "undefined", "ambiguous", "dual",
     "both", "+-", "-+", "+/-", "-/+", "±", "not specified", "unclear", "conflict", "conflicting")
)  # fmt: skip
_POSITIVE_STEMS = ("activat", "stimulat", "positiv", "upregulat", "induc", "enhanc", "increas", "promot")
_NEGATIVE_STEMS = ("repress", "inhibit", "negativ", "downregulat", "suppress", "silenc", "decreas", "inactivat")


def clip(text: str, limit: int = 40) -> str:
    """The beginning of a cell or line, for messages."""
    return repr(text if len(text) <= limit else text[:limit] + "...")


def count_cells(n: int) -> str:
    """``"1 cell"``, ``"2 cells"``."""
    return f"{n} cell" if n == 1 else f"{n} cells"


def tidy(cell: str) -> str:
    """The cell without blanks around it, no-break and invisible ones included."""
    return cell.strip() if cell.isascii() else cell.strip(_AROUND)


def name(cell: str) -> str:
    """A gene's name as it is compared: tidy, composed letters, plain blanks inside."""
    text = tidy(cell)
    if len(text) > 1 and text[0] == text[-1] == '"':  # behind a tab, the csv module takes quotes for a part of it
        cell = text[1:-1].replace('""', '"')
    if cell.isascii():
        return cell.strip()
    plain = "".join(" " if letter in _INNER else letter for letter in tidy(cell) if letter not in _INVISIBLE)
    return unicodedata.normalize("NFC", plain)


def is_number(cell: str) -> bool:
    """Whether the cell is a plain decimal number (not empty, not NA, not infinite)."""
    return _NUMBER.fullmatch(tidy(cell)) is not None


def spells_number(cell: str) -> bool:
    """Whether the cell is a number in any spelling, and not a missing value."""
    try:
        value, _ = read_number(cell)
    except ValueError:
        return False
    return value == value


def read_number(cell: str) -> tuple[float, str]:
    """Read a number or a missing value (NaN), however it is spelled; a comma is a decimal comma.

    Returns
    -------
    value : float
        May be infinite, where the digits are too large.
    spelling : str
        What had to be recognised: "with a …"; "" for the plain form.

    Raises
    ------
    ValueError
        It is neither.
    """
    text = tidy(cell)
    if text in MISSING:
        return float("nan"), ""
    if _NUMBER.fullmatch(text):
        return float(text), ""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return read_number(text[1:-1])
    if text.casefold() in _MISSING_WORDS:
        return float("nan"), "with another word than NA for a missing value"
    spelling = ""
    if "\u2212" in text or "\u2013" in text:
        text, spelling = text.translate(_MINUS), "with a typographic minus sign"
    if grouped := _GROUPED.fullmatch(text):
        joined = grouped[1] + re.sub(f"[{_INNER}]", "", grouped[2]) + grouped[3]
        spelling = "with a no-break space in the number" if joined != text else spelling
        text = joined
    if _COMMA.fullmatch(text):
        text, spelling = text.replace(",", "."), "with a decimal comma"
    if not _NUMBER.fullmatch(text):
        raise ValueError(cell)
    return float(text), spelling


def sign(cell: str) -> float:
    """The sign that a cell names: 1, -1, or 0 where it says that the sign is unknown.

    Raises
    ------
    ValueError
        The cell names none.
    """
    text = tidy(cell).strip("\"'").translate(_MINUS).casefold()
    if text in _POSITIVE:
        return 1.0
    if text in _NEGATIVE:
        return -1.0
    if text in _UNKNOWN:
        return 0.0
    if _NUMBER.fullmatch(text) and abs(float(text)) == 1:
        return float(text)
    letters = re.sub(r"[^a-z]", "", text)
    if letters.startswith(_POSITIVE_STEMS):
        return 1.0
    if letters.startswith(_NEGATIVE_STEMS):
        return -1.0
    raise ValueError(cell)


class Remarks:
    """Counts what was recognised beyond the plain form, and remembers where it was met first."""

    def __init__(self, sentences: Iterable[str] = ()) -> None:
        self._counts: Counter[str] = Counter(dict.fromkeys(sentences, 0))
        self._first: dict[str, str] = {}

    def say(self, sentence: str) -> None:
        """Add a sentence of its own."""
        self._counts.setdefault(sentence, 0)

    def meet(self, spelling: str, line: int, cell: int, text: str) -> None:
        """Count one cell that is spelled so."""
        if spelling:
            self._counts[spelling] += 1
            self._first.setdefault(spelling, f"line {line}, cell {cell}: {clip(text)}")

    def sentences(self, path: str | Path | None = None) -> tuple[str, ...]:
        """All of it, in the order of meeting; with a path, each begins with the file's name."""
        begin = "" if path is None else f"{Path(path).name}: "
        return tuple(
            begin + (f"{count:,} cell{'s' * (count > 1)} {text} (first: {self._first[text]})" if count else text)
            for text, count in self._counts.items()
        )
