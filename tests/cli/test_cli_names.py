"""Names are bytes: folders and files whose names are not UTF-8, and locales that know ASCII only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dash_hpc
from dash_hpc.names import as_utf8, is_utf8, json_text, to_bytes
from dash_hpc.store import compare_runs, open_store, run_path
from dash_hpc.store.plan import read_plan

LATIN = b"lat\xfcn"
ASCII_ONLY = {"LC_ALL": "C", "PYTHONUTF8": "0"}


def command(*words: bytes | str | Path, code: int = 0, cwd: bytes | None = None, **settings: str) -> tuple[str, str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(dash_hpc.__file__).parents[1]), **settings}
    given = [sys.executable, "-m", "dash_hpc", *words]
    done = subprocess.run(given, capture_output=True, check=False, env=environment, cwd=cwd, timeout=240)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == code, out + err
    assert "internal error" not in out + err
    return out, err


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, tiny: str) -> Path:
    """The study, done in a folder with an ordinary name."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "tiny.toml").write_text(tiny)
    command("run", folder / "tiny.toml", "--output", folder / "out", "--workers", "1")
    return folder / "out"


@pytest.mark.parametrize(
    ("name", "settings"),
    [(LATIN, {}), (LATIN, ASCII_ONLY), ("dönnée λ".encode(), ASCII_ONLY), (LATIN, {"LC_ALL": "de_DE.ISO-8859-1"})],
)
def test_study_runs_in_a_folder_of_any_name(
    tmp_path: Path, tiny: str, plain: Path, name: bytes, settings: dict[str, str]
) -> None:
    """The study, its output and the working folder; results are those of an ordinary name, bit for bit."""
    place = os.fsencode(tmp_path) + b"/" + name
    os.mkdir(place)
    study = place + b"/" + name + b".toml"
    Path(os.fsdecode(study)).write_text(tiny)
    command("run", study, "--output", b"out-" + name, "--workers", "1", cwd=place, **settings)
    output = Path(os.fsdecode(place + b"/out-" + name))
    store = open_store(output)
    assert store.counts()["done"] == store.counts()["planned"]
    assert all(compare_runs(run_path(plain, run_id), run_path(output, run_id)) == [] for run_id in store.planned)
    # What the files say of names leads back to the same bytes, under any locale.
    recorded = read_plan(output)
    assert recorded.sealed
    assert os.fsencode(recorded.header.base) == place
    told, _ = command("status", b"out-" + name, "--json", cwd=place, **settings)
    assert to_bytes(json.loads(told)["folder"]) == b"out-" + name
    for verb in ([], ["verify"], ["report"], ["rerun"], ["compact"], ["select"])[: 6 if settings == {} else 1]:
        if not verb:
            command("run", study, "--output", b"out-" + name, "--dry-run", cwd=place, **settings)
            continue
        words = [*verb, b"out-" + name, *([store.planned[0]] if verb == ["rerun"] else [])]
        command(*words, cwd=place, **settings)
    for path in output.rglob("*"):
        if path.suffix in (".toml", ".jsonl", ".json", ".html", ".log"):
            path.read_bytes().decode()


def test_data_beside_a_study_in_such_a_folder_are_refused_in_one_line(tmp_path: Path, tiny: str) -> None:
    """The study file in the output could not name them."""
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + LATIN))
    place.mkdir()
    text = "\n".join(["[data]", 'kind = "files"', 'expression = "e.csv"', "[[strategy]]", 'name = "none"'])
    (place / "s.toml").write_text(text)
    _, err = command("run", place / "s.toml", "--dry-run", code=2)
    assert len(err.splitlines()) == 1
    assert "lat\\xfcn, a name that is not UTF-8" in err
    assert "rename the folder" in err


def test_mistakes_with_such_names_are_one_line(tmp_path: Path, tiny: str) -> None:
    (tmp_path / "tiny.toml").write_text(tiny)
    for words in (
        ["run", LATIN + b".toml"],
        ["status", LATIN],
        ["run", tmp_path / "tiny.toml", "--set", b"study.output=" + LATIN],
        ["run", tmp_path / "tiny.toml", "--set", LATIN + b"=1"],
        [LATIN],
    ):
        for settings in ({}, ASCII_ONLY):
            _, err = command(*words, code=2, cwd=os.fsencode(tmp_path), **settings)
            assert len(err.splitlines()) == 1, err


def test_bytes_go_through_text_and_json() -> None:
    name = os.fsdecode(LATIN)
    assert (is_utf8(name), is_utf8("latün λ 😀")) == (False, True)
    assert as_utf8(name + " ü") == "lat\\xfcn ü"
    assert json_text({"a": name, "b": "ü😀"}) == '{"a": "lat\\udcfcn", "b": "ü😀"}'
    assert json.loads(json_text(name)) == name
    assert to_bytes(f"# λ {name}") == "# λ ".encode() + LATIN
