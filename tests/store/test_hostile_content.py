"""A folder that somebody sent: every checksum is right, and what stands in the files is meant to do harm.

Each command answers within 5 s of processor time and 500 MB beyond what it takes anyway, in one line or with the rest
of the study.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import zlib
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
from dash_hpc.store.envelope import HEADER_BYTES, seal
from dash_hpc.store.publish import canonical_json

Change = Callable[[h5py.File], None]
COMMANDS = ("status", "verify", "select", "report", "reindex", "compact")
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


def forge(path: Path, change: Change) -> None:
    """Change the content of a file of a store and renew its checksum, as a program that means harm would."""
    data = path.read_bytes()
    form, version = data[:HEADER_BYTES].decode().split("\n")[:2]
    with h5py.File("image", "w", driver="core", backing_store=False) as file:
        with h5py.File(h5py.h5f.open_file_image(data[HEADER_BYTES:])) as source:
            for key in source:
                source.copy(key, file)
            for key, value in source.attrs.items():
                file.attrs[key] = value
        change(file)
        file.flush()
        body = file.id.get_file_image()
    path.write_bytes(seal(form, int(version.split()[1]), body) + body)


def put(file: h5py.File, path: str, values: np.ndarray, **options: Any) -> None:
    attrs = {key: value for key, value in file[path].attrs.items() if key != "sha256"} if path in file else {}
    if path in file:
        del file[path]
    dataset = file.create_dataset(path, data=values, **options)
    for key, value in attrs.items():
        dataset.attrs[key] = value
    dataset.attrs["sha256"] = np.bytes_(hashlib.sha256(values.tobytes()).hexdigest())


def put_text(file: h5py.File, path: str, text: bytes) -> None:
    put(file, path, np.array(text, dtype=h5py.string_dtype("utf-8", len(text))))


def table(file: h5py.File, name: str, columns: dict[str, np.ndarray]) -> None:
    """Replace a table by one whose columns are deflated as far as they can be."""
    del file[name]
    group = file.create_group(name)
    group.attrs["rows"] = np.int64(len(next(iter(columns.values()))))
    group.attrs["columns"] = np.array([key.encode() for key in columns])
    for key, values in columns.items():
        put(file, f"{name}/{key}", values, compression="gzip", compression_opts=1, chunks=(min(len(values), 1 << 16),))


def history_bomb(file: h5py.File) -> None:
    rows = 1 << 20
    table(file, "history", {f"c{k}": np.zeros(rows) for k in range(40)})
    del file["timing/history"]
    file["timing"].create_group("history").attrs["rows"] = np.int64(rows)
    file["timing/history"].attrs["columns"] = np.zeros(0, "S1")


def metrics_bomb(file: h5py.File) -> None:
    rows = 1 << 22
    table(file, "metrics", {"name": np.full(rows, b"x", dtype="S1"), "value": np.zeros(rows)})


def json_bomb(file: h5py.File) -> None:
    rows = 1 << 12
    text = (b"[" + b"[]," * 300 + b"0]").ljust(1 << 10)
    table(file, "events", {"epoch": np.zeros(rows, "i8"), "bomb": np.full(rows, text)})
    file["events/bomb"].attrs["kind"] = np.bytes_("json")


def network_bomb(file: h5py.File) -> None:
    """Two vectors of 30,000 zeros say that four matrices have 9·10^8 entries; none is active."""
    size = 30_000
    for name in ("b_sums", "b_prods", "v"):
        put(file, f"network/{name}", np.zeros(size, "f4"), compression="gzip", chunks=(1 << 10,))
    for name in ("W_sums", "W_prods", "U_sums", "U_prods"):
        for part, kind in (("row", "i4"), ("col", "i4"), ("value", "f4")):
            put(file, f"network/{name}/{part}", np.zeros(0, kind))
        put(file, f"network/{name}/shape", np.array([size, size]))
    names = np.array([f"g{k}".encode() for k in range(size)])
    table(file, "network/genes", {"name": names})


def chunk_bomb(file: h5py.File) -> None:
    """A chunk that says it has 24 bytes and inflates to 1 GB."""
    del file["history/train_mse"]
    dataset = file["history"].create_dataset("train_mse", shape=(3,), dtype="f8", chunks=(3,), compression="gzip")
    squeeze = zlib.compressobj(1)
    data = b"".join(squeeze.compress(bytes(1 << 24)) for _ in range(64)) + squeeze.flush()
    dataset.id.write_direct_chunk((0,), data)


def spec_number(file: h5py.File) -> None:
    put_text(file, "spec", b"42")


def deep_spec(file: h5py.File) -> None:
    put_text(file, "spec", b'{"a":' * 100_000 + b"1" + b"}" * 100_000)


def long_text(file: h5py.File) -> None:
    size = 1 << 30
    del file["provenance"]
    file.create_dataset("provenance", shape=(), dtype=h5py.string_dtype("utf-8", size))


def external_pipe(file: h5py.File) -> None:
    os.mkfifo("pipe") if not os.path.exists("pipe") else None
    del file["history/epoch"]
    file["history"].create_dataset("epoch", shape=(3,), dtype="i8", external=[(os.path.abspath("pipe"), 0, 24)])


def virtual_circle(file: h5py.File) -> None:
    del file["history/epoch"]
    layout = h5py.VirtualLayout(shape=(3,), dtype="i8")
    layout[:] = h5py.VirtualSource(".", "history/epoch", shape=(3,))
    file["history"].create_virtual_dataset("epoch", layout)


def external_link(file: h5py.File) -> None:
    del file["history"]
    file["history"] = h5py.ExternalLink("/dev/zero", "/history")


def soft_circle(file: h5py.File) -> None:
    del file["metrics"]
    file["metrics"] = h5py.SoftLink("/metrics")


def hard_circle(file: h5py.File) -> None:
    file["history/again"] = file["/"]


def many_objects(file: h5py.File) -> None:
    for k in range(10_001):
        file["history"].create_group(f"g{k}")


def long_strings(file: h5py.File) -> None:
    del file["events"]
    group = file.create_group("events")
    group.attrs["rows"], group.attrs["columns"] = np.int64(1), np.array([b"tensor"])
    group.create_dataset("tensor", data=["x" * (1 << 24)], dtype=h5py.string_dtype())


def references(file: h5py.File) -> None:
    del file["metrics/value"]
    file["metrics"].create_dataset("value", data=[file["history"].ref] * 2, dtype=h5py.ref_dtype)


def compound(file: h5py.File) -> None:
    del file["metrics/value"]
    file["metrics"].create_dataset("value", data=np.zeros(2, dtype=[("a", "f8"), ("b", "i4", (1000,))]))


def unknown_filter(file: h5py.File) -> None:
    del file["history/train_mse"]
    file["history"].create_dataset("train_mse", data=np.zeros(3), chunks=(3,), compression="lzf")


def attribute_of_another_kind(file: h5py.File) -> None:
    file.attrs["complete"] = np.zeros((3, 3))


def rows_beyond(file: h5py.File) -> None:
    file["history"].attrs["rows"] = np.int64(1 << 60)


def network_scalar(file: h5py.File) -> None:
    put(file, "network/W_sums/shape", np.array(5))


def network_long_shape(file: h5py.File) -> None:
    put(file, "network/W_sums/shape", np.zeros(1 << 25, "i1"), compression="gzip", chunks=(1 << 20,))


def network_table(file: h5py.File) -> None:
    put(file, "network/U_prods/value", np.zeros((2, 2), "f4"))


def biases_of_text(file: h5py.File) -> None:
    put(file, "network/b_sums", np.array([b"a", b"b"]))


def no_seed(file: h5py.File) -> None:
    spec = json.loads(file["spec"][()])
    del spec["seed"]
    put_text(file, "spec", canonical_json(spec).encode())


def no_strategy(file: h5py.File) -> None:
    spec = json.loads(file["spec"][()])
    del spec["strategy"]["name"]
    put_text(file, "spec", canonical_json(spec).encode())


def metric(name: str, value: float) -> Change:
    """Return a change that gives a metric this value."""

    def change(file: h5py.File) -> None:
        values = file["metrics/value"][()]
        values[[key.decode() for key in file["metrics/name"][()]].index(name)] = value
        put(file, "metrics/value", values)

    change.__name__ = f"metric_{name}_{value:g}"
    return change


REFUSED = {
    change.__name__: (change, words)
    for change, words in (
        (history_bomb, "claims 335"),
        (metrics_bomb, "claims"),
        (json_bomb, "/events claims"),
        (chunk_bomb, "does not unfold to 24 bytes"),
        (spec_number, "/spec: 42 where an object belongs"),
        (deep_spec, "brackets more than 32 deep"),
        (long_text, "a type of class 3, version 1 and 1073741824 bytes"),
        (external_pipe, "message 0x7"),
        (virtual_circle, "layout of version 4"),
        (external_link, "a symbolic link|message 0x"),
        (soft_circle, "a symbolic link"),
        (hard_circle, "references|leads to"),
        (many_objects, "too many objects"),
        (long_strings, "values of variable length"),
        (references, "a type of class 7"),
        (compound, "a type of class 6"),
        (unknown_filter, "the filter 32000"),
        (attribute_of_another_kind, "attribute complete of /"),
        (rows_beyond, r"where \(1152921504606846976,\) belongs"),
        (network_scalar, r"/network/W_sums/shape: int64 of shape \(\) where a list of whole numbers belongs"),
        (network_long_shape, r"/network/W_sums: cannot have shape \[0, 0, 0, 0\]"),
        (network_table, r"/network/U_prods/value: float32 of shape \(2, 2\) where a list of IEEE numbers belongs"),
        (biases_of_text, r"/network/b_sums: \|S1 of shape \(2,\) where a list of IEEE numbers belongs"),
        (no_seed, "/spec: seed is missing"),
        (no_strategy, "/spec: 'strategy': name is missing"),
        (metric("sparsity", 3.0), "/metrics: 'sparsity' cannot be 3"),
        (metric("validation_mse", -1.0), "/metrics: 'validation_mse' cannot be -1"),
    )
}


EVERYWHERE = ("history_bomb", "external_pipe", "virtual_circle")


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
