"""The verbs by name, and a group that imports the module of a verb when it is used.

Listing the verbs imports none of them. Each module takes its time: it brings the event loop, or
TLS, or a renderer.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command

CONTEXT = {"help_option_names": ["-h", "--help"]}


class Verb(NamedTuple):
    """Where a verb's function (or its own app, for a group) is, and the first line of its help."""

    module: str
    attribute: str
    help: str


VERBS = {
    "demo": Verb(
        "demo",
        "demo",
        "Probe the built-in reference servers on loopback and print the matrix.",
    ),
    "run": Verb(
        "run",
        "run",
        "Run close sequences against a server, sniff, and show who resets whom and why.",
    ),
    "matrix": Verb(
        "matrix",
        "matrix",
        "Put the results of several runs into one compatibility matrix.",
    ),
    "report": Verb(
        "report",
        "report",
        "Write the page to share into results folders: one HTML file, which needs no other.",
    ),
    "explain": Verb(
        "explain",
        "explain",
        "Explain how connections in a capture ended: who sent each reset, why, whom it hurts.",
    ),
    "fuzz": Verb(
        "fuzz",
        "fuzz",
        "Generate close sequences, run them, and show the shortest that break a property.",
    ),
    "fleet": Verb(
        "fleet",
        "app",
        "Probe many targets at once, with a ledger of what came of each.",
    ),
    "judge": Verb(
        "judge",
        "judge",
        "Judge recorded facts again with the rules of today, and say what changed.",
    ),
    "sequences": Verb(
        "listings",
        "sequences",
        "List the named close sequences, or those of a chapter, or show one in full.",
    ),
    "rules": Verb(
        "listings", "rules", "List the rules that closes are judged by, or show one in full."
    ),
    "profiles": Verb(
        "listings",
        "profiles",
        "List the server profiles, or show one in full.",
    ),
    "schema": Verb(
        "schema",
        "schema",
        "Print the JSON Schema of a document: run, matrix, explain, fuzz or judge.",
    ),
    "doctor": Verb(
        "doctor",
        "doctor",
        "Check what tlsprobe can use on this machine, and how to get what is missing.",
    ),
    "lab": Verb(
        "lab",
        "app",
        "Start real servers from their profiles, probe them, and compare them in one matrix.",
    ),
}
"""In the order of ``tlsprobe --help``."""


class LazyGroup(TyperGroup):
    """Knows of a verb only its line in the list of verbs, until the verb is used."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb that the command line names, imported now, and the words that are left."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in VERBS else command, rest


def load(name: str) -> Any:
    """Import the module of a verb; the command in it."""
    verb = VERBS[name]
    found = getattr(import_module(f"tlsprobe.cli.{verb.module}"), verb.attribute)
    if isinstance(found, typer.Typer):
        return get_command(found)
    alone = typer.Typer(add_completion=False, context_settings=CONTEXT)
    alone.command(name)(found)
    return get_command(alone)


def list_verbs(app: typer.Typer) -> None:
    """Put every verb into the app's list."""
    for name, verb in VERBS.items():
        app.command(name, help=verb.help)(_not_imported)


def _not_imported() -> None:
    """Stands in the list for a verb; ``LazyGroup`` imports the verb before it is called."""
