"""Tables of edges as their projects publish them, counted with pandas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dash_hpc.data.networks import read_network
from dash_hpc.errors import PriorError


def test_collectri(data_root: Path) -> None:
    path = data_root / "priors" / "collectri.csv"
    table = pd.read_csv(path)
    genes = tuple(sorted({*table.source, *table.target}))
    network, record = read_network(path, genes)
    assert record.notes() == ()
    wanted = table.set_index(["source", "target"]).weight
    edges = network.tocoo()
    found = {(genes[i], genes[j]): w for i, j, w in zip(*edges.coords, edges.data, strict=True)}
    assert found == wanted.to_dict()


def test_trrust_asks_for_its_codes(data_root: Path) -> None:
    path = data_root / "priors" / "trrust_rawdata.human.tsv"
    table = pd.read_csv(path, sep="\t", header=None)
    genes = tuple(sorted({*table[0], *table[1]}))
    with pytest.raises(PriorError, match="a list of 4 columns without a header"):
        read_network(path, genes)
    network, record = read_network(path, genes, columns={"regulator": 1, "target": 2})
    pairs = table.drop_duplicates([0, 1])
    assert (network.nnz, record.merged) == (len(pairs), len(table) - len(pairs))


@pytest.mark.parametrize("number", [1, 2])
def test_dream4_with_and_without_signs(data_root: Path, number: int) -> None:
    genes = tuple(f"G{k}" for k in range(1, 101))
    folder = data_root / "dream4"
    plain, record = read_network(folder / f"DREAM4_GoldStandard_InSilico_Size100_{number}.tsv", genes)
    signed, _ = read_network(folder / f"insilico_size100_{number}_goldstandard_signed.tsv", genes)
    table = pd.read_csv(
        folder / f"insilico_size100_{number}_goldstandard_signed.tsv", sep="\t", header=None, keep_default_na=False
    )
    wanted = np.zeros((100, 100))
    for source, target, sign in table.itertuples(index=False):
        wanted[int(source[1:]) - 1, int(target[1:]) - 1] = {"+": 1, "-": -1}[sign]
    np.testing.assert_array_equal(signed.toarray(), wanted)
    np.testing.assert_array_equal(plain.toarray(), np.abs(wanted))
    assert record.zero == 9900 - np.count_nonzero(wanted)


def test_sim350_edge_table_is_its_matrix(data_root: Path) -> None:
    folder = data_root / "sim350"
    names = [line.strip('"').removesuffix("_input") for line in (folder / "gene_names.csv").read_text().split()[1:]]
    network, record = read_network(folder / "edge_properties.csv", names)
    np.testing.assert_array_equal(
        network.toarray(), np.loadtxt(folder / "edge_prior_matrix_simu_350_noise_0.0.csv", delimiter=",")
    )
    assert record.remarks == ("columns not read: 'EC50', 'n'",)


def test_signalling_table_with_two_sign_columns(data_root: Path) -> None:
    path = data_root / "lembas" / "macrophage-Model.tsv"
    table = pd.read_csv(path, sep="\t")
    genes = tuple(sorted({*table.source, *table.target}))
    network, record = read_network(path, genes)
    only_inhibits = (table.inhibition == 1) & (table.stimulation == 0)
    assert ((network.data < 0).sum(), network.nnz) == (only_inhibits.sum(), len(table))
    assert record.unsigned == (table.inhibition == table.stimulation).sum()
