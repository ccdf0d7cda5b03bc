"""The tables of the documentation are those of the benchmarks' figures."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("benchmark_tables", ROOT / "benchmarks" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_documents_hold_the_measured_tables(tables):
    for name in tables.DOCUMENTS:
        text = (ROOT / name).read_text()
        assert tables.renewed(text, RESULTS) == text, f"{name}: run python benchmarks/tables.py"


def test_every_table_has_its_place(tables):
    text = "".join((ROOT / name).read_text() for name in tables.DOCUMENTS)
    for name in tables.TABLES:
        assert f"<!-- {name} -->\n" in text


def test_a_new_figure_changes_its_table_alone(tables, tmp_path):
    report = json.loads((RESULTS / "train_step.json").read_text())
    report["rows"][0]["median_ms"] = 123.456
    (tmp_path / "train_step.json").write_text(json.dumps(report))
    text = (ROOT / "docs" / "performance.md").read_text()
    new = tables.renewed(text, tmp_path)
    assert "123.46 ms" in new
    start, end = text.index("<!-- train_step -->"), text.index("<!-- end -->")
    assert new.startswith(text[:start])
    assert new.endswith(text[end:])
