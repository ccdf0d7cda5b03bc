"""The prior loss compares with |P| where the signs of the prior mean nothing."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.data import CATALOGUE, DataSet, Prior, TimeCourse
from dash_hpc.training import Trainer

MOTIF = np.array([[0, 1, -1, 0], [0, 0, 0.5, 0], [0, 0, 0, -2], [0, 0, 0, 0]])


def trained(prior: Prior) -> list[float]:
    rng = np.random.default_rng(0)
    course = TimeCourse.from_arrays(list(rng.random((3, 4, 4))), [[0, 1, 2, 3]] * 3)
    from dash_hpc.study import parse_study

    study = parse_study('[data]\nkind = "simulate"\n[model]\nhidden = 3\n[training]\nepochs = 3\ntau = 0.5\n'
                        'prior_points = 50\n[[strategy]]\nname = "none"\n')  # fmt: skip
    spec = {**study.settings, "strategy": next(study.strategy[0].specs()), "seed": 0}
    fit = Trainer(DataSet("d", course, course, prior=prior), spec).fit()
    return list(fit.history["train_mse"])


def test_random_signs_are_not_fitted() -> None:
    signed = trained(Prior.from_arrays(MOTIF))
    unsigned = trained(Prior.from_arrays(MOTIF, signed=False))
    assert unsigned == trained(Prior.from_arrays(np.abs(MOTIF)))
    assert unsigned == trained(Prior.from_arrays(-MOTIF, signed=False))
    assert unsigned != signed


def test_what_the_prior_loss_is_given() -> None:
    np.testing.assert_array_equal(Prior.from_arrays(MOTIF).expected_effects().toarray(), MOTIF)
    np.testing.assert_array_equal(Prior.from_arrays(MOTIF, signed=False).expected_effects().toarray(), np.abs(MOTIF))
    assert Prior.from_arrays(MOTIF).signed
    assert not Prior.from_arrays(np.abs(MOTIF)).signed


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_the_catalogue_says_whose_signs_mean_something(name: str) -> None:
    # methods: signed in the SIM files, absolute values for breast, yeast and haematopoiesis
    assert CATALOGUE[name].prior_signed is (name == "sim350")
