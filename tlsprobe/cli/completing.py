"""What a shell offers for the names that commands take: sequences, profiles, rules."""

from __future__ import annotations

from collections.abc import Iterable


def sequence_names(incomplete: str) -> list[str]:
    """Named sequences and chapters that begin so."""
    from tlsprobe.catalogue import catalogue

    entries = catalogue()
    return _beginning(incomplete, (*entries, *(entry.group for entry in entries.values())))


def profile_names(incomplete: str) -> list[str]:
    """Profiles that begin so. Where there are none, the shell goes on with files."""
    from tlsprobe.profiles import list_profiles

    return _beginning(incomplete, list_profiles())


def rule_names(incomplete: str) -> list[str]:
    """Rules whose ids begin so."""
    from tlsprobe.judge.rules import RULES

    return _beginning(incomplete, RULES)


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]
