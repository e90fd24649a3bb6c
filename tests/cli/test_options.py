"""A command takes its options as one value, those that belong together as a value in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from tlsprobe.cli.options import taking


@dataclass(frozen=True, slots=True)
class Colours:
    ink: Annotated[str, typer.Option(help="What to write with.")] = "black"
    is_glossy: Annotated[bool, typer.Option("--glossy", help="Shine.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    name: Annotated[str, typer.Argument(metavar="NAME")]
    colours: Colours
    copies: Annotated[list[int] | None, typer.Option(help="How many.")] = None


taken: list[Options] = []


@taking(Options)
def print_(options: Options) -> None:
    """Print a name."""
    taken.append(options)


app = typer.Typer()
app.command("print")(print_)


def test_what_was_typed_is_one_value() -> None:
    words = ["me", "--ink", "red", "--glossy", "--copies", "2", "--copies", "3"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert taken.pop() == Options(name="me", colours=Colours("red", True), copies=[2, 3])


def test_what_was_not_typed_has_its_default() -> None:
    assert CliRunner().invoke(app, ["me"]).exit_code == 0
    assert taken.pop() == Options(name="me", colours=Colours(), copies=None)


def test_the_help_lists_a_group_in_its_place() -> None:
    said = CliRunner().invoke(app, ["--help"]).output
    assert "Print a name." in said
    assert said.index("--ink") < said.index("--glossy") < said.index("--copies")


def test_what_is_required_is_missed() -> None:
    assert CliRunner().invoke(app, []).exit_code == 2
