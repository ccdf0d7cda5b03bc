"""A folder that somebody sent: every checksum is right, and what stands in the files is meant to do harm.

Each command answers within 5 s of processor time and 500 MB beyond what it takes anyway, in one line or with the rest
of the study.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click.testing
import h5py
import numpy as np
import pytest

from dash_hpc.cli.app import app
from dash_hpc.execution import run_study
from dash_hpc.ids import spec_id
from dash_hpc.store import open_store, plan_header, rebuild_index, run_path, verify, write_plan
from dash_hpc.store.checkpoint import CheckpointFile
from dash_hpc.store.publish import canonical_json
from tests.store.hostile_files import REFUSED, forge, network_bomb, put, put_text, table

COMMANDS = ("status", "verify", "select", "report", "reindex", "compact")
EVERYWHERE = ("history_bomb", "external_pipe", "virtual_circle")
SECONDS, BYTES = 5, 500_000_000


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, small_study: Callable[..., str]) -> Path:
    place = tmp_path_factory.mktemp("hostile")
    (place / "study.toml").write_text(small_study("sent", epochs=3, every=1, seeds="0"))
    run_study(place / "study.toml", output=place / "out", workers=1, progress="none")
    # Loaded here, since every child would count it otherwise.
    answer = click.testing.CliRunner().invoke(app, ["report", str(place / "out")])
    assert answer.exit_code == 0, answer.output
    return place / "out"


@pytest.fixture
def folder(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / "out"))


def answers(folder: Path, *commands: str) -> dict[str, str]:
    """Give the commands, each in a process of its own with little time and memory; return what they say."""
    return {name: _guarded(_command, (name, str(folder))) for name in commands}


def _command(name: str, folder: str, *more: str) -> str:
    answer = click.testing.CliRunner().invoke(app, [name, folder, *more])
    assert answer.exit_code in (0, 1, 2, 3), answer.output
    assert "internal error" not in answer.output, answer.output[-500:]
    return answer.output


def _guarded(function: Callable[..., str], arguments: tuple[str, ...]) -> str:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_limited, args=(function, arguments, theirs))
    process.start()
    theirs.close()
    assert ours.poll(90), f"{arguments}: no answer"
    try:
        kind, text = ours.recv()
    except EOFError:
        process.join()
        pytest.fail(f"{arguments}: ended with {process.exitcode}")
    process.join()
    assert kind == "said", f"{arguments}: {text}"
    return str(text)


def _limited(function: Callable[..., str], arguments: tuple[str, ...], pipe: Any) -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + BYTES, size + BYTES))
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime) + SECONDS + 1
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CPU, (most, most))
    try:
        pipe.send(("said", function(*arguments)))
    except BaseException as error:
        pipe.send(("raised", f"{type(error).__name__}: {error}"))


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_run_files_are_damaged_and_harmless(
    folder: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    change, words = REFUSED[name]
    run_id = open_store(folder).planned[1]
    path = run_path(folder, run_id)
    forge(path, change)
    # All go through one gate: what every command does there is tried with those that once hung or took gigabytes.
    said = answers(folder, *(COMMANDS if name in EVERYWHERE else ("status", "verify")))
    status = [line for line in said["status"].splitlines() if str(path) in line]
    # What only the whole file shows is found by whoever reads it as a whole.
    whole = [line for line in said["verify"].splitlines() if str(path) in line and line.startswith("damage: ")]
    assert len(whole) == 1, said["verify"]
    assert re.search(words, whole[0]), whole[0]
    assert len(whole[0]) < 700
    assert status == [] or (len(status) == 1 and re.search(words, status[0])), status
    assert verify(folder).damaged


def test_a_network_of_nothing_but_size_stays_small(folder: Path) -> None:
    run_id = open_store(folder).planned[1]
    forge(run_path(folder, run_id), network_bomb)
    answers(folder, *COMMANDS)
    network = open_store(folder).network(run_id)
    assert network.weights["W_sums"].shape == (30_000, 30_000)
    assert network.weights["W_sums"].nnz == 0


def test_rerun_of_what_was_sent(folder: Path) -> None:
    """Nothing is executed that no study can ask for."""
    store = open_store(folder)
    run_id = store.planned[1]
    spec = store.spec(run_id)
    spec["training"]["epochs"] = 10**15
    spec["data"]["genes"] = 10**12
    other = spec_id(spec)
    target = run_path(folder, other)
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(run_path(folder, run_id).read_bytes())
    forge(target, lambda file: put_text(file, "spec", canonical_json(spec).encode()))
    forge(target, lambda file: file.attrs.modify("run_id", other))
    base = plan_header(folder).base
    write_plan(folder, [(other, spec)], study="sent", base=base)
    assert "not the spec of a run" in _guarded(_command, ("rerun", str(folder), other))
    said = answers(folder, *COMMANDS)
    assert "not the spec of a run" in (folder / "report" / "index.html").read_text() or "error" in said["report"]


def test_a_record_whose_spec_is_another_runs_is_damaged(folder: Path) -> None:
    """Its checksum is right, its numbers would stand under settings that did not make them."""
    run_id = open_store(folder).planned[0]

    def change(file: h5py.File) -> None:
        put_text(file, "spec", canonical_json({**json.loads(file["spec"][()]), "seed": 77}).encode())

    forge(run_path(folder, run_id), change)
    store = open_store(folder)
    assert store.status(run_id) == "damaged"
    assert run_id not in store.runs.index
    assert any("its spec belongs to id" in problem for problem in store.problems)


@pytest.mark.parametrize("gone", ["solver", "schedule.fraction", "strategy.omega0"])
def test_nothing_is_made_after_a_spec_of_parts(folder: Path, gone: str) -> None:
    """A study may leave these out, and then they have a default; what a run was made with is not guessed."""
    part, _, key = gone.partition(".")
    base, runs, chosen = plan_header(folder).base, [], ""
    for planned in open_store(folder).planned:
        place = run_path(folder, planned)
        with h5py.File(place) as file:
            spec = json.loads(file["spec"][()])
        (spec[part] if key else spec).pop(key or part, None)
        run_id = spec_id(spec)
        target = run_path(folder, run_id)
        target.parent.mkdir(exist_ok=True)
        place.rename(target)
        forge(target, partial(put_text, path="spec", text=canonical_json(spec).encode()))
        forge(target, lambda file, run_id=run_id: file.attrs.modify("run_id", run_id))
        runs.append((run_id, spec))
        chosen = run_id if spec["strategy"]["name"] == "dash" else chosen
    write_plan(folder, runs, study="sent", base=base)
    words = f"not the spec of a run: {gone} is missing"
    assert words in _guarded(_command, ("rerun", str(folder), chosen))
    answers(folder, *COMMANDS)
    assert words in (folder / "report" / "index.html").read_text()


@pytest.mark.parametrize(("name", "value"), [("sparsity", 3.0), ("validation_mse", -1.0)])
def test_an_index_with_metrics_that_cannot_be(folder: Path, name: str, value: float) -> None:
    rebuild_index(folder)
    forge(folder / "index.h5", lambda file: put(file, f"runs/{name}", np.full(len(file[f"runs/{name}"]), value)))
    said = answers(folder, "status", "select")
    assert f"column {name} of the index has a value that cannot be" in said["status"]


def test_an_index_that_unfolds(folder: Path) -> None:
    rebuild_index(folder)

    def change(file: h5py.File) -> None:
        rows = 1 << 20
        names = [bytes(name) for name in file["runs"].attrs["columns"]]
        columns = {name.decode(): np.zeros(rows, "i1").astype(bool) for name in names}
        table(file, "runs", {**columns, "run_id": np.char.zfill(np.arange(rows).astype("S16"), 16)})

    forge(folder / "index.h5", change)
    said = answers(folder, "status", "verify")
    assert "index.h5: damaged: /runs claims" in said["status"]
    assert "index.h5: damaged: /runs claims" in said["verify"]


def test_a_checkpoint_that_unfolds(folder: Path) -> None:
    run_id = open_store(folder).planned[1]
    file = CheckpointFile(folder, run_id)
    path = file.save(1, {}, {"w": np.zeros(3)}, {})

    def change(file: h5py.File) -> None:
        put_text(file, "names", json.dumps([[f"w{k}", [1 << 21]] for k in range(40)]).encode())
        del file["arrays/w"]
        for k in range(40):
            put(file, f"arrays/w{k}", np.zeros(1 << 21), compression="gzip", compression_opts=1, chunks=(1 << 17,))

    forge(path, change)
    said = answers(folder, "status", "verify")
    assert f"damage: {path}: damaged: / claims 67108" in said["verify"], said["verify"]
