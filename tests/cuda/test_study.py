"""``dash-hpc run --device``: whole studies by the command, on a GPU or with the emulation in its place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dash_hpc
from dash_hpc.errors import NativeError
from dash_hpc.execution import packing
from dash_hpc.execution.rerun import rerun
from dash_hpc.ops import PRUNABLE
from dash_hpc.ops.cuda import open_gpu
from dash_hpc.store import Store, compare_runs, open_store, run_path


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, small_study: Callable[..., str]) -> Path:
    """12 genes, none and dash, two seeds, 10 epochs: four runs."""
    path = tmp_path_factory.mktemp("study") / "small.toml"
    path.write_text(small_study("small", epochs=10, every=3, seeds="[0, 1]"))
    return path


#: A part of a study writes no report, which takes longer than these runs.
BARE = ("--part", "1/1")


def dash(*words: Any, emulated: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dash_hpc", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(dash_hpc.__file__).parents[1]),
            "DASH_HPC_CUDA_EMULATION": "1" if emulated else "0",
            **environment,
        },
    )


@dataclass(frozen=True)
class Device:
    """Where the study was run: its name in records, what commands need to find it again, and the results."""

    name: str
    emulated: bool
    store: Store


@pytest.fixture(scope="module", params=["emulation", pytest.param("cuda", marks=pytest.mark.gpu)])
def on_gpu(request: pytest.FixtureRequest, study: Path) -> Device:
    """The study with ``--device cuda``, on the emulation and on a GPU where there is one."""
    emulated, name = request.param == "emulation", "emulation"
    if emulated:
        pytest.importorskip("dash_hpc._cuda_emulation")
    else:
        try:
            name = str(open_gpu().facts()["name"])
        except NativeError as error:
            if os.environ.get("DASH_HPC_REQUIRE_GPU") == "1":
                raise
            pytest.skip(str(error))
    output = study.parent / f"on-{request.param}"
    done = dash("run", study, "--output", output, "--device", "cuda", "--workers", 1, *BARE, emulated=emulated)
    assert done.returncode == 0, done.stderr
    assert f"device: GPU 0: {name}\n" in done.stderr
    assert "1 worker, up to 256 runs side by side in each\n" in done.stderr
    return Device(name, emulated, open_store(output))


@pytest.fixture(scope="module")
def on_cpu(study: Path) -> Store:
    output = study.parent / "cpu"
    done = dash("run", study, "--output", output, "--workers", 1, "--pack", 4, *BARE)
    assert done.returncode == 0, done.stderr
    return open_store(output)


def test_runs_of_the_gpu_follow_those_of_the_cpu(on_gpu: Device, on_cpu: Store) -> None:
    folder = on_gpu.store.folder
    for run_id in on_cpu.planned:
        mine, cpu = on_gpu.store.record(run_id), on_cpu.record(run_id)
        assert mine.epochs == cpu.epochs == 10
        for column in ("train_mse", "validation_mse"):
            np.testing.assert_allclose(mine.history[column], cpu.history[column], rtol=1e-4)
        assert mine.network is not None
        assert cpu.network is not None
        kept, other = (
            np.concatenate([network.masks[name].ravel() for name in PRUNABLE])
            for network in (mine.network, cpu.network)
        )
        assert (kept & other).sum() / (kept | other).sum() >= 0.99
        assert mine.provenance["device"] == on_gpu.name
        assert cpu.provenance["device"] == "cpu"
    # The kernels sum in another order, so that equal bits would mean that the CPU had done the work.
    assert any(compare_runs(run_path(folder, run_id), run_path(on_cpu.folder, run_id)) for run_id in on_cpu.planned)


def test_bits_do_not_depend_on_the_pack(on_gpu: Device, study: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    words = ("--device", "cuda:0", "--pack", 1, "--set", "sweep.seeds=[0]", *BARE)
    done = dash("run", study, "--output", output, *words, emulated=on_gpu.emulated)
    assert done.returncode == 0, done.stderr
    assert len(open_store(output).planned) == 2
    for run_id in open_store(output).planned:
        assert compare_runs(run_path(on_gpu.store.folder, run_id), run_path(output, run_id)) == []


def test_rerun_tells_of_another_device_and_repeats_the_bits_on_the_same(
    on_gpu: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASH_HPC_CUDA_EMULATION", "1" if on_gpu.emulated else "0")
    store = on_gpu.store
    run_id = next(run for run in store.planned if store.record(run).spec["strategy"]["name"] == "dash")
    assert rerun(store.folder, run_id, "cuda").differences == []
    elsewhere = dash("rerun", store.folder, run_id, "--json")
    answer = json.loads(elsewhere.stdout)
    assert (elsewhere.returncode, answer["equal"]) == (1, False)
    assert answer["circumstances"] == [
        f"device: {on_gpu.name} then, cpu now; last bits depend on it, so repeat it there with --device"
    ]


def test_a_run_that_goes_on_elsewhere_says_so(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dash_hpc._cuda_emulation")
    from dash_hpc.execution.machine.signals import StopFlag
    from dash_hpc.execution.rerun import _devices
    from dash_hpc.execution.study_run import prepare
    from dash_hpc.execution.work import many_runs
    from dash_hpc.study import load_study

    monkeypatch.setenv("DASH_HPC_CUDA_EMULATION", "1")
    ids = prepare(load_study(study), tmp_path)[:2]
    flag = StopFlag()
    flag.set("SIGTERM")
    many_runs._device.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(many_runs, "process_flag", lambda: flag)
        stopped = many_runs.run_pack(str(tmp_path), ids, "cuda")["runs"]
        assert {own["status"] for own in stopped.values()} == {"stopped"}
    many_runs.run_pack(str(tmp_path), ids, "cpu")
    many_runs._device.cache_clear()
    made = open_store(tmp_path).provenance(ids[0])
    assert made["device"] == "cpu"
    assert made["resumed"][0]["changes"] == ["device: emulation -> cpu"]
    assert _devices(made) == "emulation, then cpu"


def test_a_gpu_without_room_fails_by_name_and_gives_way_with_auto(
    study: Path, tmp_path: Path, on_cpu: Store, monkeypatch: pytest.MonkeyPatch, emulation: Any
) -> None:
    from dash_hpc.execution.study_run import prepare
    from dash_hpc.execution.work import many_runs
    from dash_hpc.study import load_study

    monkeypatch.setenv("DASH_HPC_CUDA_EMULATION", "1")
    ids = prepare(load_study(study), tmp_path)
    many_runs._device.cache_clear()
    emulation.module.emulate(memory_bytes=1 << 12)
    failed = many_runs.run_pack(str(tmp_path), ids, "cuda")
    assert {own["status"] for own in failed["runs"].values()} == {"failed"}
    reason = open_store(tmp_path).record(ids[0]).reason
    assert reason.startswith("out of memory on the GPU: ")
    assert reason.endswith("this run does not even fit alone: use the CPU for it")
    done = many_runs.run_pack(str(tmp_path), ids, "auto")
    many_runs._device.cache_clear()
    assert {own["status"] for own in done["runs"].values()} == {"done"}
    assert done["notes"]
    assert all("went on with the CPU: out of memory on the GPU" in note for note in done["notes"])
    for run_id in ids:
        assert compare_runs(run_path(on_cpu.folder, run_id), run_path(tmp_path, run_id)) == []
    made = open_store(tmp_path).provenance(ids[0])
    assert made["device"] == "cpu"
    assert [(step["epoch"], step["from"], step["to"]) for step in made["moved"]] == [(0, "emulation", "cpu")]


def test_without_a_gpu_auto_says_why_and_cuda_is_one_line(study: Path, tmp_path: Path) -> None:
    hidden = {"CUDA_VISIBLE_DEVICES": "", "emulated": False}
    refused = dash("run", study, "--output", tmp_path / "a", "--device", "cuda", **hidden)
    assert refused.returncode == 2
    assert refused.stderr.startswith("dash-hpc: error: ")
    assert refused.stderr.count("\n") == 1
    assert "use the CPU" in refused.stderr
    done = dash(
        "run", study, "--output", tmp_path / "b", "--device", "auto", "--workers", 1, "--set", "training.epochs=1",
        *BARE, **hidden,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "device: CPU, because " in done.stderr
    assert open_store(tmp_path / "b").provenance(open_store(tmp_path / "b").planned[0])["device"] == "cpu"


def test_forecast_says_what_it_measured(study: Path, tmp_path: Path) -> None:
    pytest.importorskip("dash_hpc._cuda_emulation")
    told = dash("run", study, "--output", tmp_path / "out", "--device", "cuda", "--dry-run")
    assert told.returncode == 0, told.stderr
    assert "device: GPU 0: emulation\n" in told.stdout
    assert "1 worker with up to 4 runs side by side" in told.stdout
    assert "note: time and memory were measured on the CPU, one run after the other, not on the GPU\n" in told.stdout
    assert not (tmp_path / "out").exists()


def test_a_pack_is_as_large_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulation says that it has 1 TiB free."""
    pytest.importorskip("dash_hpc._cuda_emulation")
    monkeypatch.setenv("DASH_HPC_CUDA_EMULATION", "1")
    monkeypatch.setattr(packing, "_free_host_bytes", lambda: 1 << 62)
    monkeypatch.setattr(packing, "LocalExecutor", ThreadPoolExecutor)

    def size(hidden: int, workers: int | None = None, pack: int | None = None) -> int:
        spec = {"model": {"hidden": hidden, "dtype": "float32"}}
        return packing.choose_packing("cuda", pack, workers, genes=1 << 17, spec=spec).packing.size

    assert size(8) == packing.MOST
    assert packing.run_bytes({"model": {"hidden": 1 << 10, "dtype": "float32"}}, 1 << 17) == 1 << 34
    assert size(1 << 10) == 32
    assert size(1 << 10, workers=2) == 16
    assert size(1 << 10, pack=100) == 100
    assert size(1 << 20) == 1
    monkeypatch.setattr(packing, "_free_host_bytes", lambda: 1 << 37)
    assert size(1 << 10) == 4
