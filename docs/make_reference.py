"""Write docs/cli.md from the commands' own help and docs/study.md from the models that validate study files.

python docs/make_reference.py          # or: make docs
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from dash_hpc.cli import app
from dash_hpc.data.filesize import MAX_CELLS, MAX_FILE_BYTES, MAX_LINE_BYTES
from dash_hpc.data.readers import READERS
from dash_hpc.study import MAX_RUNS, STRATEGIES
from dash_hpc.study.limits import LIMITS
from dash_hpc.study.models import MODELS
from dash_hpc.study.phrases import number_text
from dash_hpc.study.presets import PRESETS
from dash_hpc.study.schema import SECTIONS
from dash_hpc.study.sections import MAX_PATH
from dash_hpc.study.sources import DATA_KINDS, MAX_VALUES

HERE = Path(__file__).resolve().parent
MADE = "<!-- Made by docs/make_reference.py; do not edit. -->"


def cli_reference() -> str:
    """Return docs/cli.md: the help of every command as it appears on a terminal of 100 columns."""
    root = click.Context(app, info_name="dash-hpc", terminal_width=100, help_option_names=["-h", "--help"])
    parts = [MADE, "# Command line", _block(app.get_help(root))]
    for name in app.list_commands(root):
        if (command := app.get_command(root, name)) is not None:
            context = click.Context(command, info_name=name, parent=root, terminal_width=100)
            parts += [f"## {name}", _block(command.get_help(context))]
    return "\n\n".join(parts) + "\n"


def _block(text: str) -> str:
    lines = [line.rstrip() for line in text.replace("\b", "").splitlines()]
    return "\n".join(["```text", *lines, "```"])


STUDY_HEAD = """# The study file

A study is one TOML file. `dash-hpc init` writes one with comments; only `[data]` and one `[[strategy]]` have to be
there. Keys left out have the default of the tables below, unknown keys are refused with the nearest one that exists.

`--set section.key=value` replaces one setting for one call: `--set training.epochs=50`, `--set sweep.seeds=0..4`,
`--set strategy.dash.lambda_ppi=[0.05,0.5]` (all tables of that name), `--set strategy[0].rewind=init`.

Seeds, all options of a strategy, and every scalar of `[data]`, `[model]`, `[solver]`, `[training]` and `[schedule]` may
be one value, a list, or a range in quotes: `"0..4"` (both ends included), `"0..1 step 0.25"`; of files there are lists
alone. Every combination is a run: (levels of the sections) × (λ₁ values) × (λ₂ values) × seeds; what does
not prune by the schedule is run at the first one alone. What varies in `[data]` makes data levels, which are never
mixed; everything else is part of a setting, which may be chosen ([Results](results.md)). `validation = { folds = 5 }`
in `[data]` is one data set for each fold, of one level.
A study of more than 1,000,000 runs is refused before it is listed. A run is known by a hash of its settings and data,
so the same run is never done twice in one output folder."""


def _mib(size: int) -> str:
    return f"{size >> 20:,} MiB"


PRESETS_HEAD = """`preset` in `[study]` names settings that are filled in where the file leaves them out. Where it
gives one of them otherwise it is refused: then it is not what the name says. The study that is stored beside the
results has the settings themselves.

`paper`: as in Hossain et al., NeurIPS 2024, and, where the paper says nothing, as in its programs: steps from noisy
states, a validation error on such steps, one learning rate, raw interactions, a normal Ω before the first event, IMP
that goes back to the first weights. The published results were made with the programs, whose choices are our defaults
where they differ from the paper. Rates, epochs and schedules, which differ from data set to data set, are left to the
study."""


LIMITS_HEAD = f"""What goes beyond these is refused in one line before it is parsed, in a file as in `--set`. Numbers
have the bounds of the tables above, a path has at most {MAX_PATH:,} characters, a study at most {MAX_RUNS:,} runs, and
simulated data at most {MAX_VALUES:,} values (genes × times × trajectories). A study whose one run cannot fit into
the memory of the machine, by its genes, hidden units, prior points and trajectories, is refused before anything is
allocated. A data file is a regular file of at most {_mib(MAX_FILE_BYTES)}, also of what it
holds when compressed; a line of it has at most {_mib(MAX_LINE_BYTES)} and {MAX_CELLS:,} cells."""


READERS_HEAD = """`train`, `test` and, where it is a file, `validation` are paths, or tables with keys for the reader
of the file: `train = { file = "…", … }`, or a table `[data.train]`. The end of a file's name says who reads it; a name
with none of these ends is read as text. Another reader is [one file](extend/reader.md)."""


def _readers() -> Iterator[str]:
    """Every reader with the ends of names that are its own, and its keys."""
    for reader in dict.fromkeys(READERS.values()):
        told = (type(reader).__doc__ or "").strip().splitlines()[0]
        told = re.sub(r":\w+:`(?:[\w.]+\.)?(\w+)`", r"`\1`", told)
        yield f"*{reader.name}*: {', '.join(f'`{suffix}`' for suffix in reader.suffixes)}. {told}"
        yield _table(reader.Keys) if reader.Keys.model_fields else "No keys."


def study_reference() -> str:
    """Return docs/study.md: every key with its type, bounds, default and meaning."""
    parts = [MADE, STUDY_HEAD]
    for name, model in SECTIONS.items():
        if name == "model":  # [data] stands second in the file
            parts += ["## [data]", "One of three kinds. The files are described in [Data](data.md)."]
            for kind, source in DATA_KINDS.items():
                parts += [f'### kind = "{kind}"', _told(source), _table(source)]
            parts += ["### Files of expression", READERS_HEAD, *_readers()]
        if name == "model":
            parts += ["## [model]", "One of several families of models; `family` says which."]
            for family, section in MODELS.items():
                parts += [f'### family = "{family}"', _told(section), _table(section)]
            continue
        parts += [f"## [{name}]", _told(model), _table(model)]
    parts += ["## [[strategy]]", "One table per strategy; a name may come again with other options."]
    for name, options in STRATEGIES.items():
        parts += [f'### name = "{name}"', _told(options)]
        parts.append(_table(options) if options.model_fields else "No options.")
    parts += ["## Presets", PRESETS_HEAD, *map(_preset, PRESETS)]
    parts += ["## Limits", LIMITS_HEAD, "\n".join(["| of a study file | at most |", "|---|---|", *map(_row, LIMITS)])]
    return "\n\n".join(parts) + "\n"


def _preset(name: str) -> str:
    """The keys of a preset; places with the same keys share a line."""
    places: dict[str, list[str]] = {}
    for place, keys in PRESETS[name].items():
        section, _, of = place.partition(".")
        told = ", ".join(f"`{key} = {_plain(value)}`" for key, value in keys.items())
        places.setdefault(told, []).append(f"strategy `{of}`" if of else f"section `[{section}]`")
    rows = [_row((", ".join(where), told)) for told, where in places.items()]
    return "\n".join([_row((f"{name}", "settings")), "|---|---|", *rows])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _told(model: Any) -> str:
    """The model's docstring without the name of the section, which is the heading already."""
    text = "\n".join(line.strip() for line in (model.__doc__ or "").strip().splitlines())
    head, colon, rest = text.partition("``: ")
    if colon and head.startswith("``"):
        text = rest[:1].upper() + rest[1:]
    return text.replace("``", "`")


def _table(model: Any) -> str:
    schema = model.model_json_schema()
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, info in sorted(model.model_fields.items(), key=lambda item: not item[1].is_required()):
        kind = _kind(schema["properties"][key], schema.get("$defs", {}))
        default = "required" if info.is_required() else _value(info.get_default(call_default_factory=True))
        if model is SECTIONS["study"] and key == "name":
            default = ""  # filled in from the file's name
        lines.append(f"| `{key}` | {kind} | {default} | {_cell(info.description or '')} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return "`[" + ", ".join(_plain(item) for item in value) + "]`"
    return f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _kind(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """What may stand there, from the JSON schema of one field."""
    if "$ref" in schema:
        return _kind(defs[schema["$ref"].rpartition("/")[2]], defs)
    if parts := schema.get("anyOf", schema.get("oneOf")):
        kinds = [_kind(part, defs) for part in parts if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        items = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        length = (
            f"{schema['minItems']:,} to {schema['maxItems']:,} " if "items" in schema and "maxItems" in schema else ""
        )
        return f"list of {length}{_kind(items, defs).replace('number', 'numbers')}"
    if schema.get("maxLength") == MAX_PATH:
        return "path"
    words = {
        "integer": "whole number",
        "number": "number",
        "boolean": "`true`, `false`",
        "string": "text",
        "object": "table",
    }
    return " ".join([words.get(schema.get("type", ""), "value"), ", ".join(_bounds(schema))]).strip()


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<")):
        if key in schema:
            yield f"{sign} {number_text(schema[key])}"
    if "maxLength" in schema:
        yield f"≤ {schema['maxLength']:,} characters"


PAGES = {"cli.md": cli_reference, "study.md": study_reference}

if __name__ == "__main__":
    for file, make in PAGES.items():
        (HERE / file).write_text(make(), encoding="utf-8", newline="\n")
        click.echo(f"wrote docs/{file}")
