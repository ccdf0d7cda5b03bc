"""What people are shown: literals written by hand, other programs (bash, json, Python itself), and any text at all."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dash_hpc.shown import (
    console,
    duration,
    python_text,
    rich_text,
    shell_path,
    shell_word,
    shown,
    shown_block,
    shown_json,
)

# Written out by code point, so that it does not follow the rule of the code: C0, DEL, C1, soft hyphen, Arabic letter
# mark, zero-width and direction marks, line and paragraph separators, embeddings and overrides, word joiner and
# invisible operators, isolates, deprecated formats, byte-order mark, interlinear, surrogates, tags.
ACTING = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
ANY_TEXT = st.text(st.characters(), max_size=80)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ABF1", "ABF1"),
        ("λ₁ × ü 中 é", "λ₁ × ü 中 é"),
        ("a b", "a b"),
        ("no-break\xa0space", "no-break\xa0space"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("a\nb\r\tc\0", "a\\nb\\r\\tc\\x00"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("two\u2028lines\u2029", "two\\u2028lines\\u2029"),
        ("lat\udcfcn", "lat\\xfcn"),
        ("half \ud83d", "half \\ud83d"),
        ("tag \U000e0041", "tag \\U000e0041"),
        ("$x$ [/x] \\n", "$x$ [/x] \\n"),
    ],
)
def test_letters_that_act_are_written_out(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_the_middle_of_what_is_long_is_left_out() -> None:
    text = shown("a" * 500_000 + "\x1b" + "b" * 500_000, 9)
    assert text == "aaaaa…bbb" or text == "aaaa…bbbb"
    assert len(shown("\x1b" * 1_000_000)) <= 1000
    assert shown("x" * 1000) == "x" * 1000


@given(ANY_TEXT, st.integers(10, 60))
def test_nothing_that_acts_is_left_of_any_text(text: str, most: int) -> None:
    for result in (shown(text, most), shell_word(text), python_text(text), rich_text(text).plain):
        assert not ACTING.search(result)
    assert len(shown(text, most)) <= most
    assert not ACTING.search(shown_block(text).replace("\n", ""))


@given(st.recursive(ANY_TEXT, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3)))
def test_json_is_read_back_as_it_was(value: object) -> None:
    document = shown_json(json.dumps(value, indent=2, ensure_ascii=False))
    assert not ACTING.search(document.replace("\n", ""))
    # json joins two halves of a pair that stood apart; everything else is the same.
    assert json.dumps(json.loads(document)) == json.dumps(json.loads(json.dumps(value)))


NAMES = [
    "plain",
    "with space",
    "it's",
    'say "x"',
    "$HOME `id` $(id) \\ !",
    '"); import os; os.system("id',
    "\x1b[2J",
    "line\nbreak",
    "\u202eabc",
    "lat\udcfcn",
    "1\x1b2'\\x41",
    "-n",
]


@pytest.mark.parametrize("name", NAMES)
def test_bash_reads_the_word_as_the_name(name: str) -> None:
    done = subprocess.run(["bash", "-c", f"printf %s {shell_word(name)}"], capture_output=True, check=True)
    assert done.stdout == (os.fsencode(name) if name != "-n" else b"-n")


def test_a_path_is_not_taken_for_an_option() -> None:
    assert shell_path("-rf") == "./-rf"
    assert shell_path("a b") == "'a b'"


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_bash_reads_any_word(name: str) -> None:
    done = subprocess.run(["bash", "-c", f"printf %s {shell_word(name)}"], capture_output=True, check=True)
    assert done.stdout == name.encode()


@given(ANY_TEXT)
def test_python_reads_the_literal_as_the_text(text: str) -> None:
    assert ast.literal_eval(python_text(text)) == text


@pytest.mark.parametrize(
    "name", ["[/x]", "[bold]", "[red]a[/red]", "[link=https://example.org]a[/link]", ":smile:", "[\x1b"]
)
def test_rich_reads_no_markup(name: str) -> None:
    from rich.console import Console
    from rich.table import Table

    for page in (console(io.StringIO(), width=80), Console(file=io.StringIO(), width=80)):
        table = Table()
        table.add_column("name")
        table.add_row(rich_text(name))
        page.print(table)
        assert shown(name) in page.file.getvalue()
    page = console(io.StringIO(), width=80)
    page.print(name)
    table = Table(title=name)
    table.add_column(name)
    table.add_row(name)
    page.print(table)
    assert page.file.getvalue().count(shown(name)) == 4


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.0123, "0.012 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (119.4, "119 s"),
        (120.0, "2 min"),
        (540.0, "9 min"),
        (7199.0, "120 min"),
        (7200.0, "2 h"),
        (12_300.0, "3.4 h"),
        (81_000.0, "22 h"),
        (172_800.0, "2.0 days"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
