"""What all commands share: the application, their options, and how errors become a line and an exit code."""

from __future__ import annotations

import json
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from importlib import import_module
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from noether.data.zarr_store._version import __version__
from noether.data.zarr_store.errors import (
    ArgumentError,
    MixedSamplesWarning,
    PrecisionWarning,
    StoreError,
    WholeFileWarning,
)

__all__ = [
    "DAMAGE_FOUND",
    "FAILED",
    "INTERRUPTED",
    "WRONG_USAGE",
    "Debug",
    "StorageOption",
    "app",
    "command",
    "errors_reported",
    "group",
    "key_values",
    "load_command",
    "parse_options",
]

FAILED, WRONG_USAGE, DAMAGE_FOUND, INTERRUPTED = 1, 2, 4, 130

COMMANDS = {
    "add-fields": "Add fields of a source to the samples of a store.",
    "bench": "Measure what a store gives on this machine, and what limits it.",
    "cache": "Keep chunks of remote stores on this machine.",
    "convert": "Convert a source into a store.",
    "copy": "Copy a store, or a fraction of its points.",
    "export": "Write fields or predictions onto the mesh of a sample.",
    "index": "Make the chunk index, with which a draw reads chunks alone.",
    "info": "Show what a store or a sample holds.",
    "inspect": "List what files hold, and propose a mapping.",
    "merge": "Unite the samples that are there with the manifest.",
    "merge-stats": "Merge statistics that were computed apart.",
    "remove": "Remove samples from a store.",
    "repair": "Mend what can be mended of a store.",
    "set-attributes": "Set attributes of samples from a table.",
    "split": "Split samples at random into train, validation and test.",
    "stats": "Compute mean, standard deviation and extremes of fields.",
    "verify": "Check every byte of a store; nothing is changed.",
    "view": "Show the points of a store in the browser.",
}
"""What `noether-zarr --help` says of each command. Their modules, and all that these need, load when they run."""

_functions: dict[str, Callable[..., None]] = {}
_groups: dict[str, typer.Typer] = {}
Function = TypeVar("Function", bound=Callable[..., None])


def command(name: str) -> Callable[[Function], Function]:
    """Register a function as the command `name`; its module has that name too."""

    def register(function: Function) -> Function:
        _functions[name] = function
        return function

    return register


class _Level(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _log_until_the_end(ctx: typer.Context, level: _Level | None) -> _Level | None:
    if level is not None:
        from noether.data.zarr_store.core import logged_to_stderr

        logging = ExitStack()
        logging.enter_context(logged_to_stderr(level.value))
        ctx.call_on_close(logging.close)
    return level


_LogLevel = Annotated[
    _Level | None,
    typer.Option(
        "--log-level",
        callback=_log_until_the_end,
        help="Log to stderr; with debug, a line for each request: the key, the bytes, the time and the try.",
    ),
]


def _log_level_option() -> Any:
    """Return the option as a parameter that a command can be given, and whose value its function does not see."""
    owner = typer.Typer(add_completion=False)

    @owner.command()
    def _(log_level: _LogLevel = None) -> None: ...

    [option] = (one for one in typer.main.get_command(owner).params if one.name == "log_level")
    option.expose_value = False
    return option


def group(name: str, help_text: str) -> typer.Typer:
    """Register commands under the command `name`, in whose module they are; they are added to what this returns."""
    _groups[name] = typer.Typer(
        name=name,
        help=help_text,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    return _groups[name]


def load_command(name: str) -> Any:
    """Import the module of a command, and return the command with its options, as Typer makes it."""
    import_module(f"noether.data.zarr_store.cli.{name.replace('-', '_')}")
    if name in _groups:
        group: Any = typer.main.get_command(_groups[name])
        for one in group.commands.values():
            one.params.append(_log_level_option())
        return group
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    single.command(name)(_functions[name])
    made = typer.main.get_command(single)
    made.params.append(_log_level_option())
    return made


class _Unloaded(TyperCommand):
    """Stands for a command in the list of commands, and becomes the command when it runs."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        return load_command(str(self.name)).make_context(*args, **kwargs)


class _Commands(TyperGroup):
    """The list of commands, none of which is loaded yet."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  # the signature is that of Typer
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  # as above
        return _Unloaded(cmd_name, help=COMMANDS[cmd_name]) if cmd_name in COMMANDS else None


app = typer.Typer(
    name="noether-zarr",
    cls=_Commands,
    help="Sharded, pre-shuffled Zarr v3 stores for CFD point data.",
    no_args_is_help=True,
    rich_markup_mode=None,  # to import rich takes longer than all else that help needs
    pretty_exceptions_enable=False,
    add_completion=False,
)

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
StorageOption = Annotated[
    list[str] | None,
    typer.Option(
        "--storage-option",
        metavar="KEY=VALUE",
        help="Option of the store's file system, such as endpoint=http://127.0.0.1:8333. May be repeated.",
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        # Imported here, since no other command needs the codec before it has parsed its arguments.
        from noether.data.zarr_store.codec import implementation

        typer.echo(f"noether-zarr {__version__} ({implementation})")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version, and which code decodes."),
    ] = False,
    log_level: _LogLevel = None,
) -> None: ...


@contextmanager
def errors_reported(
    debug: bool, interrupted: str = "what is complete is kept: run the same command again to go on"
) -> Iterator[None]:
    """Turn errors into one line and an exit code; the traceback is for those who ask for it.

    Parameters
    ----------
    debug : bool
        Whether the traceback is shown.
    interrupted : str
        What Ctrl-C left behind.
    """
    try:
        with _warnings_reported():
            yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        typer.echo(f"interrupted; {interrupted}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        from noether.data.zarr_store.core import printable

        if debug:
            traceback.print_exc()
        if isinstance(error, StoreError):
            typer.echo(printable(f"error: {error}"), err=True)
        else:
            text = f"unexpected error: {type(error).__name__}: {error} (--debug shows where)"
            typer.echo(printable(text), err=True)
        raise typer.Exit(WRONG_USAGE if isinstance(error, ArgumentError) else FAILED) from error


@contextmanager
def _warnings_reported() -> Iterator[None]:
    """Print a warning of this library as a line, without its place in the code."""
    show = warnings.showwarning

    def show_line(message: Warning | str, category: type[Warning], *args: Any, **kwargs: Any) -> None:
        from noether.data.zarr_store.core import printable
        from noether.data.zarr_store.stores import StorageWarning

        if issubclass(category, StorageWarning | PrecisionWarning | MixedSamplesWarning | WholeFileWarning):
            typer.echo(printable(f"warning: {message}"), err=True)
        else:
            show(message, category, *args, **kwargs)

    with warnings.catch_warnings():
        warnings.showwarning = show_line
        yield


def key_values(pairs: list[str] | None, option: str, form: str = "KEY=VALUE") -> dict[str, str]:
    parsed = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise ArgumentError(f"{option}: expected {form}, got {pair!r}")
        parsed[key] = value
    return parsed


def parse_options(pairs: list[str] | None, option: str) -> dict[str, Any]:
    """Parse options of a file system; objects, lists and booleans are written as JSON."""
    options: dict[str, Any] = dict(key_values(pairs, option))
    for key, value in options.items():
        if value in {"true", "false"} or value[0] in "{[":
            try:
                options[key] = json.loads(value)
            except ValueError as error:
                raise ArgumentError(
                    f"{option}: {key}: expected JSON after a bracket, got {value!r} ({error})"
                ) from error
    return options
