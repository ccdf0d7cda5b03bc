"""docs/extend/family.md, followed in a scratch copy of the package: a family is one file and its registration."""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dash_hpc

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(dash_hpc.__file__).parent
STUDY = """[study]
name = "linear"
[data]
kind = "simulate"
genes = 8
regulators = 3
edges = 9
times = [0.0, 1.0]
trajectories = 5
test_trajectories = 1
validation = 0.4
[model]
family = "linear"
[training]
epochs = 3
lr = 0.01
[schedule]
first_epoch = 2
first_fraction = 0.5
"""
STRATEGIES = '[[strategy]]\nname = "none"\n[[strategy]]\nname = "imp"\n'


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the family of the page."""
    top = tmp_path_factory.mktemp("tree")
    copy = top / "dash_hpc"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for module in PACKAGE.rglob("*.so"):
        (copy / module.relative_to(PACKAGE)).symlink_to(module)
    page = (ROOT / "docs" / "extend" / "family.md").read_text(encoding="utf-8")
    family, registration = re.findall(r"```python\n(.*?)```", page, flags=re.S)
    (copy / "models" / "linear.py").write_text(family, encoding="utf-8")
    registry = copy / "models" / "registry.py"
    changed = registry.read_text(encoding="utf-8")
    imported, entry = (line for line in registration.splitlines(keepends=True) if "Linear" in line)
    for line, after in ((imported, "import Family\n"), (entry, "    MlpFamily(),\n")):
        assert changed.count(after) == 1
        changed = changed.replace(after, after + line)
    registry.write_text(changed, encoding="utf-8")
    return top


def _run(tree: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def test_the_page_touches_one_file_and_the_registry(tree: Path) -> None:
    copy = tree / "dash_hpc"
    names = {str(path.relative_to(copy)) for path in copy.rglob("*.py")}
    old = {name for name in names if (PACKAGE / name).exists()}
    assert names - old == {"models/linear.py"}
    different = {name for name in old if not filecmp.cmp(PACKAGE / name, copy / name, shallow=False)}
    assert different == {"models/registry.py"}
    lines = [(base / "models/registry.py").read_text(encoding="utf-8").splitlines() for base in (PACKAGE, copy)]
    assert len(lines[1]) - len(lines[0]) == 2  # its import and its entry


def test_a_study_with_it_runs_prunes_and_is_reported(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY + STRATEGIES, encoding="utf-8")
    done = _run(tree, tmp_path, "-m", "dash_hpc", "run", "study.toml", "--output", "out", "--workers", "1")
    assert done.returncode == 0, done.stderr
    program = (
        "import json, dash_hpc, numpy as np\n"
        f"assert dash_hpc.__file__.startswith({str(tree)!r})\n"
        "from dash_hpc.evaluation import effects\n"
        "store = dash_hpc.open_store('out')\n"
        "runs = store.runs\n"
        "found = {}\n"
        "for run_id, row in runs.iterrows():\n"
        "    network = store.network(run_id)\n"
        "    A = network.weights['linear_effects']\n"
        "    same = bool(np.array_equal(effects(network.weights, network.masks), A.astype(float)))\n"
        "    found[row['strategy']] = [row['status'], same, float((A == 0).mean()), float(row['sparsity'])]\n"
        "print(json.dumps(found))\n"
    )
    told = _run(tree, tmp_path, "-c", program)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout) == {"none": ["done", True, 0.0, 0.0], "imp": ["done", True, 0.5, 0.5]}
    assert "linear, hidden = 40" in (tmp_path / "out" / "report" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ('name = "dash"\nlambda_ppi = 0.1\nlambda_motif = 0.1', "needs layers that have a relation to prior networks"),
        ('name = "structured"', "needs a model that can be built on a structure"),
    ],
)
def test_what_it_cannot_do_is_refused_at_load(tree: Path, tmp_path: Path, table: str, reason: str) -> None:
    (tmp_path / "study.toml").write_text(f"{STUDY}[[strategy]]\n{table}\n", encoding="utf-8")
    done = _run(tree, tmp_path, "-m", "dash_hpc", "run", "study.toml", "--output", "out")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{reason}, which model.family = linear has not" in done.stderr
