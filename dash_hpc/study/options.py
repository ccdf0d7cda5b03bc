"""What the options of a strategy are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from dash_hpc.errors import UsageError
from dash_hpc.study.phases import Phase
from dash_hpc.study.phrases import told

__all__ = ["StrategyOptions"]


class StrategyOptions(BaseModel):
    """Base of all options: immutable, unknown ones refused, no silent conversion of types.

    A strategy declares its own beside itself, each a scalar with bounds, default and description; that is the only
    declaration: the study file, its errors, docs/study.md, the plan and the strategy itself use it.

    Raises
    ------
    UsageError
        One line: the option, what it is and what it may be.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    prunes: ClassVar[bool] = True
    """False when the weights stay dense: such runs take longest and start first."""
    by_schedule: ClassVar[bool] = True
    """False when nothing happens by ``[schedule]``: the same run whatever it says."""
    needs_prior: ClassVar[bool] = False
    """True when the strategy cannot work without prior knowledge."""
    symbols: ClassVar[Mapping[str, str]] = {}
    """Letters that formulas use for options, for the headings of tables and figures."""
    needs_relation: ClassVar[bool] = False
    """True when it needs a model family whose layers have a relation to the prior."""
    needs_structure: ClassVar[bool] = False
    """True when it needs a model family that can be built on a given structure."""
    needs_assembly: ClassVar[bool] = False
    """True when it needs a model family that can be written down from the drives of its genes."""

    @classmethod
    def unfit(cls, key: str, value: Any, first_epoch: int) -> str:
        """Say what is wrong with a value of an option where the first pruning event is at ``first_epoch``; or ""."""
        return ""

    def unread(self) -> dict[str, str]:
        """Name the options that have no effect beside the others: name -> which other, as ``mode = "…"``."""
        return {}

    def wasted(self) -> tuple[str, str] | None:
        """Return an option that is not at its default but has no effect, and what to do; None where there is none.

        A list of its values would be the same run again and again.
        """
        for key, other in self.unread().items():
            if getattr(self, key) != type(self).model_fields[key].default:
                return key, f"has no effect with {other}: leave it out (two tables may have one name)"
        return None

    def phases(self, training: Mapping[str, Any]) -> tuple[Phase, ...]:
        """Return the phases of a run with the section ``[training]``: here one, of ``training["epochs"]``."""
        return (Phase(int(training["epochs"])),)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise UsageError(f"{type(self).__name__}: {told(error, type(self), 'option')}") from None
