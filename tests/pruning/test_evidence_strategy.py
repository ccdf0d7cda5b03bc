"""The strategy that computes a model: through a study, with what it leaves in the store."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

import dash_hpc
from dash_hpc.data import DataSet, Prior, TimeCourse
from dash_hpc.errors import RunFailed, StudyError, UsageError
from dash_hpc.evidence.decide import MODES, EvidenceOptions
from dash_hpc.evidence.finding import find_network
from dash_hpc.evidence.model import fit_model
from dash_hpc.execution import run_one, run_study
from dash_hpc.models.phoenix.assemble import assemble
from dash_hpc.network import edges_of
from dash_hpc.ops import solve_arrays
from dash_hpc.pruning import STRATEGIES
from dash_hpc.pruning.evidence import FromEvidenceOptions
from dash_hpc.store import compare_runs, open_store, run_path
from dash_hpc.study import load_study
from dash_hpc.training import Fit, Pack, Trainer
from tests.evidence.networks import TIMES, simulate, state, target
from tests.small_runs import run_spec, same

GENES = 30
REGULATORS = 8
STUDY = """[study]
name = "computed"
[data]
kind = "simulate"
genes = 24
regulators = 6
edges = 40
trajectories = 40
test_trajectories = 4
expression_noise = 0.02
prior_noise = 0.1
[training]
epochs = 3
[sweep]
seeds = "0..1"
[[strategy]]
name = "evidence"
mode = ["network", "strict"]
[[strategy]]
name = "none"
"""


def network() -> Any:
    """Targets of two or three of the constant regulators 0 to 7, and of dynamic gene 8."""
    rng = np.random.default_rng(4)
    found = []
    for gene in range(REGULATORS, GENES):
        members = rng.choice(REGULATORS, int(rng.integers(1, 4)), replace=False).tolist()
        if gene % 3 == 0 and gene > REGULATORS:
            members[0] = REGULATORS
        sign = rng.choice([-1.0, 1.0], len(members))
        found.append(target(gene, dict(zip(map(int, members), 0.8 * sign, strict=True))))
    return state(GENES, found, 0.02**2)


def dataset(*, prior: bool = True, genes: tuple[int, ...] = tuple(range(GENES)), n: int = 60) -> DataSet:
    known = network()
    rng = np.random.default_rng(5)
    rates = np.r_[np.zeros(REGULATORS), np.full(GENES - REGULATORS, 0.9)]
    values = simulate(known, rates, rng.uniform(0, 1, (n + 4, GENES)), TIMES)
    values = values + rng.normal(0, 0.02, values.shape)
    motif = np.zeros((GENES, GENES))
    for gene, found in known.targets.items():
        motif[found.members, gene] = np.sign(found.coefficients)
    motif[[5, 6], [20, 21]] = 1.0  # edges that are not there, or are
    order = np.array(genes)
    names = [f"g{gene}" for gene in genes]
    courses = [
        TimeCourse.from_arrays(part[:, :, order], [TIMES] * len(part), names) for part in (values[:n], values[n:])
    ]
    given = Prior.from_arrays(motif[np.ix_(order, order)], names) if prior else None
    return DataSet("computed", *courses, prior=given, time_unit=1.0)


def spec(**options: Any) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "model": {"hidden": 4, "init_U": "orthogonal"},
        "solver": {"method": "dopri5", "rtol": 1e-6, "atol": 1e-8, "step": "auto"},
        "training": {"epochs": 5, "prior_points": 4},
        "schedule": {"every": 0, "fraction": 0.1},
    }
    return run_spec(parts, {"name": "evidence", **options}, 0, {})


def truth() -> np.ndarray:
    """Target × regulator of the planted network."""
    found = np.zeros((GENES, GENES), dtype=bool)
    for gene, own in network().targets.items():
        found[gene, own.members] = True
    return found


@pytest.fixture(scope="module")
def trained() -> tuple[Fit, Trainer]:
    trainer = Trainer(dataset(), spec())
    return trainer.fit(), trainer


def edges(weights: Any) -> np.ndarray:
    """Target × regulator, as the stored entries join them."""
    stored = {name: abs(weights[name]) for name in ("W_sums", "U_sums", "W_prods", "U_prods")}
    return ((stored["U_sums"] @ stored["W_sums"] + stored["U_prods"] @ stored["W_prods"]) != 0).toarray()


def test_the_network_is_found_and_the_model_predicts(trained: tuple[Fit, Trainer]) -> None:
    fit, _ = trained
    assert fit.kept is not None
    assert (fit.epoch, fit.stop_reason) == (1, "epochs")
    found = edges(fit.kept.weights)
    assert (found & truth()).sum() >= 0.95 * truth().sum()
    assert (found & ~truth()).sum() <= 2
    assert fit.kept.validation_mse < 1.6 * 2 * 0.02**2  # noise at both ends of a step
    assert all(isinstance(fit.kept.weights[name], csr_array) for name in fit.kept.masks)
    assert fit.kept.weights["v"][:REGULATORS].tolist() == [0.0] * REGULATORS
    assert np.abs(fit.kept.weights["v"][REGULATORS:] - 0.9).max() < 0.1


def test_the_table_has_listed_and_taken_edges_and_what_is_expected(trained: tuple[Fit, Trainer]) -> None:
    fit, trainer = trained
    assert fit.kept is not None
    evidence = trainer.strategy.evidence()
    assert evidence is not None
    table, facts = evidence.edges, evidence.facts
    pairs = list(zip(table["target"], table["regulator"], strict=True))
    assert len(set(pairs)) == len(pairs)
    taken = np.zeros((GENES, GENES), dtype=bool)
    place = {f"g{gene}": gene for gene in range(GENES)}
    for (to, by), kept in zip(pairs, table["taken"], strict=True):
        taken[place[to], place[by]] = kept
    np.testing.assert_array_equal(taken, edges(fit.kept.weights))
    prior = trainer.dataset.prior
    assert prior is not None
    assert table["listed"].sum() == facts["listed"] == prior.n_edges
    assert facts["taken"] == table["taken"].sum()
    assert facts["new"] == (table["taken"] & ~table["listed"]).sum()
    signs = dict(zip(pairs, table["sign"], strict=True))
    motif = prior.motif.tocoo()
    for by, to, value in zip(*motif.coords, motif.data, strict=True):
        assert signs[f"g{to}", f"g{by}"] == value
    odds = table["prior_log_odds"] + table["log_bf"]
    np.testing.assert_allclose(table["log_odds"], odds, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(table["probability"], 1 / (1 + np.exp(-np.clip(odds, -700, 700))), rtol=0, atol=1e-9)
    wrong = (1 - table["probability"])[table["taken"]].mean()
    assert facts["expected_fdr"] == pytest.approx(wrong, rel=1e-6)
    assert facts["noise"] == pytest.approx(0.02, rel=0.1)
    assert facts["constant_genes"] == REGULATORS
    assert facts["decided_targets"] > 0.9
    assert facts["prior_used"] == 1
    assert {"supported", "undecided", "refused"} >= set(table["verdict"])
    assert (table["verdict"][table["taken"] & (table["log_bf"] > 2)] == "supported").all()
    json.dumps(facts, allow_nan=False)


def test_it_is_the_same_again_in_a_pack_and_whatever_the_seed(trained: tuple[Fit, Trainer]) -> None:
    fit, _ = trained
    runs = [Trainer(dataset(), {**spec(), "seed": seed}) for seed in (0, 7)]
    for found in Pack(threads=2).run([run.steps() for run in runs]):
        same(found, fit)


def test_genes_in_another_order_give_the_same_model(trained: tuple[Fit, Trainer]) -> None:
    fit, trainer = trained
    order = tuple(np.random.default_rng(3).permutation(GENES).tolist())
    other = Trainer(dataset(genes=order), spec())
    moved = other.fit()
    assert fit.kept is not None
    assert moved.kept is not None
    np.testing.assert_array_equal(edges(moved.kept.weights), edges(fit.kept.weights)[np.ix_(order, order)])
    np.testing.assert_allclose(moved.kept.validation_mse, fit.kept.validation_mse, rtol=1e-4)
    one, two = (run.strategy.evidence().edges for run in (trainer, other))  # type: ignore[union-attr]
    by_pair = [dict(zip(zip(e["target"], e["regulator"], strict=True), e["log_bf"], strict=True)) for e in (one, two)]
    assert by_pair[0].keys() == by_pair[1].keys()
    np.testing.assert_allclose(
        [by_pair[1][pair] for pair in by_pair[0]], list(by_pair[0].values()), rtol=1e-5, atol=1e-5
    )


def test_without_a_prior() -> None:
    trainer = Trainer(dataset(prior=False), spec())
    fit = trainer.fit()
    evidence = trainer.strategy.evidence()
    assert fit.kept is not None
    assert evidence is not None
    assert evidence.facts["corruption"] is None
    assert evidence.facts["prior_used"] is None
    assert evidence.facts["listed"] == 0
    assert not evidence.edges["listed"].any()
    found = edges(fit.kept.weights)
    assert (found & truth()).sum() >= 0.85 * truth().sum()
    assert (found & ~truth()).sum() <= 4


@pytest.mark.parametrize("kind", ["reversed", "permuted"])
def test_a_prior_that_is_wrong_as_a_whole_changes_nothing(kind: str) -> None:
    whole, alone = dataset(), Trainer(dataset(prior=False), spec())
    assert whole.prior is not None
    order = np.random.default_rng(8).permutation(GENES)
    motif = whole.prior.motif.T if kind == "reversed" else whole.prior.motif.toarray()[np.ix_(order, order)]
    trainer = Trainer(replace(whole, prior=replace(whole.prior, motif=csr_array(motif))), spec())
    fit, without = trainer.fit(), alone.fit()
    assert fit.kept is not None
    assert without.kept is not None
    np.testing.assert_array_equal(edges(fit.kept.weights), edges(without.kept.weights))
    evidence = trainer.strategy.evidence()
    assert evidence is not None
    assert (evidence.facts["prior_used"], evidence.facts["listed"]) == (0, whole.prior.n_edges)
    assert evidence.facts["corruption"] > 0.9
    (note,) = trainer.strategy.notes()
    assert "so that it was left out" in note


def test_a_prior_whose_genes_are_renamed_is_found_to_be_wrong_and_refused() -> None:
    data = dataset()
    assert data.prior is not None
    order = np.random.default_rng(1).permutation(GENES)
    renamed = csr_array(csr_array(data.prior.motif)[order][:, order])
    trainer = Trainer(replace(data, prior=replace(data.prior, motif=renamed)), spec())
    fit, spurious = trainer.fit(), (renamed.toarray().T != 0) & ~truth()
    evidence = trainer.strategy.evidence()
    assert fit.kept is not None
    assert evidence is not None
    found = edges(fit.kept.weights)
    assert (found & truth()).sum() >= 0.85 * truth().sum()
    assert (found & spurious).sum() <= 0.2 * spurious.sum()
    assert evidence.facts["corruption"] == pytest.approx(spurious.sum() / renamed.nnz, abs=0.05)


def test_the_found_network_predicts_as_the_true_one_with_the_same_fit(trained: tuple[Fit, Trainer]) -> None:
    fit, trainer = trained
    assert fit.kept is not None
    data = trainer.dataset
    found = find_network(data, EvidenceOptions())
    taken = truth()[found.ledger.target, found.ledger.regulator]
    assert taken.sum() == truth().sum()
    oracle = fit_model(found.reading, found.ledger, replace(found.decision, taken=taken))
    ends = trainer.validation
    solved = solve_arrays(assemble(oracle.drives, oracle.rates), ends.y0, ends.dt)
    mse, _ = ends.errors(solved.y1)
    assert fit.kept.validation_mse == pytest.approx(mse, rel=0.05)


def test_the_prior_decides_where_the_data_cannot(trained: tuple[Fit, Trainer]) -> None:
    assert trained[1].strategy.notes() == ()
    whole = dataset(n=2)
    trainer = Trainer(whole, spec())
    fit = trainer.fit()
    evidence = trainer.strategy.evidence()
    assert fit.kept is not None
    assert evidence is not None
    assert evidence.facts["decided_targets"] < 0.05
    assert (evidence.facts["new"], evidence.facts["taken"]) == (0, edges(fit.kept.weights).sum())
    possible = np.isfinite(evidence.edges["log_odds"])  # not of genes that do not move
    np.testing.assert_array_equal(evidence.edges["taken"], evidence.edges["listed"] & possible)
    assert evidence.edges["taken"].sum() > 20
    (note,) = trainer.strategy.notes()
    assert "the network is the prior's" in note


@pytest.mark.parametrize("edges", [0, 3])
def test_data_that_say_nothing_fail_in_one_line(edges: int) -> None:
    rng = np.random.default_rng(0)
    values = [np.repeat(rng.uniform(0, 1, (1, 6)), 4, axis=0) + rng.normal(0, 0.01, (4, 6)) for _ in range(30)]
    still = [TimeCourse.from_arrays(part, [np.arange(4.0)] * len(part)) for part in (values[:26], values[26:])]
    motif = np.zeros((6, 6))
    motif[0, 1 : 1 + edges] = 1
    prior = Prior.from_arrays(motif, still[0].genes)
    with pytest.raises(RunFailed, match="no gene of data set 'still' changes within a trajectory"):
        Trainer(DataSet("still", *still, prior=prior), spec()).fit()


def test_where_every_gene_moves_and_none_regulates_nothing_is_found() -> None:
    rng = np.random.default_rng(0)
    values = 0.5 + (rng.uniform(0, 1, (40, 1, 6)) - 0.5) * np.exp(-0.7 * np.array(TIMES))[None, :, None]
    values += rng.normal(0, 0.01, values.shape)
    courses = [TimeCourse.from_arrays(part, [TIMES] * len(part)) for part in (values[:36], values[36:])]
    fit = Trainer(DataSet("alone", *courses), spec()).fit()
    assert fit.kept is not None
    assert edges(fit.kept.weights).sum() == 0


def test_a_family_that_cannot_be_written_down_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY.replace("[training]", '[model]\nfamily = "mlp"\n[training]'))
    words = "needs a model that can be written down without training, which model.family = mlp has not"
    with pytest.raises(StudyError, match=words):
        load_study(tmp_path / "study.toml")


def test_options_are_those_of_the_search() -> None:
    assert STRATEGIES["evidence"].Options is FromEvidenceOptions
    assert FromEvidenceOptions.model_fields["mode"].annotation.__args__ == MODES  # type: ignore[union-attr]
    assert FromEvidenceOptions(keep=-2, admit=1.5).keep == -2.0
    for wrong in ({"keep": "low"}, {"admit": 1e9}, {"mode": "best"}, {"rounds": 0}, {"alpha": 2.0}):
        with pytest.raises(UsageError):
            FromEvidenceOptions(**wrong)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("computed")
    (place / "study.toml").write_text(STUDY)
    run_study(place / "study.toml", output=place / "out", workers=1, progress="none")
    return place / "out"


def test_a_study_runs_it_and_stores_the_edges(folder: Path) -> None:
    store = open_store(folder)
    assert store.counts()["done"] == 6, store.runs["reason"].tolist()
    rows = store.runs.query("strategy == 'evidence'")
    assert len(rows) == 4
    assert set(rows["epochs"]) == {1}
    assert set(rows["epoch"]) == {1}
    assert rows["balanced_accuracy"].notna().all()
    for run_id in rows.index:
        evidence, network = store.evidence(run_id), store.network(run_id)
        joined = edges_of(store, run_id)
        assert len(joined.frame()) == evidence.facts["taken"] == evidence.edges["taken"].sum()
        assert set(evidence.edges["regulator"]) <= set(network.genes)
        assert evidence.facts["mode"] == rows.loc[run_id, "mode"]
    strict, usual = (rows[rows["mode"] == mode].index[0] for mode in ("strict", "network"))
    assert store.evidence(strict).facts["taken"] <= store.evidence(usual).facts["taken"]


def test_a_run_that_lost_its_file_has_the_same_bits_again(folder: Path, tmp_path: Path) -> None:
    again = Path(shutil.copytree(folder, tmp_path / "out"))
    (tmp_path / "study.toml").write_text(STUDY)
    run_id = open_store(folder).runs.query("strategy == 'evidence'").index[0]
    run_path(again, run_id).unlink()
    run_study(tmp_path / "study.toml", output=again, workers=1, progress="none")
    assert compare_runs(run_path(again, run_id), run_path(folder, run_id)) == []


_KILLED = """
import os, signal, sys
from dash_hpc.evidence import rounds
from dash_hpc.execution import run_one

whole = rounds.smooth

def smooth(*arguments, **options):
    whole(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)

rounds.smooth = smooth
run_one(sys.argv[1], sys.argv[2])
"""


def test_killed_in_the_middle_of_its_search_it_begins_again_with_the_same_bits(folder: Path, tmp_path: Path) -> None:
    again = Path(shutil.copytree(folder, tmp_path / "out"))
    run_id = open_store(folder).runs.query("strategy == 'evidence'").index[0]
    run_path(again, run_id).unlink()
    environment = {**os.environ, "PYTHONPATH": str(Path(dash_hpc.__file__).parents[1])}
    words = [sys.executable, "-c", _KILLED, str(again), run_id]
    killed = subprocess.run(words, env=environment, check=False, capture_output=True, text=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert open_store(again).status(run_id) == "running"
    assert not list(again.rglob("*.ckpt.h5"))  # its only epoch begins anew
    assert run_one(str(again), run_id) == "done"
    assert compare_runs(run_path(again, run_id), run_path(folder, run_id)) == []


def test_a_signal_ends_the_search_at_once() -> None:
    data = dataset()
    before, after = signal.getsignal(signal.SIGPROF), 0.15

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGPROF, end)
    began = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, after)  # by the time of the processor: other work on it does not count
    try:
        with pytest.raises(KeyboardInterrupt):
            list(map(partial(find_network, data), repeat(EvidenceOptions())))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    assert time.process_time() - began < after + 0.3
