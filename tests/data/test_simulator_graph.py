"""Networks of the simulator: random, sampled, read from a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from dash_hpc.data.simulator import Network, random_network, read_edge_table, sample_subnetwork
from dash_hpc.errors import DataError, UsageError

HEADER = "from,to,weight,activation,EC50,n\n"


@pytest.mark.parametrize(
    ("genes", "regulators", "edges"),
    [(60, 15, 90), (350, 97, 550), (2, 1, 1), (2, 2, 2), (4, 4, 12), (10, 3, 9), (10, 3, 27), (30, 30, 30), (8, 7, 7)],
)
def test_random_network_has_the_sizes_asked_for(genes: int, regulators: int, edges: int) -> None:
    for seed in range(5):
        network = random_network(genes, regulators, edges, np.random.default_rng(seed))
        assert (network.n_genes, network.n_edges) == (genes, edges)
        assert (network.out_degree > 0).sum() == regulators
        assert (network.out_degree + network.in_degree > 0).all()
        assert (network.source != network.target).all()
        pairs = np.stack([network.source, network.target])
        assert np.unique(pairs, axis=1).shape[1] == edges
        inputs = int(network.is_input.sum())
        assert network.is_input[:inputs].all()
        assert network.activation.sum() == round(374 / 550 * edges)


def test_random_network_of_sim350_size_resembles_it() -> None:
    network = random_network(350, 97, 550, np.random.default_rng(1))
    assert network.is_input.sum() == 73
    degree = np.sort(network.out_degree[network.out_degree > 0])[::-1]
    assert degree[0] >= 15  # SIM350: 37; a random (Poisson) graph of mean 5.7 stays near 13
    assert degree[-1] <= 3
    assert 5 <= network.in_degree.max() <= 20  # SIM350: 13
    assert network.genes[0] == "G001"
    assert network.genes[-1] == "G350"


@pytest.mark.parametrize(
    ("genes", "regulators", "edges", "key"),
    [
        (1, 1, 1, "genes = 1"),
        (10, 0, 9, "regulators = 0"),
        (10, 11, 20, "regulators = 11"),
        (10, 3, 6, "edges = 6: 10 genes with 3 regulators need 7 to 27"),
        (10, 3, 28, "edges = 28"),
        (10, 10, 91, "at most 90 ordered pairs"),
        (10, 9, 8, "edges = 8"),
    ],
)
def test_impossible_sizes_are_refused(genes: int, regulators: int, edges: int, key: str) -> None:
    with pytest.raises(UsageError, match=key) as caught:
        random_network(genes, regulators, edges, np.random.default_rng(0))
    assert "\n" not in str(caught.value)


def test_every_feasible_size_of_a_small_network_is_drawn() -> None:
    for regulators in range(1, 6):
        for edges in range(max(regulators, 5 - regulators), regulators * 4 + 1):
            network = random_network(5, regulators, edges, np.random.default_rng(edges))
            assert (network.out_degree > 0).sum() == regulators
            assert network.n_edges == edges
            assert (network.out_degree + network.in_degree > 0).all()


def test_subnetwork_is_a_connected_part_of_the_whole() -> None:
    whole = random_network(300, 60, 600, np.random.default_rng(3))
    part = sample_subnetwork(whole, 80, np.random.default_rng(4))
    assert part.n_genes <= 80
    assert (part.out_degree + part.in_degree > 0).all()
    known = {whole.edge_name(k): bool(whole.activation[k]) for k in range(whole.n_edges)}
    assert all(known[part.edge_name(k)] == part.activation[k] for k in range(part.n_edges))
    # Induced: no edge between chosen genes is lost.
    chosen = set(part.genes)
    induced = [k for k in range(whole.n_edges) if set(whole.edge_name(k).split(" -> ")) <= chosen]
    assert len(induced) == part.n_edges
    assert connected_components(part.signed_matrix(), directed=False)[0] == 1
    assert part.is_input[: part.is_input.sum()].all()


def test_subnetwork_is_more_modular_than_a_random_choice() -> None:
    rng = np.random.default_rng(0)
    # Two dense blocks of 30 genes, joined by one edge.
    source, target = np.nonzero(np.kron(np.eye(2), np.ones((30, 30))) * (rng.random((60, 60)) < 0.2))
    apart = source != target
    names = [f"{'ab'[k // 30]}{k}" for k in range(60)]
    network = Network.from_edges(names, np.r_[source[apart], 0], np.r_[target[apart], 59], True)
    part = sample_subnetwork(network, 25, rng, min_regulators=3)
    assert len({gene[0] for gene in part.genes}) == 1


def test_subnetwork_takes_regulators_first() -> None:
    whole = random_network(300, 60, 600, np.random.default_rng(3))
    regulators = {whole.genes[k] for k in np.flatnonzero(whole.out_degree)}
    for seed in range(5):
        part = sample_subnetwork(whole, 20, np.random.default_rng(seed), min_regulators=15)
        assert len(regulators & set(part.genes)) >= 12


@pytest.mark.parametrize(("genes", "fraction"), [(1, 0.25), (301, 0.25), (10, 0.0), (10, 1.5)])
def test_impossible_samples_are_refused(genes: int, fraction: float) -> None:
    whole = random_network(300, 60, 600, np.random.default_rng(3))
    with pytest.raises(UsageError):
        sample_subnetwork(whole, genes, np.random.default_rng(0), top_fraction=fraction)


def test_self_loop_leaves_a_gene_an_input() -> None:
    network = Network.from_edges(["a", "b"], [0, 0], [0, 1], True)
    assert network.is_input.tolist() == [True, False]


def test_edge_table_round_trip(tmp_path: Path) -> None:
    network = random_network(20, 6, 30, np.random.default_rng(0))
    network.table().to_csv(tmp_path / "edges.csv", index=False, float_format="%.17g")
    again = read_edge_table(tmp_path / "edges.csv", [f"{g}_input" for g in network.genes])
    assert again.genes == network.genes
    for field in ("source", "target", "activation", "weight", "ec50", "exponent"):
        np.testing.assert_array_equal(getattr(again, field), getattr(network, field))
    inputs = read_edge_table(tmp_path / "edges.csv").is_input
    assert inputs[: inputs.sum()].all()


def test_gene_called_na_is_a_name(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(HEADER + "NA,B,1,TRUE,0.5,1.5\n")
    assert read_edge_table(tmp_path / "e.csv").genes == ("NA", "B")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from,to,weight,activation,EC50\nA,B,1,TRUE,0.5\n", r"line 1: column 'n' is missing"),
        (HEADER + "A,B,1,TRUE,0.5,1.4\nA,C,1,YES,0.5,1.4\n", r"line 3, column 'activation': 'YES'"),
        (HEADER + "A,B,heavy,TRUE,0.5,1.4\n", r"line 2, column 'weight': 'heavy'"),
        (HEADER + "A,B,1,TRUE,0.5,1.4\nA,B,1,FALSE,0.5,1.4\n", "A -> B appears twice"),
        (HEADER + "A,B,1.5,TRUE,0.5,1.4\n", r"A -> B has a weight outside \[0, 1\]"),
        (HEADER + "A,B,1,TRUE,1.2,1.4\n", r"A -> B has an EC50 outside \(0, 1\)"),
        (HEADER + "A,B,1,TRUE,0.5,1\n", r"A -> B has EC50\^n = 1/2"),
        (HEADER + "A,B,1,TRUE,0.5,-2\n", "A -> B has a Hill exponent"),
        ("", "not a readable edge table"),
    ],
)
def test_malformed_edge_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "edges.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_edge_table(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_edge_table_with_a_foreign_gene_is_refused(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(HEADER + "A,B,1,TRUE,0.5,1.5\nA,C,1,TRUE,0.5,1.5\n")
    with pytest.raises(DataError, match="line 3, column 'to': 'C' is not in the list"):
        read_edge_table(tmp_path / "e.csv", ["A", "B"])
    with pytest.raises(DataError, match="no such file"):
        read_edge_table(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="'A' appears twice"):
        read_edge_table(tmp_path / "e.csv", ["A", "B", "C", "A"])
