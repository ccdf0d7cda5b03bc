"""``[model]`` of PHOENIX."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dash_hpc.study.models.section import ModelSection

__all__ = ["PhoenixSection"]


class PhoenixSection(ModelSection):
    """``[model]``: the size and start of PHOENIX (Hossain et al. 2024, Genome Biology 25:127)."""

    relates_to_prior: ClassVar[bool] = True
    takes_structure: ClassVar[bool] = True
    assembled: ClassVar[bool] = True

    family: Literal["phoenix"] = Field(default="phoenix", description="kind of model")
    init_U: Literal["orthogonal", "sparse"] = Field(  # noqa: N815 - the tensor is called U
        default="orthogonal", description="start of U: random semi-orthogonal, or column-sparse normal like W"
    )
