"""Fuzzy-logic expressions that combine the regulators of a target, and their compiled form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from dash_hpc.data.simulator.graph import Network
from dash_hpc.errors import UsageError

__all__ = ["Add", "And", "Expression", "Leaf", "Not", "Or", "Program", "build_expression", "build_expressions"]


@dataclass(frozen=True)
class Leaf:
    """Activation by one edge: weight · act(x), where ``edge`` is the index of the edge."""

    edge: int


@dataclass(frozen=True)
class Not:
    """1 − a."""

    argument: Expression


@dataclass(frozen=True)
class And:
    """a · b · …, left to right."""

    arguments: tuple[Expression, ...]


@dataclass(frozen=True)
class Or:
    """a + b − ab, left to right."""

    arguments: tuple[Expression, ...]


@dataclass(frozen=True)
class Add:
    """Arithmetic mean of the arguments."""

    arguments: tuple[Expression, ...]


Expression: TypeAlias = Leaf | Not | And | Or | Add


def build_expression(
    edges: Sequence[int],
    activation: Sequence[bool],
    out_degree: Sequence[int],
    *,
    flip: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Expression:
    """Combine the regulators of one target (SimulatorGRN, Bhuva et al. 2019, as modified for PHOENIX).

    The regulator h with the largest out-degree (the first on ties) leads. If h activates: h AND (co-activators joined
    by AND) AND (NOT co-repressors joined by OR). If h represses: NOT h OR (co-activators joined by AND) OR (NOT
    co-repressors joined by OR). Empty groups are left out.

    Parameters
    ----------
    edges : sequence of int, (k,)
        Edge indices of the regulators, k ≥ 1, in table order.
    activation : sequence of bool, (k,)
        Sign of each edge.
    out_degree : sequence of int, (k,)
        Out-degree of each regulator.
    flip : float, default 0
        Probability that the connective inside a group is exchanged (AND for OR).
    rng : numpy.random.Generator, optional
        Needed when ``flip`` > 0.

    Raises
    ------
    UsageError
        No edge, or ``flip`` > 0 without ``rng``.
    """
    if not len(edges):
        raise UsageError("a target without regulators has no expression; input genes are constant")
    if flip > 0 and rng is None:
        raise UsageError("flip > 0 needs rng; pass a generator")
    lead = int(np.argmax(out_degree))  # the first of equals
    rest = [place for place in range(len(edges)) if place != lead]
    activators = tuple(Leaf(edges[place]) for place in rest if activation[place])
    repressors = tuple(Not(Leaf(edges[place])) for place in rest if not activation[place])

    def joined(group: tuple[Expression, ...], by_and: bool) -> list[Expression]:
        if len(group) < 2:
            return list(group)
        if flip > 0 and rng is not None and rng.random() < flip:
            by_and = not by_and
        return [And(group) if by_and else Or(group)]

    groups = [*joined(activators, True), *joined(repressors, False)]
    leader: Expression = Leaf(edges[lead]) if activation[lead] else Not(Leaf(edges[lead]))
    if not groups:
        return leader
    return And((leader, *groups)) if activation[lead] else Or((leader, *groups))


def build_expressions(
    network: Network, *, flip: float = 0.0, rng: np.random.Generator | None = None
) -> dict[int, Expression]:
    """Expression of every gene that is not an input, keyed by gene index; see :func:`build_expression`."""
    out_degree = network.out_degree[network.source]
    by_target = np.argsort(network.target, kind="stable")  # table order within a target
    starts = np.searchsorted(network.target[by_target], np.arange(network.n_genes + 1))
    expressions = {}
    for gene in np.flatnonzero(~network.is_input):
        edges = by_target[starts[gene] : starts[gene + 1]]
        expressions[int(gene)] = build_expression(
            edges.tolist(), network.activation[edges].tolist(), out_degree[edges].tolist(), flip=flip, rng=rng
        )
    return expressions


_NOT, _AND, _OR, _SUM, _MEAN = range(5)


@dataclass(frozen=True)
class _Step:
    """One kind of operation on many registers at once."""

    kind: int
    out: slice
    left: np.ndarray
    right: np.ndarray  # second register; for _MEAN the number of arguments


class Program:
    """Expressions of all targets, compiled to a few array operations for many samples at once.

    Registers 0..E-1 hold the edge activations; each operation writes one further register. Operations of equal depth
    and kind run together.

    Parameters
    ----------
    expressions : mapping of int to Expression
        By gene index.
    n_edges : int
        Number of edges E.
    """

    def __init__(self, expressions: Mapping[int, Expression], n_edges: int) -> None:
        operations: list[tuple[int, int, int, int]] = []  # depth, kind, left, right
        depth = [0] * n_edges

        def emit(kind: int, left: int, right: int) -> int:
            level = 1 + max(depth[left], depth[right] if kind in (_AND, _OR, _SUM) else 0)
            operations.append((level, kind, left, right))
            depth.append(level)
            return n_edges + len(operations) - 1

        def place(expression: Expression) -> int:
            if isinstance(expression, Leaf):
                if not 0 <= expression.edge < n_edges:
                    raise UsageError(f"expression names edge {expression.edge}; the network has {n_edges} edges")
                return expression.edge
            if isinstance(expression, Not):
                return emit(_NOT, place(expression.argument), 0)
            if not expression.arguments:
                raise UsageError(f"{type(expression).__name__} needs at least one argument")
            kind = {And: _AND, Or: _OR, Add: _SUM}[type(expression)]
            result = place(expression.arguments[0])
            for argument in expression.arguments[1:]:
                result = emit(kind, result, place(argument))
            return emit(_MEAN, result, len(expression.arguments)) if kind == _SUM else result

        genes = sorted(expressions)
        outputs = np.array([place(expressions[gene]) for gene in genes], dtype=np.int64)

        table = np.array(operations, dtype=np.int64).reshape(-1, 4)
        order = np.lexsort((table[:, 1], table[:, 0]))
        register = np.arange(n_edges + len(table))
        register[n_edges + order] = n_edges + np.arange(len(table))
        table = table[order]
        cuts = np.flatnonzero(np.any(np.diff(table[:, :2], axis=0) != 0, axis=1)) + 1
        self.n_edges = n_edges
        self.n_registers = n_edges + len(table)
        self.genes = np.array(genes, dtype=np.int64)
        self.outputs = register[outputs]
        self._steps = []
        for first, last in zip([0, *cuts], [*cuts, len(table)], strict=True):
            if last > first:
                kind = int(table[first, 1])
                left, right = register[table[first:last, 2]], table[first:last, 3]
                if kind in (_AND, _OR, _SUM):
                    right = register[right]
                out = slice(n_edges + int(first), n_edges + int(last))
                self._steps.append(_Step(kind, out, left, right))

    def run(self, registers: np.ndarray) -> np.ndarray:
        """Evaluate in place.

        Parameters
        ----------
        registers : ndarray, float64, (n_registers, S)
            Rows 0..E-1 filled with weight · act(x) of each edge; the others are overwritten.

        Returns
        -------
        ndarray, float64, (len(genes), S)
            Value of the expression of each gene in ``genes``.
        """
        for step in self._steps:
            left = registers[step.left]
            if step.kind == _NOT:
                np.subtract(1.0, left, out=registers[step.out])
            elif step.kind == _MEAN:
                np.divide(left, step.right[:, None], out=registers[step.out])
            else:
                right = registers[step.right]
                if step.kind == _AND:
                    np.multiply(left, right, out=registers[step.out])
                else:
                    total = left + right
                    if step.kind == _OR:
                        total -= np.multiply(left, right, out=right)
                    registers[step.out] = total
        return registers[self.outputs]
