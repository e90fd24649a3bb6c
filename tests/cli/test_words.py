"""The words that tlsprobe has for what it knows."""

from __future__ import annotations

from typer.testing import CliRunner

from tlsprobe.cli import app
from tlsprobe.language import grammar


def said(*words: str) -> str:
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0
    return ran.stdout


def test_a_chapter_is_listed_by_itself() -> None:
    listed = said("sequences", "goodbye")
    assert "  terminate-close-notify\n" in listed
    assert "fin-only" not in listed


def test_a_sequence_is_told_in_full() -> None:
    told = said("sequences", "terminate-close-notify")
    assert "request; terminate; close_notify" in told
    assert "decides" in told


def test_the_list_of_sequences_ends_with_the_language() -> None:
    listed = said("sequences").partition("\nthe language\n")[2]
    for written, meaning in grammar():
        assert f"  {written}\n    {meaning}\n" in listed


def test_all_chapters_hold_what_is_in_one() -> None:
    assert said("sequences", "race") in said("sequences")
