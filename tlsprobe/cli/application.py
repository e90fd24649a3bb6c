"""The application: its list of verbs, and what becomes of an error that no verb expected."""

from __future__ import annotations

import gc
import sys

import typer

from tlsprobe.campaign.garbage import COLLECT_EVERY
from tlsprobe.cli.console import complain, version_line
from tlsprobe.cli.streams import settle_streams
from tlsprobe.cli.verbs import CONTEXT, LazyGroup, list_verbs
from tlsprobe.errors import TlsprobeError, UsageError, plain_errors

app = typer.Typer(
    name="tlsprobe",
    cls=LazyGroup,
    help="How does this server end a TLS connection, who resets whom, why, and whom does it hurt?",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
)
list_verbs(app)


def _version(wanted: bool) -> None:
    if wanted:
        print(version_line())
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", callback=_version, is_eager=True
    ),
) -> None:
    pass


def main() -> None:
    """Do what the command line says. Raises KeyboardInterrupt."""
    gc.set_threshold(COLLECT_EVERY)
    settle_streams()
    try:
        with plain_errors():
            app()
    except TlsprobeError as error:
        complain(error)
        sys.exit(error.exit_code)
    except PermissionError as error:
        if error.filename is None:
            raise
        told = UsageError(f"{error.filename}: {error.strerror}", "check the path and its rights")
        complain(told)
        sys.exit(told.exit_code)
