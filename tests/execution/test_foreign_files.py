"""Files of a study's folder that are not this version's, or no files at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click.testing
import pytest

from dash_hpc.cli.app import app
from dash_hpc.errors import OtherVersion, StoreError
from dash_hpc.execution import run_study
from dash_hpc.store import Store, open_store, run_path
from dash_hpc.store.checkpoint import checkpoint_paths
from dash_hpc.store.envelope import HEADER_BYTES, seal


def newer(path: Path) -> bytes:
    """Make a file of a store one of format version 2, whole, and return its bytes."""
    data = path.read_bytes()
    if path.suffix == ".jsonl":
        text = data.decode().replace('"version": 1', '"version": 2', 1)
        digest = json.loads(text.partition("\n")[0])["sha256"]
        text = text.replace(digest, "0" * 64, 1)
        data = text.replace("0" * 64, hashlib.sha256(text.encode()).hexdigest(), 1).encode()
    else:
        name = data.partition(b"\n")[0].decode()
        data = seal(name, 2, data[HEADER_BYTES:]) + data[HEADER_BYTES:]
    path.write_bytes(data)
    return data


@pytest.mark.parametrize("which", ["plan.jsonl", "run", "checkpoint"])
def test_files_of_another_version_are_not_touched(
    whole: Store, planned: Path, interrupt: Callable[[Path, str, int], str], which: str
) -> None:
    run_id = whole.planned[0]
    interrupt(planned, run_id, 2)
    (checkpoint,) = [path for path in checkpoint_paths(planned, run_id) if path.exists()]
    path = {"run": run_path(planned, run_id), "checkpoint": checkpoint}.get(which, planned / which)
    data = newer(path)
    with pytest.raises(OtherVersion, match=r"version 2, but .* use the dash-hpc that wrote it"):
        run_study(whole.folder / "study.toml", output=planned, workers=1, progress="none")
    assert path.read_bytes() == data
    assert not list(planned.rglob("*.damaged-*"))
    assert open_store(planned).counts()["done"] == 0


#: What stands in a folder of results, and where; {id} is a run's.
PLACES = {
    "plan": "plan.jsonl",
    "study": "study.toml",
    "index": "index.h5",
    "run": "runs/{id:.2}/{id}.h5",
    "checkpoint": "runs/{id:.2}/{id}.ckpt.h5",
    "bundle": "bundles/0123456789abcdef.h5",
    "bundles": "bundles",
    "lease of a run": "lease/{id:.2}/{id}.000009.lease",
    "lease of a driver": "lease/driver.000009.lease",
    "deaths": "lease/{id:.2}/{id}.deaths.json",
    "job": "log/job-17.json",
    "attempts": "log/attempts-17.json",
    "log of the driver": "log/driver.log",
    "log of a worker": "log/worker-0.log",
    "report": "report/index.html",
}


def put_in_place(path: Path, kind: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()


def words_for(command: str, folder: Path, run_id: str) -> list[str]:
    """Return the words of a command on a folder."""
    return [*command.split(), str(folder), *([run_id] if command == "rerun" else [])]


class _Hang(Exception):
    pass


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raise where the body stands when it takes longer: whoever waits for a pipe uses no processor time."""

    def stop(number: int, frame: object) -> None:
        raise _Hang(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.parametrize("place", PLACES)
def test_nothing_in_place_of_a_file_blocks_a_command(whole: Store, tmp_path: Path, place: str, kind: str) -> None:
    run_id = whole.planned[0]
    folder = tmp_path / "out"
    shutil.copytree(whole.folder, folder)
    path = folder / PLACES[place].format(id=run_id)
    put_in_place(path, kind)
    for command in ("status", "verify", "select", "job down", "job begin", "reindex", "compact"):
        with within(60):
            answer = click.testing.CliRunner().invoke(app, words_for(command, folder, run_id))
        assert answer.exit_code in (0, 1, 2, 3), (command, answer.output)
        assert "internal error" not in answer.output, (command, answer.output)
    with within(60), suppress(StoreError):
        store = open_store(folder)
        told = place in ("plan", "run", "bundle", "index") or (place == "bundles" and kind != "folder")
        # reindex and compact have replaced some by files.
        if told and os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
            assert [problem for problem in store.problems if str(path) in problem], store.problems


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_study_runs_to_its_end_whatever_is_in_place_of_its_files(
    whole: Store, planned: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    monkeypatch.setenv("DASH_HPC_LEASE_SECONDS", "1")
    run_id = whole.planned[0]
    places = {name: planned / place.format(id=run_id) for name, place in PLACES.items() if name != "bundles"}
    for name, path in places.items():
        # The log of a worker is a link to a file elsewhere, which must stay what it is.
        if name not in ("plan", "log of a worker"):
            put_in_place(path, kind)
    outside = planned.parent / "outside"
    outside.write_text("")
    places["log of a worker"].unlink(missing_ok=True)
    places["log of a worker"].symlink_to(outside)
    study = whole.folder / "study.toml"
    with within(150):
        store = run_study(study, output=planned, workers=1, progress="plain")
    assert store.counts()["done"] == len(whole.planned)
    assert outside.read_text() == ""
    said = capsys.readouterr().err
    for name in ("bundle", "deaths"):
        assert str(places[name]) in said, name
    # A link among run files is left out, and the record of the run takes its name.
    for name in ("checkpoint", "lease of a driver", "deaths", *(("run",) if kind == "pipe" else ())):
        assert list(places[name].parent.glob(f"{places[name].name}.damaged-1")), name
    with within(60):
        answer = click.testing.CliRunner().invoke(app, ["report", str(planned)])
    assert answer.exit_code == 0, answer.output


def test_a_pipe_in_place_of_the_folder_of_bundles(
    whole: Store, planned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(planned / "bundles")
    run_study(whole.folder / "study.toml", output=planned, workers=1, progress="plain")
    assert f"{planned / 'bundles'}: not a folder of bundles, left out" in capsys.readouterr().err
