"""``sequences``, ``rules`` and ``profiles``: lists of what tlsprobe knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Annotated, TypeVar

import typer

from tlsprobe.catalogue import Entry, catalogue
from tlsprobe.cli.completing import profile_names, rule_names, sequence_names
from tlsprobe.cli.console import out
from tlsprobe.errors import UsageError
from tlsprobe.judge.rules import RULES, Rule
from tlsprobe.keys import shown
from tlsprobe.language import format_groups, grammar
from tlsprobe.model.alerts import DESCRIPTIONS, LEVELS
from tlsprobe.model.profile import Profile
from tlsprobe.model.sequence import Awaited, Signal
from tlsprobe.profiles import list_profiles, load_profile
from tlsprobe.protocols import protocol_of
from tlsprobe.report.blocks import Block, Field, Fields, Heading, Paragraph
from tlsprobe.report.render_terminal import print_page
from tlsprobe.spelling import nearest

_T = TypeVar("_T")


def sequences(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A sequence to show in full, or a chapter to list.", autocompletion=sequence_names
        ),
    ] = None,
) -> None:
    """List the named close sequences, or those of a chapter, or show one in full.

    The list ends with the verbs of the language that sequences are written in.
    """
    chapters = groupby(catalogue().values(), lambda entry: entry.group)
    listed = {group: list(entries) for group, entries in chapters}
    if name is None:
        whole = (block for group, entries in listed.items() for block in _chapter(group, entries))
        print_page(out(), (*whole, *_language()))
    elif name in listed:
        print_page(out(), tuple(_chapter(name, listed[name])))
    else:
        _show(name, _sequence_fields(_find(name, catalogue(), "sequence")))


def rules(
    rule_id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="A rule to show in full.", autocompletion=rule_names),
    ] = None,
) -> None:
    """List the rules that closes are judged by, or show one in full."""
    if rule_id is not None:
        known = {rule.lower(): rule for rule in RULES}
        wanted = known.get(rule_id.lower(), rule_id)
        _show(wanted, _rule_fields(_find(wanted, RULES, "rule")))
        return
    listed = (
        Field(f"{rule.id} ({rule.level}, {rule.source})", rule.text) for rule in RULES.values()
    )
    print_page(out(), (Fields(tuple(listed), apart=True),))


def profiles(
    name: Annotated[
        str | None,
        typer.Argument(help="A profile to show in full.", autocompletion=profile_names),
    ] = None,
) -> None:
    """List the server profiles, or show one in full."""
    if name is not None:
        profile = load_profile(name)
        _show(f"{profile.name}: {profile.title}", _profile_fields(profile), apart=True)
        return
    listed = (
        Field(known.name, f"{known.title} ({known.protocol}, port {known.port})")
        for known in map(load_profile, list_profiles())
    )
    print_page(out(), (Fields(tuple(listed)),))


def _chapter(group: str, entries: Iterable[Entry]) -> Iterator[Block]:
    yield Heading(2, group)
    listed = (
        Field(entry.sequence.name, format_groups(entry.sequence.groups), (entry.asks,))
        for entry in entries
    )
    yield Fields(tuple(listed), apart=True)


def _language() -> Iterator[Block]:
    yield Heading(2, "the language")
    yield Paragraph("Steps are separated by ';', and joined by '+' they leave in one TCP segment.")
    yield Paragraph(
        f"An event is {', '.join(Awaited)}; a wait is a duration (200us, 5ms, 1.5s) or idle."
    )
    yield Paragraph(
        f"A level is {' or '.join(LEVELS)}; a name is one of {', '.join(DESCRIPTIONS)}."
    )
    yield Paragraph(f"What the server's process is told is one of {', '.join(Signal)}.")
    yield Fields(tuple(Field(written, meaning) for written, meaning in grammar()), apart=True)


def _sequence_fields(entry: Entry) -> Iterator[Field]:
    yield Field("steps", format_groups(entry.sequence.groups))
    yield Field("asks", entry.asks)
    yield Field("why", entry.why)
    yield Field("who", f"{entry.who}: {entry.example}")
    nothing = "nothing by itself; it shows in the next connection"
    yield Field("decides", ", ".join(entry.decides) or nothing)


def _rule_fields(rule: Rule) -> Iterator[Field]:
    yield Field("level", str(rule.level))
    yield Field("binds", rule.binds)
    yield Field("source", rule.source)
    yield Field("rule", rule.text)
    deciders = [e.sequence.name for e in catalogue().values() if rule.id in e.decides]
    yield Field("decided by", ", ".join(deciders) or "every sequence")
    if rule.remedy is not None:
        yield Field("hurts", rule.remedy.hurts)
        yield Field("remedy", items=rule.remedy.sentences)


def _profile_fields(profile: Profile) -> Iterator[Field]:
    protocol = protocol_of(profile)
    yield Field("protocol", f"{protocol.title} (adapter {protocol.name})")
    for name, key in protocol.keys.items():
        value = getattr(profile.settings, name)
        values = value if isinstance(value, tuple) and value else (value,)
        yield Field(f"protocol.{name}", key.help, tuple(f"= {shown(one)}" for one in values))
    yield Field("port", str(profile.port))
    if profile.idle_s is not None:
        yield Field("idle", f"{profile.idle_s:g} s ({profile.idle_source})")
    yield Field("sequences", ", ".join(profile.sequences) or "all that apply")
    if profile.image:
        yield Field("image", profile.image)
    if profile.notes:
        yield Field("notes", " ".join(profile.notes.split()))
    yield from (Field(directive.name, directive.effect) for directive in profile.directives)


def _find(name: str, known: dict[str, _T], what: str) -> _T:
    if name in known:
        return known[name]
    near = nearest(name, known)
    hint = f"did you mean '{near}'?" if near else f"'tlsprobe {what}s' lists them"
    raise UsageError(f"no {what} '{name}'", hint)


def _show(title: str, fields: Iterable[Field], *, apart: bool = False) -> None:
    print_page(out(), (Heading(1, title), Fields(tuple(fields), apart)))
