"""Published data sets: which files they consist of, how they are divided, and what must be known about them.

The files come from the repositories of PHOENIX (Hossain et al., Genome Biology 2024) and DASH (Hossain et al. 2024),
both under the MIT licence. They are not part of this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["CATALOGUE", "DATA_ROOT", "DERIVED_INTERACTIONS", "CatalogueEntry"]

DATA_ROOT = "DASH_HPC_DATA"
_PHOENIX = "github.com/QuackenbushLab/phoenix"
_DASH = "github.com/QuackenbushLab/DASH"


@dataclass(frozen=True)
class CatalogueEntry:
    """One published data set.

    Attributes
    ----------
    name, title : str
    folder : str
        Below the folder that the environment variable DASH_HPC_DATA names.
    origin : str
        Where the files come from.
    files : mapping
        Role (train, genes, validation, test, prior, ppi, ppi_genes, truth) -> file name in ``folder``.
    hold_out : trajectory indices (from 0), ("pairs", n) or None
        The validation part of ``train``; None = ``files["validation"]``.
    prior_signed : bool
        Whether the signs of the prior mean anything.
    prior_levels : mapping
        Share of relocated edges -> published prior file; other levels are made from ``files["prior"]``.
    notes : tuple of str
        Facts that belong beside every result on these data.
    """

    name: str
    title: str
    folder: str
    origin: str
    files: Mapping[str, str]
    hold_out: tuple[int, ...] | tuple[str, int] | None = None
    prior_signed: bool = False
    prior_levels: Mapping[float, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def _breast(genes: int, **more: str) -> dict[str, str]:
    return {
        "train": f"desmedt_{genes}genes_1sample_178T.csv",
        "test": f"desmedt_{genes}genes_1TESTsample_8middleT.csv",
        "genes": f"desmedt_gene_names_{genes}.csv",
        "truth": "otter_chip_val_clean.csv",
        **more,
    }


_BREAST_NOTES = (
    "split: 8 of 178 pseudotime points start a validation pair, the other 170 train (169 pairs: the last point starts "
    "none); test: the 8 contiguous middle points that were left out",
    "one training pair spans the gap that the 8 test points left",
    "reference network: ChIP-seq in MCF7 cells; regulators without an experiment have no edges in it",
)
_NO_SIGNS = (
    "the signs of the published prior are random: only its support and size carry information, and a prior loss "
    "compares with |P|"
)
DERIVED_INTERACTIONS = "no PPI: C = |A||A|ᵀ from the motif prior"

_ENTRIES = (
    CatalogueEntry(
        name="sim350",
        title="SIM350: 350 genes in silico, 150 training and 10 test trajectories of 5 time points",
        folder="sim350",
        origin=f"{_DASH}, ground_truth_simulator/clean_data (the training file was regenerated with the published "
        "R generator's seed)",
        files={
            "train": "sim350_train_150.csv.gz",
            "test": "simu_350genes_10samples_for_testing.csv",
            "genes": "gene_names.csv",
            "prior": "edge_prior_matrix_simu_350_noise_0.0.csv",
            "truth": "edge_prior_matrix_simu_350_noise_0.0.csv",
        },
        hold_out=(3, 23, 25, 61, 74, 90, 103, 128, 139, 146),
        prior_signed=True,
        # the number in the file name is the s.d. of the expression noise that went with it, half the share
        prior_levels={
            0.0: "edge_prior_matrix_simu_350_noise_0.0.csv",
            0.05: "edge_prior_matrix_simu_350_noise_0.025.csv",
            0.1: "edge_prior_matrix_simu_350_noise_0.05.csv",
            0.2: "edge_prior_matrix_simu_350_noise_0.1.csv",
        },
        notes=(
            "training file: regenerated with the published generator and its seed, free of noise; the noise of the run "
            "is added to training and validation values, the test set stays free of noise",
            DERIVED_INTERACTIONS,
        ),
    ),
    CatalogueEntry(
        name="hema_b",
        title="Haematopoiesis, B lineage: 529 genes along pseudotime, 2 + 3 trajectories of unequal length",
        folder="hema",
        origin=f"{_DASH}, hema_data/clean_data",
        files={
            "train": "hema_B_529genes_2samples.csv",
            "test": "hema_B_529genes_3testsamples.csv",
            "genes": "hema_gene_names_529.csv",
            "prior": "edge_prior_matrix_hema_529.csv",
        },
        hold_out=(0,),
        notes=(
            "no reference network was published: balanced accuracy cannot be computed",
            "the prior is unsigned: the signs of its edges are not known",
            DERIVED_INTERACTIONS,
        ),
    ),
    CatalogueEntry(
        name="breast_500",
        title="Breast cancer (Desmedt), 500 genes along pseudotime",
        folder="breast",
        origin=f"{_PHOENIX} and {_DASH}, breast_cancer_data/clean_data",
        files=_breast(
            500,
            prior="edge_prior_matrix_desmedt_500.csv",
            ppi="PPI_matrix_desmedt_11165.csv",
            ppi_genes="desmedt_gene_names_11165.csv",
        ),
        hold_out=("pairs", 8),
        notes=(*_BREAST_NOTES, _NO_SIGNS),
    ),
    CatalogueEntry(
        name="breast_2000",
        title="Breast cancer (Desmedt), 2000 genes along pseudotime",
        folder="breast",
        origin=f"{_PHOENIX} and {_DASH}, breast_cancer_data/clean_data",
        files=_breast(2000),
        hold_out=("pairs", 8),
        notes=(
            *_BREAST_NOTES,
            "no motif prior was published for these 2000 genes: strategies that need a prior cannot run; "
            'give your own with kind = "files"',
        ),
    ),
    CatalogueEntry(
        name="yeast_500",
        title="Yeast cell cycle (Pramila), 500 genes, two replicates of 24 time points in minutes",
        folder="yeast",
        origin=f"{_PHOENIX}, pramila_yeast_data/clean_data",
        files={
            "train": "pramila_500genes_1sample_24T.csv",
            "validation": "pramila_500genes_1VALsample_24T.csv",
            "genes": "pramila500_gene_names.csv",
            "prior": "edge_prior_matrix_pramila_500.csv",
        },
        notes=(
            "no reference network in the published files: balanced accuracy cannot be computed",
            "one replicate trains and the other validates: there is no test set",
            "values are log ratios; the time point of 105 min was not measured",
            _NO_SIGNS,
            DERIVED_INTERACTIONS,
        ),
    ),
)

CATALOGUE: dict[str, CatalogueEntry] = {entry.name: entry for entry in _ENTRIES}
