"""Whether a prior knows anything: the share of its edges that the data bear out, and how large it could be at most.

The degrees of a prior set the odds of all edges, listed or not. From a prior whose edges are where the network's are
not, turned round or with other names on its genes, they would be learnt from nothing: the odds it gives are then worse
than none. The Bayes factors of its own edges tell, before anything rests on them.
"""

from __future__ import annotations

import numpy as np

from dash_hpc.evidence.state import FloatArray, State

__all__ = ["listed_bayes_factors", "most_real", "worthless"]

#: A prior of which surely less than this share is real is given up.
_LEAST_REAL = 0.1
#: Nats by which a share fits worse than the best one, where it is no longer possible.
_SURELY = 3.0
#: Nats of evidence from which a target is decided, and the share of targets that must be before a prior is judged.
_DECIDED, _LEAST_DECIDED = 10.0, 0.2
_SHARES = np.linspace(0.0, 1.0, 401)[1:-1]


def listed_bayes_factors(state: State) -> FloatArray:
    """Log Bayes factors of the listed edges into genes that move."""
    found = [target.candidates.log_bf[target.candidates.listed] for target in state.targets.values()]
    return np.concatenate(found) if found else np.empty(0)


def most_real(log_bf: FloatArray, refused: int) -> float:
    """Return the largest share of real edges that is possible given their Bayes factors (n,).

    If a share π of the edges is real, the data of each are as likely as π B + 1 − π, in units of their likelihood
    without the edge. ``refused`` more edges are known not to be real.
    """
    if not len(log_bf) + refused:
        return 1.0
    gain = np.expm1(np.minimum(log_bf, 700.0))
    fit = np.log1p(_SHARES[:, None] * gain).sum(axis=1) + refused * np.log1p(-_SHARES)
    possible = fit >= fit.max() - _SURELY
    return float(_SHARES[possible][-1])


def worthless(state: State) -> bool:
    """Whether surely less than a tenth of the listed edges is real; False where the data decide little."""
    targets = state.targets.values()
    decided = sum(bool((target.candidates.log_bf > _DECIDED).any()) for target in targets)
    if not len(state.edges) or decided < _LEAST_DECIDED * max(len(targets), 1):
        return False
    refused = int(state.constant[state.edges.targets].sum())
    return most_real(listed_bayes_factors(state), refused) < _LEAST_REAL
