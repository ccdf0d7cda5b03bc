"""Gene names: defaults, uniqueness, and saying where two lists differ."""

from __future__ import annotations

from collections.abc import Sequence

from dash_hpc.errors import DataError

__all__ = ["brief", "check_gene_count", "check_same_genes", "default_genes", "gene_tuple", "shorten"]


def default_genes(n: int) -> tuple[str, ...]:
    """Names for ``n`` unnamed genes: gene1, gene2, ..."""
    return tuple(f"gene{i + 1}" for i in range(n))


def brief(name: str, limit: int = 60) -> str:
    """The beginning of a name, for messages."""
    return name if len(name) <= limit else f"{name[:limit]}…"


def shorten(names: Sequence[str], limit: int = 3) -> str:
    """The first few names, and how many there are besides: ``"A, B, C (and 7 more)"``."""
    more = f" (and {len(names) - limit} more)" if len(names) > limit else ""
    return ", ".join(map(brief, names[:limit])) + more


def gene_tuple(genes: Sequence[str] | None, n: int, where: str, error: type[DataError] = DataError) -> tuple[str, ...]:
    """Return ``genes`` as a tuple of ``n`` distinct names (default names for None), or raise ``error``."""
    if genes is None:
        return default_genes(n)
    names = tuple(str(gene) for gene in genes)
    check_gene_count(names, n, where, error)
    if len(set(names)) != len(names):
        seen: set[str] = set()
        twice = [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
        raise error(f"{where}: gene names must be distinct, but {shorten(twice)} occurs more than once")
    return names


def check_gene_count(genes: Sequence[str], n: int, where: str, error: type[DataError] = DataError) -> None:
    """Raise ``error`` when the number of names is not the number of genes in the data."""
    if len(genes) != n:
        raise error(f"{where}: {len(genes)} gene names for {n} genes; give one name per gene, in the same order")


def check_same_genes(
    expected: Sequence[str], got: Sequence[str], what: str, error: type[DataError] = DataError
) -> None:
    """Raise ``error`` unless both lists hold the same names in the same order; name the first few that differ."""
    if tuple(expected) == tuple(got):
        return
    if len(expected) != len(got):
        raise error(f"{what} has {len(got)} genes, but the training data has {len(expected)}; use one gene list")
    known = set(expected)
    unknown = [name for name in got if name not in known]
    if unknown:
        raise error(f"{what} names genes that are not in the training data: {shorten(unknown)}; use one gene list")
    first = next(i for i, (a, b) in enumerate(zip(expected, got, strict=True)) if a != b)
    raise error(
        f"{what} has the genes in another order: gene {first + 1} is {got[first]}, "
        f"but {expected[first]} in the training data; use one gene list"
    )
