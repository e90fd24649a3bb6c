"""``sequences``, ``rules`` and ``profiles``: what there is, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import groupby
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from tlsprobe.catalogue import Entry, catalogue
from tlsprobe.cli.console import out, say
from tlsprobe.errors import UsageError
from tlsprobe.judge.remedies import RULES as REMEDIES
from tlsprobe.judge.rules import RULES, Rule
from tlsprobe.keys import shown
from tlsprobe.language import format_groups, grammar
from tlsprobe.model.profile import Profile
from tlsprobe.model.sequence import Awaited
from tlsprobe.profiles import list_profiles, load_profile
from tlsprobe.protocols import protocol_of
from tlsprobe.report.render_terminal import Trimmed

_T = TypeVar("_T")


def sequences(
    name: Annotated[
        str | None, typer.Argument(help="One sequence, told in full, or a chapter of them.")
    ] = None,
) -> None:
    """List the named close sequences, or those of a chapter, or tell one in full.

    The list ends with the verbs of the language that sequences are written in.
    """
    console = out()
    chapters = groupby(catalogue().values(), lambda entry: entry.group)
    listed = {group: list(entries) for group, entries in chapters}
    if name is not None and name not in listed:
        _tell(console, name, _sequence_lines(_find(name, catalogue(), "sequence")))
        return
    for group, entries in listed.items() if name is None else [(name, listed[name])]:
        say(console, f"\n{group}", "bold")
        for entry in entries:
            say(console, f"  {entry.sequence.name}", "cyan")
            _indent(console, f"{format_groups(entry.sequence.groups)}\n{entry.asks}", 4)
    if name is None:
        _tell_language(console)


def rules(
    rule_id: Annotated[str | None, typer.Argument(metavar="ID", help="One rule in full.")] = None,
) -> None:
    """List the rules that closes are judged by, or tell one in full."""
    console = out()
    if rule_id is not None:
        known = {rule.lower(): rule for rule in RULES}
        wanted = known.get(rule_id.lower(), rule_id)
        _tell(console, wanted, _rule_lines(_find(wanted, RULES, "rule")))
        return
    for rule in RULES.values():
        say(console, f"{rule.id}  ({rule.level}, {rule.source})", "cyan")
        _indent(console, rule.text, 4)


def profiles(
    name: Annotated[str | None, typer.Argument(help="One profile, told in full.")] = None,
) -> None:
    """List the kinds of server that tlsprobe knows, or tell what it knows of one."""
    console = out()
    if name is not None:
        profile = load_profile(name)
        _tell(console, f"{profile.name}: {profile.title}", _profile_lines(profile))
        return
    for known in map(load_profile, list_profiles()):
        say(console, f"{known.name:12} {known.title} ({known.protocol}, port {known.port})")


def _tell_language(console: Console) -> None:
    say(console, "\nthe language", "bold")
    joins = "Steps are separated by ';', and joined by '+' they leave in one TCP segment."
    operands = f"An event is {', '.join(Awaited)}; a wait is a duration (200us, 5ms, 1.5s) or idle."
    _indent(console, f"{joins}\n{operands}", 2)
    for written, meaning in grammar():
        say(console, f"  {written}", "cyan")
        _indent(console, meaning, 4)


def _sequence_lines(entry: Entry) -> Iterator[tuple[str, str]]:
    yield "steps", format_groups(entry.sequence.groups)
    yield "asks", entry.asks
    yield "why", entry.why
    yield "decides", ", ".join(entry.decides) or "nothing by itself: the next connection tells"


def _rule_lines(rule: Rule) -> Iterator[tuple[str, str]]:
    yield "level", str(rule.level)
    yield "binds", rule.binds
    yield (
        "source",
        rule.source if rule.checked else f"{rule.source} (wording not checked against the text)",
    )
    yield "rule", rule.text
    deciders = [e.sequence.name for e in catalogue().values() if rule.id in e.decides]
    yield "decided by", ", ".join(deciders) or "every sequence"
    remedy = REMEDIES.get(rule.id)
    if remedy is not None:
        yield "hurts", remedy.hurts
        yield "remedy", "\n".join(remedy.remedies)


def _profile_lines(profile: Profile) -> Iterator[tuple[str, str]]:
    protocol = protocol_of(profile)
    yield "protocol", f"{protocol.title} (adapter {protocol.name})"
    for name, key in protocol.keys.items():
        value = getattr(profile.settings, name)
        values = value if isinstance(value, tuple) and value else (value,)
        yield f"protocol.{name}", "\n".join((key.help, *(f"= {shown(one)}" for one in values)))
    yield "port", str(profile.port)
    if profile.idle_s is not None:
        yield "idle", f"{profile.idle_s:g} s ({profile.idle_source})"
    yield "sequences", ", ".join(profile.sequences) or "all that apply"
    if profile.image:
        yield "image", profile.image
    if profile.notes:
        yield "notes", profile.notes.strip()
    for directive in profile.directives:
        yield directive.name, directive.effect


def _find(name: str, known: dict[str, _T], what: str) -> _T:
    if name in known:
        return known[name]
    near = get_close_matches(name, list(known), 1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"'tlsprobe {what}s' lists them"
    raise UsageError(f"no {what} '{name}'", hint)


def _tell(console: Console, title: str, lines: Iterable[tuple[str, str]]) -> None:
    say(console, title, "bold")
    for word, text in lines:
        say(console, f"  {word}", "cyan")
        _indent(console, text, 4)


def _indent(console: Console, text: str, columns: int) -> None:
    console.print(Trimmed(Padding(Text(text), (0, 0, 0, columns))))
