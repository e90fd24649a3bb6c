"""The named close sequences: data in ``sequences.toml``, loaded once."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path

from tlsprobe.errors import SequenceError, UsageError
from tlsprobe.language import parse
from tlsprobe.model.sequence import WRITES, Awaited, Group, Limit, Sequence, Step, Verb


@dataclass(frozen=True, slots=True)
class Entry:
    """A sequence of the catalogue with what it asks, why, and the rules it can decide."""

    sequence: Sequence
    group: str
    asks: str
    why: str
    decides: tuple[str, ...]


@cache
def catalogue() -> dict[str, Entry]:
    """All entries by name, in the order of the table of contents."""
    text = files(__name__).joinpath("sequences.toml").read_text(encoding="utf-8")
    return {name: _entry(name, table) for name, table in tomllib.loads(text).items()}


def find_sequence(text: str) -> Sequence:
    """A sequence by catalogue name, from a file, or from its steps. Raises UsageError."""
    if text in catalogue():
        return catalogue()[text].sequence
    if text.endswith((".toml", ".txt")) or Path(text).is_file():
        return _from_file(Path(text))
    try:
        return parse(text)
    except SequenceError as error:
        near = get_close_matches(text, list(catalogue()), 1, cutoff=0.75)
        if near:
            raise UsageError(f"no sequence '{text}'", f"did you mean '{near[0]}'?") from error
        if error.hint is None or not _looks_like_a_name(text):
            raise
        hint = "'tlsprobe sequences' lists the names; steps are separated by ';'"
        raise UsageError(f"no sequence '{text}'", hint) from error


def default_sequences(has_goodbye: bool, ends_idle: bool) -> tuple[Sequence, ...]:
    """Every entry that makes sense for a protocol.

    ``has_goodbye``: the protocol has a goodbye of its own; ``ends_idle``: the server is known, or
    may be expected, to end idle connections.
    """
    return tuple(
        entry.sequence
        for entry in catalogue().values()
        if (has_goodbye or not entry.sequence.uses(Verb.TERMINATE))
        and (ends_idle or not entry.sequence.is_idle)
    )


def control_of(sequence: Sequence) -> Sequence | None:
    """The same close with nothing of ours left unread: what settles an ambiguous RST.

    Close_notify, and whatever is sent behind a goodbye, is taken out. None if that changes
    nothing, or leaves no step at which the server would close.
    """
    groups = _without_unread(sequence.groups)
    steps = Sequence("", groups).steps
    if groups == sequence.groups or not any(_makes_the_server_close(step) for step in steps):
        return None
    known = (e.sequence for e in catalogue().values() if e.sequence.groups == groups)
    return next(known, Sequence(f"{sequence.name} (control)", groups))


def _without_unread(groups: tuple[Group, ...]) -> tuple[Group, ...]:
    kept: list[Group] = []
    goodbye = False
    for group in groups:
        steps = []
        for step in group:
            unread = step.verb is Verb.CLOSE_NOTIFY or (goodbye and step.verb in WRITES)
            if step.event is Awaited.CLOSE_NOTIFY and step.wait is Limit.IDLE:
                steps.append(replace(step, event=Awaited.END))
            elif not unread and step.event is not Awaited.CLOSE_NOTIFY:
                steps.append(step)
            goodbye = goodbye or step.verb is Verb.TERMINATE
        if steps:
            kept.append(tuple(steps))
    return tuple(kept)


def _makes_the_server_close(step: Step) -> bool:
    return step.verb in {Verb.TERMINATE, Verb.FIN} or step.wait is Limit.IDLE


def _entry(name: str, table: dict[str, object]) -> Entry:
    decides = table["decides"]
    assert isinstance(decides, list)
    return Entry(
        parse(str(table["steps"]), name),
        str(table["group"]),
        str(table["asks"]),
        str(table["why"]),
        tuple(map(str, decides)),
    )


def _from_file(path: Path) -> Sequence:
    """A saved sequence: a TOML file with ``steps`` (and a ``name``), or the steps as text."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the sequence file {path}: {error}") from error
    if path.suffix != ".toml":
        return parse(text.strip(), path.stem)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}") from error
    steps = table.get("steps")
    if not isinstance(steps, str):
        hint = 'for example: steps = "request; close_notify; fin; drain"'
        raise UsageError(f"{path}: the key 'steps' is missing or not a string", hint)
    return parse(steps, str(table.get("name", path.stem)))


def _looks_like_a_name(text: str) -> bool:
    return ";" not in text and "-" in text and " " not in text.strip()
