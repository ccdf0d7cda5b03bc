"""What all commands share: exit codes, errors in one line, ``--debug`` and ``--json``."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

import click

from dash_hpc.errors import DashHpcError
from dash_hpc.execution.machine import streams
from dash_hpc.names import json_text
from dash_hpc.shown import console, shown, shown_block, shown_json

__all__ = [
    "DONE",
    "FAILED",
    "INTERRUPTED",
    "WRONG_USE",
    "Command",
    "Group",
    "device_options",
    "json_option",
    "parse_device",
    "parse_part",
    "print_json",
    "print_table",
    "say",
]

DONE = 0
FAILED = 1
WRONG_USE = 2
INTERRUPTED = 3

_ONLY_ANSWERS = {"status", "select", "doctor"}
Function = TypeVar("Function", bound=Callable[..., Any])


def _ask_for_traceback(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(dict)["debug"] = True


class Command(click.Command):
    """A command with ``--debug``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                is_eager=True,
                callback=_ask_for_traceback,
                help="Show where an error comes from.",
            )
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, after a note whether its output is all that it does."""
        given = ctx.params
        answers = (self.name in _ONLY_ANSWERS and not given.get("check")) or bool(given.get("dry_run"))
        ctx.ensure_object(dict)["only answers"] = answers
        return super().invoke(ctx)


class Group(click.Group):
    """A group whose commands end in an exit code of the table above and at most one line of error."""

    def main(  # type: ignore[override]  # it never returns, standalone or not
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run the command that ``args`` name and leave the process (SystemExit) with its exit code."""
        settings: dict[str, Any] = {"debug": False}
        extra.pop("standalone_mode", None)
        try:
            code = super().main(args=args, prog_name=prog_name, standalone_mode=False, obj=settings, **extra)
            code = _answered(code if isinstance(code, int) else DONE, settings)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(WRONG_USE)
        except click.ClickException as error:
            context = error.ctx if isinstance(error, click.UsageError) else None
            where = f" (see {context.command_path} --help)" if context is not None else ""
            _leave(f"error: {error.format_message()}{where}", WRONG_USE, settings)
        except click.Abort:
            _leave("interrupted; what is done is kept, and the same command goes on from there", INTERRUPTED, settings)
        except DashHpcError as error:
            label = "" if error.exit_code == INTERRUPTED else "error: "
            _leave(f"{label}{error}", error.exit_code, settings)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            _leave(f"error: {where}{error.strerror or error}", WRONG_USE, settings)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            _leave(f"internal error: {reason}; --debug shows where, please report it", FAILED, settings)
        sys.exit(code)


def _answered(code: int, settings: dict[str, Any]) -> int:
    """Say when the answer could not be written; a command that does nothing but answer has then failed."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    if (lost := streams.failure(sys.stdout)) is None:
        return code
    say(f"dash-hpc: standard output takes no more ({lost.strerror}): the answer is not complete", err=True)
    return WRONG_USE if code == DONE and settings.get("only answers") else code


def _leave(message: str, code: int, settings: dict[str, Any]) -> NoReturn:
    if settings["debug"]:
        streams.say(shown_block(traceback.format_exc().rstrip()))
    say(f"dash-hpc: {' '.join(message.split())}", err=True)
    sys.exit(code)


def say(line: str, *, err: bool = False) -> None:
    """Print one line; names and messages in it can neither make a second one nor reach the terminal as commands."""
    if err:
        streams.say(shown(line))
    else:
        click.echo(shown(line))


def json_option(function: Function) -> Function:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")(function)


def device_options(function: Function) -> Function:
    """Add ``--device`` and ``--pack``."""
    pack = click.option(
        "--pack",
        type=click.IntRange(min=1),
        metavar="N",
        help="Runs that advance together in a process. [default: 1; on a GPU what fits, up to 256]",
    )
    device = click.option(
        "--device",
        default="cpu",
        show_default=True,
        metavar="NAME",
        callback=parse_device,
        help="cpu; cuda (all GPUs), cuda:N (one); auto: a GPU, or the CPU and why.",
    )
    return device(pack(function))


def parse_device(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Check the name of a device."""
    if value not in (None, "cpu"):
        from dash_hpc.errors import UsageError
        from dash_hpc.ops.cuda import parse_device as parse

        try:
            parse(str(value))
        except UsageError as error:
            raise click.BadParameter(str(error), ctx, param) from error
    return value


def parse_part(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Read K/N."""
    if value is None:
        return None
    k, slash, n = value.partition("/")
    if not (slash and k.isascii() and k.isdigit() and n.isascii() and n.isdigit() and 1 <= int(k) <= int(n)):
        raise click.BadParameter(f"{value!r} is not K/N with 1 ≤ K ≤ N, such as 2/4", ctx, param)
    return int(k), int(n)


def print_json(answer: Any) -> None:
    """Print ``answer`` as one JSON document; NaN and infinity, which JSON does not have, become null."""
    click.echo(shown_json(json_text(_plain(answer), indent=2, allow_nan=False)))


def print_table(table: Any) -> None:
    """Print a rich table in full: a line too long for the terminal wraps there, it is not cut."""
    from rich.measure import Measurement

    page = console(sys.stdout)
    page.width = max(page.width, Measurement.get(page, page.options.update(width=1000), table).maximum)
    page.print(table)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "dtype"):  # a number of NumPy
        value = value.item()
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
