"""``[model]`` of the MLP."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dash_hpc.study.models.section import ModelSection

__all__ = ["MlpSection"]


class MlpSection(ModelSection):
    """A plain multilayer perceptron of two ELU layers: the ablation of PHOENIX (Hossain et al., NeurIPS 2024, B.12).

    ``hidden`` is the m of the PHOENIX model that it stands beside: it has 2·m hidden units, and so as many parameters.
    """

    relates_to_prior: ClassVar[bool] = True
    takes_structure: ClassVar[bool] = True

    family: Literal["mlp"] = Field(default="mlp", description="kind of model")
    hidden: int = Field(
        default=40, ge=1, le=100_000, description="m of a PHOENIX of as many parameters: 2·m hidden units"
    )
