"""Log-odds of edges before their own data are seen, from the degrees of the prior's genes.

A gene of n listed targets is a regulator or is not. If it is none, its listed edges are strays: relocated edges fall on
it at random, n ~ Poisson(μ). If it is one, it has k real listed targets, negative binomial, and strays beside them. The
share q of regulators and the shape of their degrees are fitted to the histogram of n. A gene with many listed targets
is a regulator for sure then, and most of its edges are real; one with a single listed target may be there by accident.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln

from dash_hpc.evidence.state import FloatArray, IntArray, State
from dash_hpc.ops.bayes import sigmoid

__all__ = ["DegreeModel", "fit_degrees", "set_prior_odds"]

_TINY = 1e-300
#: Without a prior: shape of the gamma distribution of out-degrees, and the smallest mean.
_SHAPE, _LEAST_MEAN = 0.5, 0.5
#: Expected number of regulators of a gene before anything is known.
_REGULATORS = 2.0


@dataclass(frozen=True, eq=False)
class DegreeModel:
    """What a listed degree n = 0..N says. Arrays are (N + 1,), by n.

    Attributes
    ----------
    share, shape, mean : float
        q, r and M: the share of regulators, and the negative binomial of their true degrees.
    listed : log-odds that a listed edge of such a gene is real.
    unlisted : log-odds of an edge that is not listed.
    regulator : log-odds that the gene is a regulator.
    kept : probability that a listed edge is real, if the gene is a regulator.
    missing : probability of an edge that is not listed, if it is one.
    """

    share: float
    shape: float
    mean: float
    listed: FloatArray
    unlisted: FloatArray
    regulator: FloatArray
    kept: FloatArray
    missing: FloatArray


def fit_degrees(degrees: IntArray, strays: float, others: int, corruption: float) -> DegreeModel:
    """Fit the mixture to listed degrees by maximum likelihood.

    Parameters
    ----------
    degrees : (G,) int64
    strays : float
        μ: expected number of relocated edges that fall on one gene.
    others : int
        How many genes an edge that is not listed could lead to.
    corruption : float
        ρ, in (0, 1).
    """
    most = int(degrees.max())
    count = np.bincount(degrees, minlength=most + 1)
    n = np.arange(most + 1)
    stray = np.exp(n * np.log(strays) - strays - gammaln(n + 1.0))
    # s strays of n: nothing is lost where their probability is no longer a number
    s = np.arange(int(np.flatnonzero(stray)[-1]) + 1)
    k = n[:, None] - s
    fits, k = k >= 0, np.maximum(k, 0)
    log_factorials = gammaln(n + 1.0)

    def joint(theta: FloatArray) -> tuple[float, float, float, FloatArray, FloatArray]:
        q, r, mean = float(1 / (1 + np.exp(-theta[0]))), float(np.exp(theta[1])), float(np.exp(theta[2]))
        p = r / (r + mean * (1 - corruption))
        kept = np.exp(gammaln(n + r) - log_factorials - gammaln(r) + r * np.log(p) + n * np.log1p(-p))
        both = np.where(fits, kept[k] * stray[s], 0.0)
        return q, r, mean, both, q * both.sum(axis=1) + (1 - q) * stray

    def cost(theta: FloatArray) -> float:
        return float(-(count * np.log(joint(theta)[-1] + _TINY)).sum() + theta[1] ** 2 / 8)

    best = minimize(cost, [-1.0, 0.0, np.log(5.0)], method="Nelder-Mead", options={"maxiter": 400})
    q, r, mean, both, total = joint(best.x)
    missing = (r + k) / (r / mean + 1 - corruption) * corruption
    seen = np.maximum(total, _TINY)
    spurious = (q * (both * s).sum(axis=1) + (1 - q) * stray * n) / seen
    real = np.clip(1 - spurious / np.maximum(n, 1), 1e-3, 1 - 1e-4)
    not_listed = q * (both * missing).sum(axis=1) / seen
    regulator = both.sum(axis=1)
    surely = np.maximum(regulator, _TINY)
    return DegreeModel(
        share=q,
        shape=r,
        mean=mean,
        listed=np.log(real / (1 - real)),
        unlisted=np.log(np.maximum(not_listed, 1e-6) / others),
        regulator=np.log(q * regulator + _TINY) - np.log((1 - q) * stray + _TINY),
        kept=np.clip((both * k).sum(axis=1) / np.maximum(regulator * np.maximum(n, 1), _TINY), 1e-3, 1 - 1e-4),
        missing=np.clip((both * missing).sum(axis=1) / surely / others, 1e-7, 0.5),
    )


def set_prior_odds(state: State) -> None:
    """Set ``prior`` of all candidates of all targets.

    From the second pass on a gene's other edges say, through their Bayes factors, whether it is a regulator at all. The
    number of listed regulators of a target says how many of them to believe. Without a prior the odds follow each
    gene's expected number of targets.
    """
    if not state.targets:  # no gene moves
        return
    if not (len(state.edges) and state.trusted):
        _odds_without_prior(state)
        return
    edges, genes, dynamic = state.edges, state.n_genes, max(state.n_dynamic, 1)
    out = edges.out_degrees()
    strays = max(state.corruption, 1e-4) * len(edges) / genes
    sources = fit_degrees(out, strays, dynamic, state.corruption)
    if state.passes:
        message = _hub_message(state, sources, out)
    listed_in = edges.in_degrees()
    sinks = fit_degrees(listed_in[~state.constant], strays, 1, state.corruption)
    usual = np.log((1 - state.corruption) / state.corruption) + np.log(genes / dynamic)
    listed_factor = sinks.listed - usual
    unlisted_factor = sinks.unlisted - np.log(np.exp(sinks.unlisted[listed_in[~state.constant]]).mean())
    for target in state.targets.values():
        edge = target.candidates
        n = out[edge.genes]
        if state.passes:
            weight = np.where(edge.listed, sources.kept[n], sources.missing[n])
            other = message[edge.genes] - _term(weight, edge.log_bf)
            p = np.clip(weight * sigmoid(other), 1e-9, 1 - 1e-6)
            edge.prior = np.log(p / (1 - p))
        else:
            edge.prior = np.where(edge.listed, sources.listed[n], sources.unlisted[n])
        m = listed_in[target.gene]
        edge.prior = edge.prior + np.where(edge.listed, listed_factor[m], unlisted_factor[m])


def _hub_message(state: State, sources: DegreeModel, out: IntArray) -> FloatArray:
    """(G,) log-odds that each gene is a regulator, from its degree and all its edges' Bayes factors."""
    message = sources.regulator[out]
    for target in state.targets.values():
        edge = target.candidates
        n = out[edge.genes]
        weight = np.where(edge.listed, sources.kept[n], sources.missing[n])
        message[edge.genes] += _term(weight, edge.log_bf)
    refused = state.edges.regulators[state.constant[state.edges.targets]]
    np.add.at(message, refused, np.log(1 - sources.kept[out[refused]]))
    return message


def _term(weight: FloatArray, log_bf: FloatArray) -> FloatArray:
    """What an edge of probability ``weight`` says with its Bayes factor of its source being a regulator."""
    return np.asarray(np.log1p(weight * np.expm1(np.clip(log_bf, -60, 60))))


def _odds_without_prior(state: State) -> None:
    """Log-odds from a Gamma-Poisson model of out-degrees, by empirical Bayes."""
    genes = state.n_genes
    odds: FloatArray = np.full(genes, np.log(_REGULATORS / genes))
    if state.passes:
        degree = np.zeros(genes)
        for target in state.targets.values():
            degree[target.candidates.genes] += target.candidates.probability
        mean = max(float(degree.mean()), _LEAST_MEAN)
        odds = np.log((_SHAPE + degree) / (_SHAPE / mean + 1) / max(state.n_dynamic, 1))
    for target in state.targets.values():
        target.candidates.prior = odds[target.candidates.genes]
