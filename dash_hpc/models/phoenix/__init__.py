"""PHOENIX (Hossain et al., Genome Biology 2024)."""

from __future__ import annotations
