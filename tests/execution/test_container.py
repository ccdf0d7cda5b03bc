"""Which image a process runs in, and the words that show folders to one."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path

import pytest

from dash_hpc.execution.machine.container import digest_lines, image_of_this_process, mounts
from dash_hpc.execution.machine.provenance import provenance


def test_image_is_told_by_its_own_file_and_by_who_started_it(tmp_path: Path) -> None:
    info = tmp_path / "image.json"
    info.write_text(json.dumps({"mpi": "mpich", "content": "sha256:12", "revision": ""}))
    environ = {"APPTAINER_CONTAINER": "/images/dash.sif", "DASH_HPC_IMAGE_INFO": str(info)}
    assert image_of_this_process({}) is None
    facts = {"path": "/images/dash.sif", "mpi": "mpich", "content": "sha256:12"}
    assert image_of_this_process(environ) == facts
    assert image_of_this_process({**environ, "DASH_HPC_IMAGE_SHA256": "ab"}) == {**facts, "sha256": "ab"}
    # Somebody else's image, and one whose file is damaged.
    assert image_of_this_process({"SINGULARITY_CONTAINER": "/x.sif"}) == {"path": "/x.sif"}
    info.write_text("{")
    assert image_of_this_process(environ) == {"path": "/images/dash.sif"}


def test_provenance_names_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    from dash_hpc.execution.machine import provenance as module

    assert "container" not in provenance()
    monkeypatch.setenv("APPTAINER_CONTAINER", "/images/dash.sif")
    module._fixed.cache_clear()
    assert provenance()["container"] == {"path": "/images/dash.sif"}
    module._fixed.cache_clear()


def test_digest_is_that_of_sha256sum_and_empty_for_what_is_no_file(tmp_path: Path) -> None:
    image = tmp_path / "a $(touch x) b.sif"
    image.write_bytes(b"abc")
    for path, digest in ((image, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"), (tmp_path, "")):
        script = "\n".join([*digest_lines(str(path)), 'printf %s "$DASH_HPC_IMAGE_SHA256"'])
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
        assert done.stdout == digest
    assert list(tmp_path.iterdir()) == [image]


def test_folders_are_bound_whatever_their_names() -> None:
    assert mounts([(Path("/a b"), True), (Path("/data"), False)]) == ["--bind", "/a b", "--bind", "/data:/data:ro"]
    for name in ("/a:b", "/a,b", '/a"b'):
        option, line = mounts([(Path(name), False)])
        assert option == "--mount"
        assert next(csv.reader([line])) == ["type=bind", f"source={name}", f"destination={name}", "ro"]
