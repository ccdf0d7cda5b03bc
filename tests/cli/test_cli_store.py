"""``verify``, ``reindex``, ``compact`` and ``rerun`` on a study that was run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dash_hpc.cli import app
from dash_hpc.execution.claims.folder import held_by_driver
from dash_hpc.store import RunWriter, open_store, planned_spec, run_path


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny: str) -> Path:
    """Output folder of the tiny study."""
    place = tmp_path_factory.mktemp("store")
    (place / "tiny.toml").write_text(tiny)
    result = call("run", place / "tiny.toml", "--output", place / "out", "--set", "sweep.seeds=[0]")
    assert result.exit_code == 0, result.output
    return place / "out"


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "out"))


def test_verify_a_whole_store(folder: Path) -> None:
    result = call("verify", folder)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "whole")
    assert "3 done, 0 failed, 0 running, 0 missing of 3 runs" in result.stdout
    answer = json.loads(call("verify", folder, "--json").stdout)
    assert answer["verdict"] == "whole"
    assert answer["runs"] == {"planned": 3, "done": 3, "failed": 0, "running": 0, "missing": 0}


def test_verify_says_what_is_damaged_or_missing(folder: Path) -> None:
    first, second, _ = open_store(folder).planned
    path = run_path(folder, first)
    data = bytearray(path.read_bytes())
    run_path(folder, second).unlink()
    result = call("verify", folder)
    assert result.exit_code == 3
    assert f"first: {second}" in result.stdout
    data[5000] ^= 1
    path.write_bytes(data)
    result = call("verify", folder)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (1, "DAMAGED")
    assert f"damage: {path}: damaged, its checksum differs" in result.stdout
    assert json.loads(call("verify", folder, "--json").stdout)["verdict"] == "damaged"
    assert call("verify", folder / "runs" / "nowhere").exit_code == 2


def test_compacted_study_is_done_and_reads_the_same(folder: Path) -> None:
    before = json.loads(call("status", folder, "--json").stdout)
    answer = json.loads(call("compact", folder, "--json").stdout)
    assert (answer["runs"], answer["bundles"], answer["files_removed"]) == (3, 1, 3)
    assert not list(folder.glob("runs/*/*"))
    assert json.loads(call("status", folder, "--json").stdout) == before
    assert call("verify", folder).exit_code == 0
    assert "0 runs bundled, 1 bundles now" in call("compact", folder).stdout
    # Running it again starts no worker: nothing is written but plan, index and report.
    result = call("run", folder / "study.toml", "--output", folder)
    assert result.exit_code == 0, result.output
    assert not list(folder.glob("runs/*/*"))
    assert call("report", folder).exit_code == 0
    assert call("verify", folder).exit_code == 0


def test_only_one_compacts_at_a_time(folder: Path) -> None:
    with held_by_driver(folder, "compact"):
        result = call("compact", folder)
        assert result.exit_code == 2
        assert "is at work on it" in result.stderr
        assert len(list(folder.glob("runs/*/*.h5"))) == 3
    assert call("compact", folder).exit_code == 0
    assert call("compact", folder / "log").exit_code == 2


def test_reindex(folder: Path) -> None:
    (folder / "index.h5").write_bytes(b"damaged")
    assert call("verify", folder).exit_code == 1
    assert "3 ended runs in the index" in call("reindex", folder).stdout
    assert call("verify", folder).exit_code == 0
    assert call("reindex", folder / "log").exit_code == 2


def test_rerun_finds_the_same_bits_in_files_and_bundles(folder: Path) -> None:
    run_id = open_store(folder).planned[-1]
    result = call("rerun", folder, run_id[:7])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == f"run {run_id}: done, 4 epochs: every bit as recorded"
    call("compact", folder)
    assert json.loads(call("rerun", folder, run_id, "--json").stdout)["equal"] is True
    assert call("verify", folder).exit_code == 0


def test_rerun_finds_a_record_that_cannot_be_repeated(folder: Path) -> None:
    store = open_store(folder)
    run_id = store.planned[0]
    record = store.record(run_id)
    assert record.network is not None
    RunWriter(folder, run_id, planned_spec(folder, run_id), {"torch": "0.1"}).finish(
        history=record.history,
        events=[],
        weights={**record.network.weights, "v": record.network.weights["v"] + 1},
        masks=record.network.masks,
        epoch=record.network.epoch,
        metrics=record.metrics,
        genes=record.network.genes,
        stop_reason=record.stop_reason,
        notes=record.notes,
    )
    result = call("rerun", folder, run_id)
    assert result.exit_code == 1
    assert "differs: network: v differs in 12 of 12 values" in result.stdout
    assert "circumstances: torch: 0.1 then" in result.stdout


def test_rerun_compares_what_the_earlier_version_measured(folder: Path) -> None:
    store = open_store(folder)
    run_id = next(run for run in store.planned if store.record(run).metrics.get("precision") is not None)
    record = store.record(run_id)
    assert record.network is not None
    RunWriter(folder, run_id, planned_spec(folder, run_id), {}).finish(
        history=record.history,
        events=record.events,
        weights=record.network.weights,
        masks=record.network.masks,
        epoch=record.network.epoch,
        metrics={name: value for name, value in record.metrics.items() if name != "precision"},
        genes=record.network.genes,
        stop_reason=record.stop_reason,
        notes=record.notes,
    )
    result = call("rerun", folder, run_id)
    assert result.exit_code == 0, result.output
    assert "measured now, not then: precision" in result.stdout


def test_rerun_wants_an_ended_run(folder: Path) -> None:
    run_id = open_store(folder).planned[0]
    RunWriter(folder, run_id, planned_spec(folder, run_id), {}).begin()
    result = call("rerun", folder, run_id)
    assert result.exit_code == 2
    assert "is running" in result.stderr
    assert call("rerun", folder, "zzz").exit_code == 2
