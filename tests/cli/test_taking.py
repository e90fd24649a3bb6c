"""A command takes its options as one value, those that belong together as a value in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from tlsprobe.cli import options
from tlsprobe.cli.taking import taking
from tlsprobe.errors import UsageError


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


def test_a_passphrase_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    key = tmp_path / "me.key"
    key.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----")

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "secret"

    monkeypatch.setattr(options, "getpass", answer)
    monkeypatch.setattr(options, "_TERMINAL", key)
    for _ in range(2):
        identity = options.IdentityOptions(cert=tmp_path / "me.crt", key=key).identity()
        assert identity.passphrase == "secret"
        assert "secret" not in repr(identity)
    assert asked == [f"Passphrase of {key}: "]


def test_without_a_terminal_an_encrypted_key_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "me.pem"
    key.write_text("Proc-Type: 4,ENCRYPTED")
    monkeypatch.setattr(options, "_TERMINAL", tmp_path / "none")
    with pytest.raises(UsageError, match="no terminal to ask"):
        options.IdentityOptions(cert=key).identity()
