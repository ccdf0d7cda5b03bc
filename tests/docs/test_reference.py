"""The generated pages are current, links lead somewhere, and what the documentation shows works."""

from __future__ import annotations

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from dash_hpc.data import CATALOGUE, TimeCourse
from dash_hpc.execution import run_study
from dash_hpc.study import load_study, parse_study

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FOLDERS = ("benchmarks", "containers", "csrc", "dash_hpc", "examples", "slurm", "tests")
FURTHER = sorted(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def reference():
    spec = spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["cli.md", "study.md"])
def test_generated_pages_are_current(reference, page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert text == reference.PAGES[page](), "run: make docs"


def test_every_key_of_every_section_is_in_the_study_reference(reference):
    text = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    sections = [section for name, section in reference.SECTIONS.items() if name != "model"]
    models = [*sections, *reference.MODELS.values(), *reference.DATA_KINDS.values(), *reference.STRATEGIES.values()]
    models += [reader.Keys for reader in dict.fromkeys(reference.READERS.values())]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) == sum(len(model.model_fields) for model in models)
    for model in models:
        for key, info in model.model_fields.items():
            assert info.description, f"{model.__name__}.{key} has no description"


def _anchors(text):
    headings = re.findall(r"^#+ (.*)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *FURTHER], ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name}: {link}"
        assert ROOT in target.parents or target == ROOT, f"{page.name}: {link} leaves the repository"
        if anchor:
            assert anchor in _anchors(target.read_text(encoding="utf-8")), f"{page.name}: {link}"


def test_every_page_is_reached_from_the_readme():
    found, open_pages = set(), [ROOT / "README.md"]
    while open_pages:
        page = open_pages.pop()
        if page in found:
            continue
        found.add(page)
        links = [link.partition("#")[0] for link in LINK.findall(page.read_text(encoding="utf-8"))]
        open_pages += [(page.parent / link).resolve() for link in links if link.endswith(".md")]
    assert {page.name for page in PAGES} == {page.name for page in found}


def test_the_picture_of_the_readme_is_small():
    assert (ROOT / "docs" / "images" / "sim350-tradeoff.png").stat().st_size < 200_000


def _code(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.S)


def test_the_python_lines_of_the_readme_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["data.genes=12", "data.regulators=4", "data.edges=16", "data.trajectories=10", "training.epochs=6",
             "sweep.seeds=0", "strategy.dash.lambda_ppi=0.05", "strategy.dash.lambda_motif=0.01"]  # fmt: skip
    study = load_study(ROOT / "examples" / "quick.toml", small)
    run_study(study, output="results/my-study", workers=1, progress="none")
    names: dict = {}
    (lines,) = _code("README.md", "python")
    assert len([line for line in lines.splitlines() if line.strip()]) <= 12
    exec(lines, names)
    assert names["later"].shape[-1] == len(names["network"].genes) == 12
    assert names["edges"]["effect"].abs().is_monotonic_decreasing
    assert "acts on" in capsys.readouterr().out


@pytest.mark.parametrize("page", ["README.md", "docs/data.md"])
def test_the_studies_in_the_documentation_are_valid(page):
    for text in _code(page, "toml"):
        parse_study(f'{text}\n[[strategy]]\nname = "dash"\nlambda_ppi = 0.05\nlambda_motif = 0.01\n')


def test_the_expression_file_in_the_documentation_is_read_as_described(tmp_path):
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    block = re.search(r"((?:^    [\d.,]+\n)+)", text, flags=re.M)[1]
    file = tmp_path / "expression.csv"
    file.write_text(re.sub(r"^    ", "", block, flags=re.M), encoding="utf-8")
    course = TimeCourse.read_csv(file)
    assert course.n_genes == 3
    assert [len(trajectory.times) for trajectory in course.trajectories] == [4, 3]
    # One of three genes is missing at t = 2: no step starts there, and the one that ends there counts for the others.
    pairs = course.pairs()
    assert len(pairs) == 3 - 1 + 2
    assert np.isnan(pairs.y1).sum() == np.isnan(pairs.y1[0, 2]) == 1


def test_the_table_of_published_data_is_that_of_the_catalogue():
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    for name, entry in CATALOGUE.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        for file in (*entry.files.values(), *entry.prior_levels.values()):
            assert f"`{file}`" in row
