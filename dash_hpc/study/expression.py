"""What ``[data]`` says where a file of expression belongs: a path, or a table with keys for the file's reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from dash_hpc.study.sections import (
    MAX_PATH,
    MAX_TRAJECTORIES,
    FilePath,
    Folds,
    Section,
    folds_of,
    problem_at,
    without_nul,
)

if TYPE_CHECKING:
    from dash_hpc.data.readers import Reader

__all__ = ["ExpressionFile", "ExpressionTable", "Split", "WrongTable"]


class WrongTable(ValueError):
    """A table inside a section is wrong: the error, and the model that says what may stand there."""

    def __init__(self, error: ValidationError, model: type[BaseModel]) -> None:
        super().__init__(str(error))
        self.error, self.model = error, model


class ExpressionTable(Section):
    """``{ file = "…", … }``: a file of expression with keys for its reader, whom the end of its name tells."""

    model_config = ConfigDict(extra="allow")

    file: FilePath = Field(description="the file")

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping):
            return raw
        if "file" not in raw:
            raise problem_at("file", "is missing: name the file")
        if not isinstance(raw["file"], str):
            return {"file": raw["file"]}
        reader = _reader(raw["file"])
        try:
            keys = reader.Keys(**{key: value for key, value in raw.items() if key != "file"})
        except ValidationError as error:
            raise WrongTable(error, reader.Keys) from None
        return {"file": raw["file"], **keys.model_dump(mode="json", exclude_none=True)}


def _reader(path: str) -> Reader:
    from dash_hpc.data.readers import reader_of  # here: a study without files does without the data

    return reader_of(path)


def _form(value: Any) -> str:
    return "table" if isinstance(value, (Mapping, ExpressionTable)) else "path"


def _one_form(value: str | ExpressionTable) -> str | ExpressionTable:
    """The same file in the same words: a table, complete, where the reader has keys, else a path."""
    if isinstance(value, ExpressionTable):
        return value if value.model_extra else value.file
    return _table({"file": value}) if _reader(value).Keys.model_fields else value


def _table(raw: Mapping[str, Any]) -> ExpressionTable:
    try:
        return ExpressionTable.model_validate(raw)
    except ValidationError as error:
        raise WrongTable(error, ExpressionTable) from None


ExpressionFile = Annotated[
    Annotated[FilePath, Tag("path")] | Annotated[ExpressionTable, Tag("table")],
    Discriminator(_form),
    AfterValidator(_one_form),
]


def _split(value: Any) -> Any:
    """A validation split: a file, a fraction, a list of trajectory indices (from 0), or folds."""
    if isinstance(value, Folds) or (isinstance(value, Mapping) and "folds" in value):
        return folds_of(value)
    if isinstance(value, ExpressionTable):
        return value
    if isinstance(value, Mapping) and "file" in value:
        return _one_form(_table(value))
    if isinstance(value, str) and 0 < len(value) <= MAX_PATH:
        return _one_form(without_nul(value))
    if isinstance(value, float) and 0 < value < 1:
        return value
    if isinstance(value, (list, tuple)) and value:
        whole = all(isinstance(k, int) and not isinstance(k, bool) and 0 <= k < MAX_TRAJECTORIES for k in value)
        if whole and len(set(value)) == len(value):
            return tuple(value)
    raise ValueError(
        "must be a file, a fraction between 0 and 1, a list of different trajectory numbers (from 0), or { folds = 5 }"
    )


Split = Annotated[str | float | tuple[int, ...] | ExpressionTable | Folds, BeforeValidator(_split)]
