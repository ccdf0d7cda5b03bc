"""The one reader of JSON beside the results."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import pytest

from dash_hpc.errors import StoreError
from dash_hpc.store import publish_note
from dash_hpc.store.notes import DEEPEST, anything, listing, number, parse_json, read_note, record, text, whole
from dash_hpc.store.reading import open_file, read_bytes, read_tail


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe{}", "not UTF-8 at byte 0"),
        (b"[" * (DEEPEST + 1), f"brackets more than {DEEPEST} deep"),
        (b"[" * 1_000_000, f"brackets more than {DEEPEST} deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, f"brackets more than {DEEPEST} deep"),
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' twice"),
        (b"NaN", "NaN where a number belongs"),
        (b"[-Infinity]", "-Infinity where a number belongs"),
        (b"1e999", "the number 1e999 does not fit 64 bits"),
        (b"-1e999", "the number -1e999 does not fit 64 bits"),
        (b"18446744073709551616", "does not fit 64 bits"),
        (b"-9223372036854775809", "does not fit 64 bits"),
        (b"9" * 100_000, "does not fit 64 bits"),
        (b'"\\ud800"', "half a letter"),
        (b'{"\\udfff": 1}', "half a letter"),
        (b"1 2", "not JSON"),
        (b"{'a': 1}", "not JSON"),
    ],
)
def test_what_no_reader_may_be_given(source: bytes, message: str) -> None:
    began = time.process_time()
    with pytest.raises(StoreError, match=message) as caught:
        parse_json(source)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -(2**63), 2**64 - 1, 1.5, "", 'γ \U0001f9ec \u2028 \\ "', [], {"": [{}]}, {"[[[[": ']]\\"[['}],
)
def test_what_json_can_say_is_read(value: object) -> None:
    for escaped in (True, False):
        assert parse_json(json.dumps(value, ensure_ascii=escaped).encode()) == value


def test_brackets_in_texts_are_no_depth() -> None:
    value = {"a": "[" * 1000, "b": '\\"[' * 1000, "c": [[]] * 50}
    assert parse_json(json.dumps(value)) == value
    deepest = json.loads("[" * DEEPEST + "]" * DEEPEST)
    assert parse_json(json.dumps([deepest[0]])) == [deepest[0]]


@pytest.mark.parametrize(
    ("shape", "good", "bad"),
    [
        (text(3), "abc", ["abcd", 1, None, "a\0"]),
        (text(3, "[0-9]+"), "12", ["", "1a", "1\n"]),
        (whole(0, 5), 5, [6, -1, 5.0, True, "5"]),
        (number, 1.5, [True, "1", None]),
        (listing(whole(), 2), [1, 2], [[1, 2, 3], [1, "a"], {}, 1]),
        (record({"a": whole()}, {"b": text()}), {"a": 1, "b": "x"}, [{}, {"a": 1, "c": 2}, {"a": "1"}, [], None]),
        (record({}, others=anything), {"x": [1]}, [[], 1]),
    ],
)
def test_shapes(shape: object, good: object, bad: list[object]) -> None:
    assert shape(good) == ""  # type: ignore[operator]
    for value in bad:
        assert shape(value), value  # type: ignore[operator]


def test_a_note_is_sealed(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    shape = record({"tries": whole(), "place": text()})
    publish_note(path, {"tries": 2, "place": "epoch 12"})
    assert read_note(path, shape) == {"tries": 2, "place": "epoch 12"}
    whole_text = path.read_text()
    for old, new in (('"tries": 2', '"tries": 3'), ("epoch 12", "epoch 13"), ("sha256", "sha255"), ("{", "[{")):
        path.write_text(whole_text.replace(old, new, 1))
        with pytest.raises(StoreError, match=f"{path}: damaged: "):
            read_note(path, shape)
    path.write_bytes(b" " * (1 << 21))
    with pytest.raises(StoreError, match=r"has 2\.1 MB, and no such file has more than 1\.0 MB"):
        read_note(path, shape)


def test_only_regular_files_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x" * 10 + "end")
    os.mkfifo("pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "device").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as here:
        here.bind("socket")
        for name, what in (
            ("pipe", "a pipe"),
            ("folder", "a folder"),
            ("link", "a symbolic link"),
            ("device", "a symbolic link"),
            ("socket", "a socket"),
            ("/dev/zero", "a device"),
        ):
            with pytest.raises(StoreError, match=f"{name}: {what}, not a regular file; "):
                open_file(name)
            with pytest.raises(StoreError, match="not a regular file"):
                read_bytes(name)
            assert read_tail(name, 10) == ""
    assert read_tail("file", 3) == "end"
    assert read_bytes("file", 10) == b"end"
    with pytest.raises(StoreError, match="no such file"):
        read_bytes("nothing")
