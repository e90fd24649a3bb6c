"""Consoles and messages: data goes to standard output, everything else to standard error."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Callable

import typer
from rich.console import Console
from rich.text import Text

from tlsprobe.errors import TlsprobeError
from tlsprobe.report.escape import printable
from tlsprobe.version import VERSION

PAPER_WIDTH = 80
"""Columns of a report that does not go to a terminal."""


def out(*, no_color: bool = False) -> Console:
    """Standard output. NO_COLOR and a pipe turn colour off by themselves."""
    return _console(no_color, error=False)


def err(*, no_color: bool = False) -> Console:
    """Standard error."""
    return _console(no_color, error=True)


def one_of(words: tuple[str, ...]) -> Callable[[str | None], str | None]:
    """A check of an option that is one of these words, for choices that are a list elsewhere.

    An option that was not given, and has no default, is none of them, and right.
    """

    def checked(word: str | None) -> str | None:
        if word is not None and word not in words:
            raise typer.BadParameter(f"{word!r} is not one of {', '.join(words)}.")
        return word

    return checked


def finite(number: float | None) -> float | None:
    """A check of an option that is a length of time or a rate: no bound keeps NaN out."""
    if number is not None and not math.isfinite(number):
        raise typer.BadParameter(f"{number} is not a number that one can count to.")
    return number


def complain(error: TlsprobeError) -> None:
    """Print an error with its hint to standard error."""
    console = err()
    console.print(Text.assemble(("error: ", "bold red"), _seen(error.message)), soft_wrap=True)
    if error.hint:
        console.print(Text.assemble(("hint: ", "bold cyan"), _seen(error.hint)), soft_wrap=True)


def _seen(text: str) -> str:
    """Lines without what a file or a server may have put into them to steer the terminal."""
    return "\n".join(map(printable, text.split("\n")))


def say(console: Console, text: str, style: str = "") -> None:
    """One line without markup, however strange its words."""
    console.print(Text(_seen(text), style), soft_wrap=True)


def note(text: str) -> None:
    """A line on standard error, which data on standard output is not mixed with."""
    say(err(), text)


def version_line() -> str:
    """``tlsprobe 0.1.0 (Python 3.11.7, OpenSSL ...)``."""
    from tlsprobe.tls import OPENSSL_VERSION

    return f"tlsprobe {VERSION} (Python {platform.python_version()}, {OPENSSL_VERSION})"


def _console(no_color: bool, error: bool) -> Console:
    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else PAPER_WIDTH
    return Console(stderr=error, no_color=no_color or None, width=width, highlight=False)
