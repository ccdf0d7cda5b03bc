"""The examples of docs/store.md for programs that know nothing of dash-hpc: they are run as they stand there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from dash_hpc.store import compact, open_store, run_path

PAGE = Path(__file__).parents[2] / "docs" / "store.md"


def example(heading: str) -> str:
    """Return the indented lines below a line of the page that begins with ``heading``."""
    rest = PAGE.read_text(encoding="utf-8").split(f"\n{heading}", 1)[1].split("\n\n", 1)[1]
    lines = []
    for line in rest.splitlines():
        if line and not line.startswith("    "):
            break
        lines.append(line[4:])
    return "\n".join(lines).strip()


def bundle_example(language: str) -> str:
    """Return the command that takes a run out of a bundle."""
    found = re.search(rf"^    (\S.*?) +# {language}$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return found[1]


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


@pytest.fixture
def store(make_hashed: Callable[[Sequence[str]], Path]) -> Path:
    return make_hashed(["done", "failed"])


def run_file(store: Path) -> Path:
    return run_path(store, open_store(store).planned[0])


def shell(command: str, folder: Path) -> str:
    done = subprocess.run(["sh", "-ec", command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_h5dump_reads_a_run(store: Path) -> None:
    needs("h5dump")
    commands = example("Shell:").replace("results/quick/runs/3f/3f2a….h5", str(run_file(store)))
    text = shell(commands, store)
    assert '(0): "done"' in text
    assert "(0): 0.6, nan" in text
    spec = re.search(r'\(0\): "(\{.*\})"', text)
    assert spec is not None
    assert json.loads(spec[1]) == open_store(store).spec(run_file(store).stem)


def r(lines: str, answer: str, folder: Path) -> dict[str, object]:
    """Run lines of R and return the named list ``answer``."""
    script = folder / "script.R"
    script.write_text(f"{lines}\ncat(jsonlite::toJSON({answer}, digits = NA, na = 'string'))\n", encoding="utf-8")
    done = subprocess.run(
        ["Rscript", "--vanilla", str(script)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_r_reads_a_run(store: Path) -> None:
    needs("Rscript")
    lines = example("R (packages").replace("results/quick/runs/3f/3f2a….h5", str(run_file(store)))
    parts = "history = history, spec = spec, W = as.matrix(W), metrics = as.list(metrics), status = status"
    answer = r(lines, f"list({parts})", store)
    record = open_store(store).record(run_file(store).stem)
    assert [row["validation_mse"] for row in answer["history"]] == [0.6, "NaN"]  # type: ignore[attr-defined]
    assert [row["epoch"] for row in answer["history"]] == [1, 2]  # type: ignore[attr-defined]
    assert answer["spec"]["strategy"]["omega0"] == ["uniform"]  # type: ignore[index]
    assert record.network is not None
    np.testing.assert_array_equal(np.asarray(answer["W"], dtype=np.float32), record.network.weights["W_sums"])
    assert answer["metrics"] == {name: [value] for name, value in record.metrics.items()}
    assert answer["status"] == ["done"]


@pytest.mark.parametrize(("language", "program"), [("shell", "h5dump"), (r"R", "Rscript")])
def test_a_run_comes_out_of_a_bundle_as_it_went_in(store: Path, language: str, program: str, tmp_path: Path) -> None:
    needs(program)
    path = run_file(store)
    whole = path.read_bytes()
    compact(store)
    assert not path.exists()
    (bundle,) = (store / "bundles").iterdir()
    command = bundle_example(language).replace("2aed74d6b6e71e34", path.stem).replace("bundle.h5", str(bundle))
    if language == "shell":
        shell(command, tmp_path)
    else:
        r(f"library(rhdf5)\n{command}", "list(done = TRUE)", tmp_path)
    assert (tmp_path / "run.h5").read_bytes() == whole
