"""The scripts and definitions that make images, as far as no image is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "containers"
SCRIPTS = ("build", "check", "setup")


def build(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(FOLDER / "build"), *map(str, words)], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_valid_bash(name: str) -> None:
    subprocess.run(["bash", "-n", FOLDER / name], check=True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_scripts_pass_shellcheck() -> None:
    done = subprocess.run(
        ["shellcheck", *(FOLDER / name for name in SCRIPTS)], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    assert done.returncode == 0


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("name", ["dash-hpc-cpu.def", "dash-hpc-cuda.def"])
def test_sections_of_definitions_pass_shellcheck(name: str) -> None:
    text = (FOLDER / name).read_text()
    sections = re.findall(r"^%(post|environment|runscript|test)\n((?:    .*\n|\n)+)", text, re.M)
    assert [kind for kind, _ in sections].count("post") == 2
    assert {"environment", "runscript", "test"} <= {kind for kind, _ in sections}
    for kind, body in sections:
        script = "#!/bin/sh\n# shellcheck disable=SC2086\n" + re.sub(r"\{\{ (\w+) \}\}", r"\1", body)
        done = subprocess.run(["shellcheck", "-"], input=script, capture_output=True, text=True, check=False)
        assert done.stdout == "", kind


@pytest.mark.parametrize("name", ["dash-hpc-cpu.def", "dash-hpc-cuda.def"])
def test_each_argument_has_a_default_in_its_stage(name: str) -> None:
    """So that the definition builds by hand too."""
    stages = re.split(r"^(?=Bootstrap:)", (FOLDER / name).read_text(), flags=re.M)[1:]
    assert len(stages) == 2
    for stage in stages:
        used = set(re.findall(r"\{\{ (\w+) \}\}", stage))
        arguments = re.search(r"^%arguments\n((?:    .*\n)+)", stage, re.M)
        assert arguments is not None
        given = {line.split("=")[0].strip() for line in arguments[1].splitlines()}
        assert used == given


@pytest.mark.parametrize(("flavour", "torch"), [("cpu", "whl/cpu"), ("cuda", "whl/cu130")])
def test_dry_run_shows_the_steps_and_does_none(flavour: str, torch: str, tmp_path: Path) -> None:
    done = build(flavour, "--cache", tmp_path / "cache", "--output", tmp_path / "x.sif", "--dry-run")
    assert done.returncode == 0, done.stderr
    builds = [line for line in done.stdout.splitlines() if line.startswith("apptainer ")]
    assert len(builds) == 4  # three layers and the image
    assert builds[-1].rstrip().endswith(f"containers/dash-hpc-{flavour}.def")
    assert all(" --fakeroot " in line for line in builds)
    assert f"TORCH_INDEX=https://download.pytorch.org/{torch}" in builds[-1]
    assert ("ARCHITECTURES=80\\ 90" in builds[-1]) == (flavour == "cuda")
    assert list(tmp_path.iterdir()) == []


def test_layers_are_named_by_what_goes_into_them(tmp_path: Path) -> None:
    def layers(*words: object) -> list[str]:
        done = build("cpu", "--cache", tmp_path, "--dry-run", *words)
        return re.findall(r"(\w+) layer: building .*/\1-(\w{16})\.sif", done.stderr)

    plain = layers()
    assert [kind for kind, _ in plain] == ["system", "run", "tools"]
    assert plain == layers()
    # Debian's part is the same for all.
    system = {plain[0]}
    assert set(plain) & set(layers("--mpi", "openmpi")) == system
    assert not set(plain) & set(layers("--from", "debootstrap"))
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "a-1.0-py3-none-any.whl").write_bytes(b"1")
    some = layers("--wheels", wheels)
    (wheels / "a-1.0-py3-none-any.whl").write_bytes(b"12")
    assert set(some) & set(layers("--wheels", wheels)) == system


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "containers/build cpu|cuda"),
        (("gpu",), "containers/build cpu|cuda"),
        (("cpu", "--frm", "x"), "--frm: no such option"),
        (("cpu", "--from"), "its value is missing"),
        (("cpu", "--from", "x"), "--from x: registry or debootstrap"),
        (("cpu", "--mpi", "x"), "--mpi x: mpich or openmpi"),
        (("cpu", "--wheels", "/none"), "--wheels /none: no wheels there"),
        (("cuda", "--from", "debootstrap"), "needs --toolkit"),
        (("cuda", "--toolkit", "/none"), "--toolkit /none: no bin/nvcc there"),
    ],
)
def test_wrong_use_is_told_in_one_line(words: tuple[str, ...], message: str) -> None:
    done = build(*words)
    assert done.returncode == 2
    assert message in done.stderr
    if words not in ((), ("gpu",)):
        assert len(done.stderr.splitlines()) == 1
