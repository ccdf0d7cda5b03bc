"""The batch scripts: golden files, and values that would like to be more than one word."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dash_hpc.errors import UsageError
from dash_hpc.execution.slurm.options import JobOptions, load_options
from dash_hpc.execution.slurm.script import call_script, directive, job_script, report_script

GOLDEN = Path(__file__).parent / "golden"
COMMAND = ["/opt/venv/bin/dash-hpc"]
FOLDER = Path("/scratch/me/quick")
NASTY = "$(touch x); \"a b\" %j 'c' \\d `touch y` é #!&|<>*?~"

CASES = {
    "mpi": (job_script, "quick", FOLDER, JobOptions()),
    "mpi-full": (
        job_script,
        "quick",
        FOLDER,
        JobOptions(
            partition="gpu",
            account="p-123",
            time="1-00:00:00",
            nodes=4,
            tasks_per_node=8,
            cpus_per_task=2,
            gpus_per_node=4,
            memory="64G",
            grace=300,
            exclude=("n3", "n7"),
            sbatch=("--qos=long", "--comment=a b"),
            setup=("module load mpich",),
            container="/images/dash.sif",
        ),
    ),
    "mpi-site": (job_script, "quick", FOLDER, JobOptions(launcher=("mpirun", "--bind-to", "core"), grace=0)),
    "array": (job_script, "quick", FOLDER, JobOptions(kind="array", parts=16, parallel=4, memory="2G")),
    "gpu": (
        job_script,
        "quick",
        FOLDER,
        JobOptions(kind="array", parts=2, gpus_per_node=1, device="cuda", pack=128, cpus_per_task=8),
    ),
    "report": (report_script, "quick", FOLDER, JobOptions(kind="array", account="p-123")),
    "call": (call_script, "simulate", FOLDER / "call-1", JobOptions(memory="1G")),
    "nasty": (job_script, NASTY, Path("/scratch") / NASTY.replace("/", "-"), JobOptions(partition="a b;c")),
}


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts name the launcher beside the interpreter; the golden files must not know where this one is."""
    monkeypatch.setattr(sys, "executable", "/opt/venv/bin/python")


def test_launcher_beside_the_interpreter_is_named_in_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    beside = tmp_path / "mpirun"
    beside.write_text("#!/bin/sh\n")
    beside.chmod(0o755)
    options = JobOptions(launcher=("mpirun", "--bind-to", "core"))
    assert "\nlaunch=(mpirun --bind-to core)\n" in job_script("quick", FOLDER, options, COMMAND)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert f"\nlaunch=({beside} --bind-to core)\n" in job_script("quick", FOLDER, options, COMMAND)


@pytest.mark.parametrize("name", CASES)
def test_script_is_the_golden_one(name: str) -> None:
    render, study, folder, options = CASES[name]
    golden = GOLDEN / f"{name}.sbatch"
    script = render(study, folder, options, COMMAND)
    if os.environ.get("UPDATE_GOLDEN") == "1":
        golden.write_text(script)
    assert script == golden.read_text()


@pytest.mark.parametrize("name", CASES)
def test_script_is_valid_bash(name: str) -> None:
    subprocess.run(["bash", "-n", GOLDEN / f"{name}.sbatch"], check=True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_scripts_pass_shellcheck() -> None:
    done = subprocess.run(["shellcheck", *sorted(GOLDEN.glob("*.sbatch"))], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0


def test_shell_sees_each_value_as_one_word(tmp_path: Path) -> None:
    """The assignments of the script, executed by bash, give back what went in, and execute nothing."""
    folder = tmp_path / NASTY.replace("/", "-")
    command = ["/opt/a b/dash-hpc", NASTY]
    script = job_script("x", folder, JobOptions(launcher=("srun", NASTY)), command)
    head = script.partition("# USR1:")[0]
    probe = 'printf "%s\\0" "$folder" "${dash_hpc[@]}" "${launch[@]}"'
    done = subprocess.run(["bash", "-c", head + probe], capture_output=True, cwd=tmp_path, check=True)
    assert done.stdout.decode().split("\0")[:-1] == [str(folder), *command, "srun", NASTY]
    assert list(tmp_path.iterdir()) == []


def test_directives_quote_what_slurm_would_read_as_more() -> None:
    assert directive("--array=1-4%2") == "#SBATCH --array=1-4%2"
    assert directive("--job-name=a b") == '#SBATCH --job-name="a b"'
    assert directive("--comment=a#b") == '#SBATCH --comment="a#b"'
    assert directive("--comment=\"$x';\\") == r'''#SBATCH --comment="\"$x';\\"'''
    for bad in ("--job-name=a\nb", "--x=\r", "--x=\x00", "--x=\x1b"):
        with pytest.raises(UsageError, match="control character"):
            directive(bad)


def test_percent_signs_of_the_folder_are_no_pattern() -> None:
    script = job_script("x", Path("/scratch/100%j"), JobOptions(), COMMAND)
    assert "#SBATCH --output=/scratch/100%%j/log/slurm-%j.out\n" in script


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"partition": "a\nb"}, "partition = .* one line"),
        ({"sbatch": ("qos=long",)}, "must look like --name"),
        ({"sbatch": ("--qos=a\n#SBATCH --uid=0",)}, "one line"),
        ({"nodes": 0}, "nodes = 0: .*greater than or equal to 1"),
        ({"account": ""}, "not be empty"),
        ({"device": "gpu"}, "device = 'gpu': device must be"),
        ({"device": "cuda"}, "device cuda without a GPU in the request: give --gpus-per-node"),
        ({"device": "cuda:1", "gpus_per_node": 2}, "MPI ranks take the GPUs of their host in turn"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(given: dict[str, object], message: str, tmp_path: Path) -> None:
    profile = tmp_path / "slurm.toml"
    profile.write_text("")
    with pytest.raises(UsageError, match=message):
        load_options(given, profile)


def test_gpus_may_be_asked_for_in_a_sites_own_words(tmp_path: Path) -> None:
    profile = tmp_path / "slurm.toml"
    profile.write_text('sbatch = ["--gres=gpu:a100:1"]\ndevice = "cuda"\n')
    options = load_options({"pack": 64}, profile)
    assert (options.device, options.pack) == ("cuda", 64)
    assert "\noptions=(--engine mpi --device cuda --pack 64)\n" in job_script("x", FOLDER, options, COMMAND)
    assert load_options({"device": "auto"}).device == "auto"


def test_profile_gives_defaults_and_the_command_line_wins(tmp_path: Path) -> None:
    profile = tmp_path / "slurm.toml"
    profile.write_text('partition = "main"\naccount = "p"\nsbatch = ["--qos=long"]\nsetup = ["module load x"]\n')
    options = load_options({"partition": "gpu", "account": None, "sbatch": ("--nice",), "exclude": ()}, profile)
    assert (options.partition, options.account) == ("gpu", "p")
    assert options.sbatch == ("--qos=long", "--nice")
    assert options.setup == ("module load x",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("partitoin = 'x'", r"slurm\.toml: partitoin = 'x': .*there is kind, partition"),
        ("nodes = '2'", r"slurm\.toml: nodes"),
        ("nodes = =", r"slurm\.toml: .*line 1"),
    ],
)
def test_faults_of_a_profile_are_named(text: str, message: str, tmp_path: Path) -> None:
    profile = tmp_path / "slurm.toml"
    profile.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_options({}, profile)
    with pytest.raises(UsageError, match=r"none\.toml: No such file"):
        load_options({}, tmp_path / "none.toml")
