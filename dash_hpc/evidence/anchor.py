"""Levels held to their own measurements.

What genes say of the level of their regulator they say through drives that were fitted to that level as it
stood. Where many say it and its own values weigh little, the level may leave its scale, a little further with every
round: bent levels and drives that are bent back fit as well, but drives that are fitted to bent levels do not predict.
The level's own values are measured on its scale, so they tell the bend.
"""

from __future__ import annotations

import numpy as np

from dash_hpc.evidence.state import FloatArray

__all__ = ["unbent"]

#: A bend is a polynomial of this degree, its coefficients drawn around 0 with this share of the level's spread.
_DEGREE, _SIZE = 3, 0.02
#: So many trajectories, at least, have to tell it; those in which other genes have less say than this do not.
_FEWEST, _LEAST_SAY = 20, 0.05


def unbent(level: FloatArray, variance: FloatArray, own: FloatArray, information: FloatArray) -> FloatArray:
    """Return what is to be added to a gene's levels so that they are right, on average, given what other genes say.

    The own values are regressed on what the others say, which they are no part of.

    Parameters
    ----------
    level, variance : (N,) float64
        Posterior of the level in each trajectory.
    own : (N,) float64
        Mean of the gene's own values; not read where there are none.
    information : (N,) float64
        Their number over the variance of the noise.

    Returns
    -------
    (N,) float64
        0 where fewer than 20 trajectories tell, and where others have little say.
    """
    share = variance * information
    told = (information > 0) & (share < 1 - _LEAST_SAY)
    if told.sum() < _FEWEST:
        return np.zeros(len(level))
    say = 1 - share[told]
    others = (level[told] - share[told] * own[told]) / say
    middle, spread = others.mean(), max(float(others.std()), 1e-9)
    noise = 1 / information[told] + variance[told] / say
    powers = np.vander((others - middle) / spread, _DEGREE + 1)
    gram = (powers / noise[:, None]).T @ powers + np.eye(_DEGREE + 1) / (_SIZE * spread) ** 2
    bend = np.linalg.solve(gram, powers.T @ ((own[told] - others) / noise))
    # Shrunk by what as many coefficients of no bend at all would take off the squared error (James and Stein 1961).
    bend *= max(0.0, 1 - (_DEGREE + 1) / max(float(bend @ gram @ bend), 1e-9))
    found = np.zeros(len(level))
    found[told] = say * (np.vander((level[told] - middle) / spread, _DEGREE + 1) @ bend)
    return found
