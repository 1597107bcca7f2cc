"""The application: the list of commands, the options that all of them share, and the report of errors."""

from __future__ import annotations

import json
import select
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from importlib import import_module
from typing import Annotated, Any, TypeVar

import typer

from noether.data.zarr_store._version import __version__
from noether.data.zarr_store.cli import help_text
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
    "add-fields": "Add fields of a source to a store.",
    "bench": "Measure the speed of random draws.",
    "cache": "Manage the cache of remote chunks.",
    "convert": "Convert a source into a store.",
    "copy": "Copy a store or a part of it.",
    "demo": "Write simulations and a store to try the commands on.",
    "export": "Write fields onto the mesh of a sample.",
    "index": "Write the chunk index of a store.",
    "info": "Show the contents of a store.",
    "inspect": "List the arrays in source files.",
    "merge": "List all samples in the manifest.",
    "merge-stats": "Merge files of statistics.",
    "plot": "Plot a sample, coloured by a field.",
    "remove": "Remove samples or fields.",
    "repair": "Repair a damaged store.",
    "set-attributes": "Set attributes of samples.",
    "split": "Split samples at random.",
    "stats": "Compute statistics of fields.",
    "verify": "Check every byte of a store.",
    "view": "Show the points of a store in a browser.",
}
"""First sentence of the help of each command. The module of a command is imported when the command runs."""

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
        metavar="LEVEL",
        help="Log to stderr from this level on: debug, info, warning or error. With debug, each request is logged.",
    ),
]


def _log_level_option() -> Any:
    """Return the option as a parameter to append to a command; the function of the command does not get its value."""
    owner = typer.Typer(add_completion=False)

    @owner.command()
    def _(log_level: _LogLevel = None) -> None: ...

    [option] = (one for one in typer.main.get_command(owner).params if one.name == "log_level")
    option.expose_value = False
    return option


def group(name: str, description: str) -> typer.Typer:
    """Return an application for the subcommands of the command `name`; its module has that name too."""
    _groups[name] = typer.Typer(
        name=name,
        cls=help_text.Group,
        help=description,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    return _groups[name]


def load_command(name: str) -> Any:
    """Import the module of a command; return the command as Typer builds it."""
    import_module(f"noether.data.zarr_store.cli.{name.replace('-', '_')}")
    if name in _groups:
        loaded: Any = typer.main.get_command(_groups[name])
        for subcommand in loaded.commands.values():
            subcommand.params.append(_log_level_option())
        return loaded
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    single.command(name, cls=help_text.Command)(_functions[name])
    loaded = typer.main.get_command(single)
    loaded.params.append(_log_level_option())
    return loaded


class _Unloaded(help_text.Command):
    """A command in the list of commands, whose module is imported when the command runs."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        return load_command(str(self.name)).make_context(*args, **kwargs)


class _Commands(help_text.Group):
    """The list of commands. It imports no module of a command."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  # the signature is that of Typer
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  # as above
        return _Unloaded(cmd_name, help=COMMANDS[cmd_name]) if cmd_name in COMMANDS else None


app = typer.Typer(
    name="noether-zarr",
    cls=_Commands,
    help="Sharded, pre-shuffled Zarr v3 stores for CFD point data.",
    no_args_is_help=True,
    rich_markup_mode=None,  # importing rich takes longer than everything else that help needs
    pretty_exceptions_enable=False,
    add_completion=True,
)

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
StorageOption = Annotated[
    list[str] | None,
    typer.Option(
        "--storage-option",
        metavar="KEY=VALUE",
        help="Option of the storage of the store, such as skip_signature=true. May be repeated.",
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        # Imported here because importing the codec takes long, and help does not need it.
        from noether.data.zarr_store.codec import implementation

        typer.echo(f"noether-zarr {__version__} ({implementation})")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and the decoder: compiled or Python."
        ),
    ] = False,
    log_level: _LogLevel = None,
) -> None: ...


@contextmanager
def errors_reported(
    debug: bool, interrupted: str = "complete samples are kept; run the same command again to continue"
) -> Iterator[None]:
    """Turn an error into one line on stderr and an exit code.

    Parameters
    ----------
    debug : bool
        Print the traceback as well.
    interrupted : str
        Text after "interrupted; ": the state that Ctrl-C left behind, and what to do.
    """
    try:
        with _warnings_reported():
            yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        from noether.data.zarr_store.cli.output import echo

        echo(f"interrupted; {interrupted}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        from noether.data.zarr_store.cli.output import echo

        if debug:
            traceback.print_exc()
        if isinstance(error, BrokenPipeError) and _is_stdout_broken():
            raise  # the program that reads the output has ended, such as `head`: Typer ends the command with code 1
        if isinstance(error, StoreError):
            echo(f"error: {error}", err=True)
        else:
            echo(f"unexpected error: {type(error).__name__}: {error}; use --debug to see the traceback", err=True)
        raise typer.Exit(WRONG_USAGE if isinstance(error, ArgumentError) else FAILED) from error


@contextmanager
def _warnings_reported() -> Iterator[None]:
    """Print a warning of this library as one line, without the place in the code."""
    show = warnings.showwarning

    def show_line(message: Warning | str, category: type[Warning], *args: Any, **kwargs: Any) -> None:
        from noether.data.zarr_store.cli.output import echo
        from noether.data.zarr_store.stores import StorageWarning

        if issubclass(category, StorageWarning | PrecisionWarning | MixedSamplesWarning | WholeFileWarning):
            echo(f"warning: {message}", err=True)
        else:
            show(message, category, *args, **kwargs)

    with warnings.catch_warnings():
        warnings.showwarning = show_line
        yield


def key_values(pairs: list[str] | None, option: str, form: str = "KEY=VALUE") -> dict[str, str]:
    """Return the values of an option as a dict; raise `ArgumentError` if one has another form."""
    parsed = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise ArgumentError(f"{option}: expected {form}, got {pair!r}")
        parsed[key] = value
    return parsed


def _is_stdout_broken() -> bool:
    """Return whether nobody reads stdout. The pipe to another process can break too, and that is an error to report."""
    if not hasattr(select, "poll"):
        return False  # Windows
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # an error is reported in any case
    return any(event & select.POLLERR for _, event in poll.poll(0))


def parse_options(pairs: list[str] | None, option: str) -> dict[str, Any]:
    """Return options of a storage as a dict; values that are objects, lists or booleans are JSON."""
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
