"""Eighteen strategies look different from one another, to people with any common colour vision."""

from __future__ import annotations

import itertools

import numpy as np
from matplotlib.colors import to_rgb

from dash_hpc.report import style

# Machado, Oliveira, Fernandes 2009: what a person with severity 1 sees, in linear RGB.
BLIND = {
    "none": np.eye(3),
    "red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def _lab(linear):
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x = to_xyz @ np.clip(linear, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def _looks(n, monkeypatch):
    names = [f"strategy {k}" for k in range(n)]
    monkeypatch.setattr(style, "STRATEGIES", dict.fromkeys(names))
    return [(style.colour(name), style.marker(name)) for name in names]


def test_every_strategy_has_a_look_of_its_own(monkeypatch):
    looks = _looks(36, monkeypatch)
    assert len(set(looks)) == 36
    assert (style.colour("unknown"), style.marker("unknown")) not in looks


def test_colours_of_one_shape_can_be_told_apart_without_full_colour_vision(monkeypatch):
    looks = _looks(18, monkeypatch)
    for shape in {shape for _, shape in looks}:
        colours = [to_rgb(colour) for colour, own in looks if own == shape]
        assert len(colours) == 9
        linear = [np.where(np.array(c) <= 0.04045, np.array(c) / 12.92, ((np.array(c) + 0.055) / 1.055) ** 2.4)
                  for c in colours]  # fmt: skip
        for name, matrix in BLIND.items():
            seen = [_lab(np.asarray(matrix) @ one) for one in linear]
            nearest = min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))
            assert nearest >= 16, name
