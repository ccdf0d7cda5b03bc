"""Prior knowledge about a gene list: a signed regulator × target map and, where known, interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array, issparse

from dash_hpc.data.genefile import read_gene_names
from dash_hpc.data.genes import gene_tuple
from dash_hpc.data.merge import canonical, symmetrised
from dash_hpc.data.networks import read_interactions, read_network
from dash_hpc.data.record import NetworkRecord
from dash_hpc.errors import PriorError, UsageError

__all__ = ["Prior"]


@dataclass(frozen=True, eq=False, repr=False)
class Prior:
    """What is believed about the network before any training (DASH: Hossain et al. 2024, "domain knowledge").

    Build one with :meth:`from_arrays` or :meth:`read_csv`; both check the values.

    Attributes
    ----------
    genes : tuple of G str
    motif : (G, G) float64 csr_array
        Row = regulator, column = target, as in the published files; the sign is activation (+) or repression (-).
    ppi : (G, G) float64 csr_array or None
        Symmetric interactions of 0 or more; None = derived from ``motif``, see :meth:`interactions`.
    records : tuple of NetworkRecord
        What reading left out, merged or recognised: of the motif map, and of the interactions.
    signed : bool
        Whether the signs of ``motif`` mean anything; False where none are known or they were drawn at random.
    """

    genes: tuple[str, ...]
    motif: csr_array
    ppi: csr_array | None = None
    records: tuple[NetworkRecord, ...] = ()
    signed: bool = True

    @property
    def notes(self) -> tuple[str, ...]:
        """What reading left out, merged or recognised, a sentence each."""
        return tuple(note for record in self.records for note in record.notes())

    @property
    def n_genes(self) -> int:
        return len(self.genes)

    @property
    def n_edges(self) -> int:
        """Number of edges of the motif map."""
        return int(self.motif.nnz)

    def __repr__(self) -> str:
        ppi = "none" if self.ppi is None else f"{self.ppi.nnz} entries"
        return f"Prior({self.n_genes} genes, {self.n_edges} edges, interactions: {ppi})"

    @classmethod
    def from_arrays(
        cls,
        motif: ArrayLike | object,
        genes: Sequence[str] | None = None,
        ppi: ArrayLike | object | None = None,
        *,
        signed: bool | None = None,
    ) -> Prior:
        """Make a prior from dense or SciPy sparse matrices, which are copied.

        Parameters
        ----------
        motif : (G, G)
            Regulator × target, signed; 0 = no edge.
        genes : sequence of G str, optional
            Left out: gene1, gene2, ...
        ppi : (G, G), optional
            Interactions of 0 or more; made symmetric with the larger of both directions.
        signed : bool, optional
            Whether the signs mean anything. Left out: where one is negative.

        Raises
        ------
        PriorError
            Not square, not [G, G], not finite, negative interactions, duplicate names.
        """
        network = _square("motif", motif)
        names = gene_tuple(genes, network.shape[0], "prior", PriorError)
        _check_finite("motif", network, names)
        interactions = None
        if ppi is not None:
            interactions = _square("ppi", ppi)
            if interactions.shape != network.shape:
                raise PriorError(f"ppi must be {list(network.shape)} as motif, got {list(interactions.shape)}")
            _check_finite("ppi", interactions, names)
            if interactions.nnz and interactions.data.min() < 0:
                raise PriorError("ppi must be 0 or more everywhere, got a negative weight")
            interactions = symmetrised(interactions)
        return cls(names, network, interactions, signed=_has_signs(network) if signed is None else signed)

    @classmethod
    def read_csv(
        cls,
        path: str | Path,
        genes: str | Path | Sequence[str],
        ppi: str | Path | None = None,
        ppi_genes: str | Path | Sequence[str] | None = None,
        *,
        columns: Mapping[str, str | int] | None = None,
        signed: bool | None = None,
    ) -> Prior:
        """Read a motif map and, if given, interactions; ``.csv.gz`` too.

        Parameters
        ----------
        path : path
            A list of edges by name (regulator, target[, weight or sign]), a matrix (row = regulator, column =
            target) with or without names, or triples ``i,j,weight`` of 1-based gene numbers. Duplicate edges are
            merged; edges with an end outside ``genes`` are dropped and counted in ``records``.
        genes : path or sequence of str
            A gene-name file or the names, in the order of the expression data.
        ppi : path, optional
            Interactions in the same layouts; each pair once or twice.
        ppi_genes : path or sequence of str, optional
            The gene list that the triples of ``ppi`` count in, where it is a larger one than ``genes``.
        columns : mapping, optional
            Which column of a list is what, see :func:`dash_hpc.data.networks.read_network`.
        signed : bool, optional
            Whether the signs mean anything. Left out: where the file has a negative one.

        Raises
        ------
        PriorError
            Naming file, line and gene.
        """
        names = _gene_list(genes)
        motif, record = read_network(path, names, columns=columns)
        signed = _has_signs(motif) if signed is None else signed
        if ppi is None:
            return cls(names, motif, None, (record,), signed)
        interactions, other = read_interactions(ppi, names, None if ppi_genes is None else _gene_list(ppi_genes))
        return cls(names, motif, interactions, (record, other), signed)

    def expected_effects(self) -> csr_array:
        """Regulator × target, as the prior loss compares it: ``motif``, or |motif| where signs mean nothing."""
        return canonical(self.motif if self.signed else abs(self.motif))

    def target_by_regulator(self) -> csr_array:
        """|motif|ᵀ: row = target (output), column = regulator (input); the P of DASH (Hossain et al. 2024)."""
        return canonical(abs(self.motif).T)

    def interactions(self, normalise: bool = True) -> csr_array:
        """The input × input matrix C of DASH (Hossain et al. 2024).

        ``ppi`` where it was given; else |A||A|ᵀ, whose entry (i, k) is the number of common targets of regulators i
        and k (for weights of 1).

        Parameters
        ----------
        normalise : bool
            Divide by the sum of all entries (default, as the authors' code does).

        Raises
        ------
        PriorError
            There is no interaction at all, so that the sum is 0.
        """
        if self.ppi is not None:
            result = canonical(self.ppi)
        else:
            size = abs(self.motif)
            result = canonical(size @ size.T)
        if normalise:
            total = float(result.data.sum())
            if total <= 0:
                raise PriorError(
                    "the prior has no interactions and no edges to derive them from; give a prior with edges"
                )
            result.data /= total
        return result

    def corrupt(self, fraction: float, rng: np.random.Generator) -> Prior:
        """Relocate a share of the edges to random places (Hossain et al. 2024, "misspecified priors").

        ``round(fraction · E)`` edges, drawn without replacement, lose their place and get two distinct uniformly
        random genes as regulator and target; their weight, and so the sign, goes with them. An edge that lands
        on another one disappears, so the result may have fewer edges. Interactions that were read from a file stay
        as they are; derived ones follow the corrupted map.

        Raises
        ------
        UsageError
            ``fraction`` is not in [0, 1], or there is a single gene.
        """
        edges, moved = self._draw(fraction, rng)
        if not len(moved):
            return self
        if self.n_genes < 2:
            raise UsageError("edges can only be relocated between two or more genes")
        regulator = rng.integers(0, self.n_genes, size=len(moved))
        target = (regulator + rng.integers(1, self.n_genes, size=len(moved))) % self.n_genes
        weight = edges.data[moved]
        stays = np.ones(edges.nnz, dtype=bool)
        stays[moved] = False
        rows = np.concatenate([edges.coords[0][stays], regulator])
        columns = np.concatenate([edges.coords[1][stays], target])
        # the first edge at a place stays: those that were not moved come first
        _, first = np.unique(rows.astype(np.int64) * self.n_genes + columns, return_index=True)
        data = np.concatenate([edges.data[stays], weight])[first]
        motif = canonical(csr_array((data, (rows[first], columns[first])), shape=self.motif.shape))
        return replace(self, motif=motif)

    def withhold(self, fraction: float, rng: np.random.Generator) -> Prior:
        """Remove ``round(fraction · E)`` edges, drawn without replacement (PHOENIX, Genome Biology 2024).

        Raises
        ------
        UsageError
            ``fraction`` is not in [0, 1].
        """
        edges, removed = self._draw(fraction, rng)
        if not len(removed):
            return self
        data = edges.data.copy()
        data[removed] = 0
        return replace(self, motif=canonical(csr_array((data, edges.coords), shape=self.motif.shape)))

    def _draw(self, fraction: float, rng: np.random.Generator) -> tuple:
        if not 0 <= fraction <= 1:
            raise UsageError(f"the fraction of prior edges must be in [0, 1], got {fraction!r}")
        edges = canonical(self.motif).tocoo()
        n = round(fraction * edges.nnz)
        # a permutation, so that with one seed a larger fraction takes the same edges and more
        return edges, rng.permutation(edges.nnz)[:n] if n else np.empty(0, dtype=np.int64)


def _has_signs(motif: csr_array) -> bool:
    return bool((motif.data < 0).any())


def _gene_list(genes: str | Path | Sequence[str]) -> tuple[str, ...]:
    if isinstance(genes, (str, Path)):
        return read_gene_names(genes)
    return gene_tuple(genes, len(genes), "prior", PriorError)


def _square(name: str, matrix: object) -> csr_array:
    shape = matrix.shape if issparse(matrix) else np.shape(matrix)  # type: ignore[attr-defined, call-overload]
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise PriorError(f"{name} must be [G, G] (regulators × targets), got {list(shape)}")
    return canonical(matrix)


def _check_finite(name: str, network: csr_array, genes: Sequence[str]) -> None:
    wrong = ~np.isfinite(network.data)
    if wrong.any():
        i, j = (int(index[np.argmax(wrong)]) for index in network.tocoo().coords)
        raise PriorError(
            f"{name}: the weight of {genes[i]} -> {genes[j]} is not finite; write 0 where there is no edge"
        )
