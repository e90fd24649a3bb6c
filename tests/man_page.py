"""Writes ``docs/tlsprobe.1``, the manual page, from what ``--help`` says.

``python -m tests.man_page`` after every change of an option; a test holds both equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import Any

from tlsprobe.cli.verbs import VERBS, load
from tlsprobe.version import VERSION

DATE = "2026-11-26"
"""When the page was last looked through: man(1) shows one, and nothing that is made has any."""

WIDTH = 78

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tlsprobe.1"

_ABOUT = "how a server ends its TLS connections: who resets whom, why, and whom it hurts"
_EXIT = {
    "0": "nothing at or above --fail-on, or no change since --expect",
    "1": "something was, or a cell could not be measured",
    "2": "the command line, a profile or a sequence is wrong",
    "3": "nothing could be measured",
    "130": "interrupted, with what was measured kept",
}
_ENVIRONMENT = {
    "NO_COLOR": "Print no colour.",
    "SSLKEYLOGFILE": "Append TLS secrets to this file, as --keylog does.",
    "GITHUB_ACTIONS": "If true, print annotations, as --github does.",
    "GITHUB_STEP_SUMMARY": "The file that takes the step summary.",
}
_FILES = {
    "tlsprobe.toml": "Options, targets and waivers, read from the working directory.",
    "results/": "Results folders, unless --out names one.",
}


def man_page() -> str:
    """The page, as roff."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield f'.TH TLSPROBE 1 "{DATE}" "tlsprobe {VERSION}" "User Commands"'
    yield from (".SH NAME", *_lines_of(f"tlsprobe \\- {_said(_ABOUT)}"))
    yield from (".SH SYNOPSIS", ".B tlsprobe", ".I COMMAND", "[\\fIOPTION\\fR]...")
    yield ".SH COMMANDS"
    for name in VERBS:
        command = load(name)
        subcommands: dict[str, Any] = getattr(command, "commands", {})
        for below, one in subcommands.items() or [("", command)]:
            yield from _command(f"tlsprobe {name} {below}".strip(), one)
    yield from _table("EXIT STATUS", _EXIT)
    yield from _table("ENVIRONMENT", _ENVIRONMENT)
    yield from _table("FILES", _FILES)


def _command(words: str, command: Any) -> Iterator[str]:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    metavars = (one.metavar or str(one.name).upper() for one in arguments)
    yield f".SS {_said(' '.join((words, *metavars)))}"
    paragraphs = re.split(r"\n\s*\n", (command.help or "").replace("\b", ""))
    for place, paragraph in enumerate(paragraphs):
        yield from [".PP"] * bool(place)
        yield from _lines_of(_said(paragraph))
    for one in (*arguments, *(p for p in command.params if p.param_type_name == "option")):
        if not getattr(one, "hidden", False) and one.help:
            yield from (".TP", _names(one), *_lines_of(_said(one.help)))


def _names(one: Any) -> str:
    if one.param_type_name == "argument":
        return f"\\fI{_said(one.metavar or str(one.name).upper())}\\fR"
    names = ", ".join(f"\\fB{_said(name)}\\fR" for name in (*one.opts, *one.secondary_opts))
    return (
        names if one.is_flag else f"{names} \\fI{_said(one.metavar or str(one.name).upper())}\\fR"
    )


def _table(heading: str, rows: dict[str, str]) -> Iterator[str]:
    yield f".SH {heading}"
    for name, meaning in rows.items():
        yield from (".TP", f".B {_said(name)}", *_lines_of(_said(meaning)))


def _said(text: str) -> str:
    """Text as roff prints it: hyphens stay hyphens."""
    return text.replace("\\", "\\e").replace("-", "\\-")


def _lines_of(text: str) -> Iterator[str]:
    """Running text in lines as roff wants them, none of which begins a request."""
    for line in wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False):
        yield f"\\&{line}" if line.startswith((".", "'")) else line


if __name__ == "__main__":
    PAGE.write_text(man_page(), encoding="utf-8")
    print(PAGE)
