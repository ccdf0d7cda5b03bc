"""The plain multilayer perceptron that PHOENIX is compared with."""

from __future__ import annotations
