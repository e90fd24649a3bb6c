"""The lists of what tlsprobe knows."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tests.report.drawn import words
from tlsprobe.cli.application import app
from tlsprobe.language import grammar
from tlsprobe.profiles import list_profiles, load_profile
from tlsprobe.protocols import protocol_of


def said(*words: str) -> str:
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0
    return ran.stdout


def test_a_chapter_is_listed_by_itself() -> None:
    listed = said("sequences", "goodbye")
    assert "  terminate-close-notify\n" in listed
    assert "fin-only" not in listed


def test_a_sequence_is_shown_in_full() -> None:
    shown = said("sequences", "terminate-close-notify")
    assert "request; terminate; close_notify" in shown
    assert "decides" in shown


@pytest.mark.slow
def test_the_list_of_sequences_ends_with_the_language() -> None:
    listed = said("sequences").partition("\nthe language\n")[2]
    for written, meaning in grammar():
        assert words(f"{written} {meaning}") in words(listed)


@pytest.mark.parametrize("name", list_profiles())
def test_every_key_of_a_profile_is_shown_with_its_help_and_its_value(name: str) -> None:
    shown = said("profiles", name)
    for key in protocol_of(load_profile(name)).keys:
        assert f"  protocol.{key}\n" in shown


def test_the_value_of_a_key_is_shown_as_a_profile_has_it() -> None:
    shown = said("profiles", "postgres")
    assert (
        '  protocol.query\n    one string of SQL, sent as a simple query\n    = "SELECT 1"\n'
        in shown
    )


@pytest.mark.slow
def test_all_chapters_hold_what_is_in_one() -> None:
    assert said("sequences", "race") in said("sequences")
