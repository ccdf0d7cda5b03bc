"""Files of a study's folder that are not this version's, or no files at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dash_hpc.errors import OtherVersion
from dash_hpc.execution import run_study
from dash_hpc.execution.poison import deaths_path
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


def test_pipes_in_place_of_small_files_do_not_block(
    whole: Store, planned: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DASH_HPC_LEASE_SECONDS", "1")
    run_id = whole.planned[0]
    place = planned / "lease" / run_id[:2]
    place.mkdir(parents=True, exist_ok=True)
    for path in (place / f"{run_id}.000001.lease", deaths_path(planned, run_id), planned / "lease/driver.000001.lease"):
        os.mkfifo(path)
    for path in (planned / "log").iterdir():
        path.unlink()
    outside = planned.parent / "outside"
    outside.write_text("")
    (planned / "log" / "worker-0.log").symlink_to(outside)
    os.mkfifo(planned / "log" / "driver.log")
    os.mkfifo(planned / "bundles")
    study = whole.folder / "study.toml"
    assert run_study(study, output=planned, workers=1, progress="none").counts()["done"] == len(whole.planned)
    assert outside.read_text() == ""
    capsys.readouterr()
    run_study(study, output=planned, workers=1, progress="plain")
    assert f"{planned / 'bundles'}: not a folder of bundles, left out" in capsys.readouterr().err
