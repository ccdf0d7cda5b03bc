"""Controls: by hand on three genes, and the published data's own numbers."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp

from dash_hpc.data import Prior, TimeCourse
from dash_hpc.errors import UsageError
from dash_hpc.evaluation import (
    bioprune_curve,
    confusion,
    margins_network,
    persistence_mse,
    prior_network,
    shuffled_accuracies,
    shuffled_balanced_accuracy,
    sources_network,
    structure_controls,
)

# regulator × target: 0 -> 1, 2 -> 1
PRIOR = sp.csr_array(np.array([[0, 1.0, 0], [0, 0, 0], [0, -1.0, 0]]))


def test_control_networks_by_hand():
    assert np.argwhere(prior_network(PRIOR, 3).toarray()).tolist() == [[1, 0], [1, 2]]
    assert np.argwhere(margins_network(PRIOR, 3).toarray()).tolist() == [[1, 0], [1, 2]]
    assert np.argwhere(sources_network(PRIOR, 3).toarray()).tolist() == [[j, i] for j in range(3) for i in (0, 2)]


def test_controls_see_the_orientation():
    truth = sp.csr_array(np.array([[0, 1.0, 1], [0, 0, 0], [0, 0, 0]]))
    controls = structure_controls(truth, truth)
    assert {name: counts.balanced_accuracy for name, counts in controls.items()} == {
        "prior": 1.0,
        "margins": 1.0,
        "sources": pytest.approx(0.5 * (1 + 6 / 7)),
    }
    assert structure_controls(truth.T.tocsr(), truth)["prior"].tpr == 0.0


@pytest.mark.parametrize("universe", ["all", "reference_tfs", "off_diagonal"])
def test_controls_are_those_of_the_matrices_spread_out(universe):
    rng = np.random.default_rng(3)
    prior, truth = (sp.csr_array((rng.random((30, 30)) < share).astype(float)) for share in (0.03, 0.05))
    for name, make in (("prior", prior_network), ("margins", margins_network), ("sources", sources_network)):
        spread = make(prior, 30).toarray()
        assert 0 < spread.sum() < 900
        assert structure_controls(prior, truth, universe)[name] == confusion(spread, truth, universe)


def test_controls_of_many_genes_need_no_matrix_of_all_pairs():
    n = 20_000
    prior = sp.csr_array((np.ones(n), (np.arange(n) % 500, np.arange(n))), shape=(n, n))
    tracemalloc.start()
    found = structure_controls(prior, prior)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found["prior"].tp, found["prior"].fp) == (n, 0)
    assert found["margins"] == found["sources"]
    assert (found["margins"].tp, found["margins"].fp, found["margins"].tn) == (n, 499 * n, n * (n - 500))
    assert peak < 20_000_000  # of all pairs, as bytes: 400 MB


def test_shuffled_network_is_at_chance():
    rng = np.random.default_rng(1)
    true = rng.random((60, 60)) < 0.1
    assert shuffled_balanced_accuracy(true.T, sp.csr_array(true.astype(float)), draws=200) == pytest.approx(
        0.5, abs=0.01
    )
    assert shuffled_balanced_accuracy(np.ones((60, 60), bool), sp.csr_array(true.astype(float))) == 0.5


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("0.0", (1.0000, 0.892, 0.863)),
        ("0.025", (0.9753, 0.860, 0.831)),
        ("0.05", (0.9498, 0.840, 0.813)),
        ("0.1", (0.8995, 0.794, 0.766)),
    ],
)
def test_controls_of_sim350(data_root, level, expected):
    def read(name):
        return sp.csr_array(np.loadtxt(data_root / "sim350" / name, delimiter=","))

    truth = read("edge_prior_matrix_simu_350_noise_0.0.csv")
    controls = structure_controls(read(f"edge_prior_matrix_simu_350_noise_{level}.csv"), truth)
    found = tuple(controls[name].balanced_accuracy for name in ("prior", "margins", "sources"))
    assert found[0] == pytest.approx(expected[0], abs=5e-5)
    assert found[1:] == pytest.approx(expected[1:], abs=6e-4)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("sim350/simu_350genes_10samples_for_testing.csv", 2.06e-2),
        ("breast/desmedt_11165genes_1TESTsample_8middleT.csv", 7.806e-5),
    ],
)
def test_persistence_on_published_data(data_root, path, expected):
    genes = {"sim350": "gene_names.csv", "breast": "desmedt_gene_names_11165.csv"}[path.split("/")[0]]
    course = TimeCourse.read_csv(data_root / path, genes=data_root / path.split("/")[0] / genes)
    assert persistence_mse(course.pairs()) == pytest.approx(expected, rel=3e-3 if expected > 1e-3 else 1e-4)


SCHEDULE = {"first_fraction": 0.7, "fraction": 0.1}


def test_untrained_bioprune_follows_the_lattice_and_the_published_accuracy(data_root):
    """Hossain et al. 2024 show BioPrune at about 83.6 % sparsity and 87.4 % balanced accuracy on SIM350."""
    folder = data_root / "sim350"
    prior = Prior.read_csv(folder / "edge_prior_matrix_simu_350_noise_0.025.csv", genes=folder / "gene_names.csv")
    clean = Prior.read_csv(folder / "edge_prior_matrix_simu_350_noise_0.0.csv", genes=folder / "gene_names.csv")
    curve = bioprune_curve(prior, clean.motif, hidden=40, schedule=SCHEDULE, seeds=(0, 1), events=9)
    means = curve.groupby("event")[["sparsity", "balanced_accuracy", "out_degree"]].mean()
    assert means["sparsity"].to_numpy() == pytest.approx(1 - 0.3 * 0.9 ** np.arange(9), abs=1e-3)
    for event, accuracy, degree in ((5, 0.8745, 81.5), (6, 0.8776, 78.4), (8, 0.8841, 70.7)):
        assert means.loc[event, "balanced_accuracy"] == pytest.approx(accuracy, abs=0.02)
        assert means.loc[event, "out_degree"] == pytest.approx(degree, rel=0.1)


def test_untrained_bioprune_refuses_nonsense():
    with pytest.raises(UsageError, match="1 or more"):
        bioprune_curve(Prior.from_arrays(PRIOR), PRIOR, hidden=0, schedule=SCHEDULE, seeds=(0,))


def test_untrained_bioprune_measures_only_the_events_asked_for():
    rng = np.random.default_rng(4)
    truth = sp.csr_array((rng.random((30, 30)) < 0.1).astype(float))
    settings = {"hidden": 6, "schedule": SCHEDULE, "seeds": (0, 5), "events": 7}
    whole = bioprune_curve(Prior.from_arrays(truth), truth, **settings)
    part = bioprune_curve(Prior.from_arrays(truth), truth, only=(4,), **settings)
    assert part.to_dict("records") == whole[whole["event"] == 4].to_dict("records")
    # 4·m·G = 720 weights, 30 % after the first event and 90 % of what is left after each further one.
    assert whole["active_weights"].to_numpy() == pytest.approx(720 * (1 - whole["sparsity"]), abs=1e-6)
    assert part["active_weights"].to_numpy() == pytest.approx([720 * 0.3 * 0.9**4] * 2, abs=8)


def test_shuffled_network_among_the_reference_regulators_by_hand():
    """Every relabelling of the 3 genes, by hand: the mean over draws tends to it."""
    edges = np.array([[0, 1, 1], [0, 0, 1], [0, 0, 0]], dtype=bool)  # target × regulator
    truth = sp.csr_array(np.array([[0, 1.0, 0], [0, 0, 0], [0, 1.0, 0]]))  # regulator 0 -> 1, regulator 2 -> 1
    expected = {}
    for universe, columns in (("all", [0, 1, 2]), ("reference_tfs", [0, 2])):
        values = []
        for targets in itertools.permutations(range(3)):
            for regulators in itertools.permutations(range(3)):
                new = edges[np.ix_(targets, regulators)]
                tp = int(new[1, 0]) + int(new[1, 2])
                fp = int(new[:, columns].sum()) - tp
                values.append(0.5 * (tp / 2 + 1 - fp / (3 * len(columns) - 2)))
        expected[universe] = float(np.mean(values))
    found = shuffled_accuracies(edges, truth, draws=4000)
    assert found == pytest.approx(expected, abs=0.015)
    assert shuffled_accuracies(sp.csr_array(edges), truth, draws=4000) == found
    assert shuffled_balanced_accuracy(edges, truth, draws=4000) == found["all"]
    with pytest.raises(UsageError, match="universe 'off_diagonal'"):
        shuffled_balanced_accuracy(edges, truth, universe="off_diagonal")
