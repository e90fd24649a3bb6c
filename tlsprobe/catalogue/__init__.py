"""The named close sequences: data in ``sequences.toml``, loaded once."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from typing import assert_never

from tlsprobe.errors import SequenceError, UsageError
from tlsprobe.language import parse
from tlsprobe.model.behaviour import Who
from tlsprobe.model.sequence import Awaited, Group, Limit, Sequence, Signal, Step
from tlsprobe.model.verbs import ANNOUNCES, ENDS, RACES, WRITES, Form, Verb
from tlsprobe.spelling import nearest


@dataclass(frozen=True, slots=True)
class Entry:
    """A sequence of the catalogue with what it asks, why, and the rules it can decide.

    ``who`` closes like that, for ``example``.
    """

    sequence: Sequence
    group: str
    asks: str
    why: str
    who: Who
    example: str
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
    if text.endswith((".toml", ".txt")) or _is_file(text):
        return _from_file(Path(text))
    try:
        return parse(text)
    except SequenceError as error:
        if not text.strip() or set(text.strip()) & set(';+" '):  # steps are no name
            raise
        chapters = dict.fromkeys(entry.group for entry in catalogue().values())
        near = nearest(text, (*catalogue(), *chapters))
        if near:
            raise UsageError(f"no sequence '{text}'", f"did you mean '{near}'?") from error
        if error.hint is None or error.hint.startswith("did you mean"):
            raise
        hint = "'tlsprobe sequences' lists the names; steps are separated by ';'"
        told = f"no file '{text}'" if "/" in text else f"no sequence '{text}'"
        raise UsageError(told, hint) from error


def find_sequences(text: str) -> tuple[Sequence, ...]:
    """The sequences of a chapter, or the one that ``find_sequence`` finds. Chapters come first."""
    chapter = tuple(e.sequence for e in catalogue().values() if e.group == text)
    return chapter or (find_sequence(text),)


OPT_IN = frozenset({"control", "wire", "shutdown", "limits"})
"""The chapters that are measured only where somebody asks for them by name."""


def default_sequences(offered: frozenset[Form], *, has_goodbye: bool) -> tuple[Sequence, ...]:
    """Every entry that makes sense for a protocol with these forms of request, but for OPT_IN."""
    every = (entry.sequence for entry in catalogue().values() if entry.group not in OPT_IN)
    return tuple(s for s in every if lacks(s, offered, has_goodbye=has_goodbye) is None)


def lacks(
    sequence: Sequence,
    offered: frozenset[Form],
    *,
    has_goodbye: bool,
    knows: Collection[Signal] = (),
    is_commanded: bool = False,
) -> str | None:
    """What a sequence needs and a server does not have, in words; None if it applies.

    ``knows`` is what the server's process can be told, nothing where there is none to tell.
    ``is_commanded``: another connection asks for those that are probed, and has them resume its own
    session.
    """
    untold = [what for what in sequence.signals if what not in knows]
    if untold:
        return f"a signal for '{untold[0]}'" if knows else NO_PROCESS
    if is_commanded and sequence.connections > 1:
        return NO_SESSION
    if sequence.uses(Verb.TERMINATE) and not has_goodbye:
        return "a goodbye"
    for form, words in _FORMS.items():
        if any(step.form is form for step in sequence.steps) and form not in offered:
            return words
    return None


NO_PROCESS = "the server's process"
"""What is lacking where nobody names the process that is to be signalled."""

NO_SESSION = "a session of an earlier connection"
"""What is lacking where each connection resumes the session of one that asks for it."""

_FORMS = {
    Form.LARGE: "a request for a large response ('large')",
    Form.UPLOAD: "a request with a large body",
    Form.GUARDED: "a request for which the server asks for a certificate ('guarded')",
}


def control_of(sequence: Sequence) -> Sequence | None:
    """The same close with nothing of ours left unread: what settles an ambiguous RST.

    After a goodbye that is the goodbye alone, after an idle expiry the silence alone (behind a
    whole request, for half of one), after an alert with more behind it the alert alone, and else
    the FIN without an alert. None for a sequence that is such a close itself, or is about
    something else than the end of a session, or whose path was shaped, or that stops the server:
    what those do is no close of ours.
    """
    if sequence.is_handshake or sequence.is_shaped or sequence.signals:
        return None
    if not _may_leave_unread(sequence):
        return None
    groups = (*_opening(sequence), *_ends_alone(sequence), _DRAIN)
    return _another(sequence, groups, "control")


def alert_alone(sequence: Sequence) -> Sequence | None:
    """The same close without what it sends behind its close_notify; None if that is nothing.

    What a server says to that, it does not say to those bytes.
    """
    if sequence.signals:
        return None
    groups: list[Group] = []
    notified = False
    for group in sequence.groups:
        kept = []
        for step in group:
            if notified and step.verb in _SAYS:
                continue
            kept.append(step)
            notified = notified or step.verb is Verb.CLOSE_NOTIFY
        groups += [tuple(kept)] if kept else []
    return _another(sequence, tuple(groups), "alert alone")


def alert_only(sequence: Sequence) -> Sequence | None:
    """The alert of a sequence and nothing else behind its opening; None if it has none, or is that.

    It tells whether a server resets because of an alert, whatever it has read.
    """
    if sequence.is_handshake or sequence.is_idle or sequence.is_shaped or sequence.signals:
        return None
    if not sequence.uses(Verb.CLOSE_NOTIFY):
        return None
    groups: tuple[Group, ...] = (*_opening(sequence), (Step(Verb.CLOSE_NOTIFY),), _DRAIN)
    return _another(sequence, groups, "alert only")


def _another(sequence: Sequence, groups: tuple[Group, ...], role: str) -> Sequence | None:
    """The sequence of these steps, by its name if it has one; None if it is the same."""
    if groups == sequence.groups:
        return None
    known = (e.sequence for e in catalogue().values() if e.sequence.groups == groups)
    return next(known, Sequence(f"{sequence.name} ({role})", groups))


_SAYS = frozenset({Verb.SEND, Verb.TERMINATE})

_DRAIN: Group = (Step(Verb.DRAIN),)


def _may_leave_unread(sequence: Sequence) -> bool:  # noqa: PLR0912 - one per kind of verb
    """Whether something of ours goes out that the server has no need to read."""
    goodbye = False
    for step in sequence.steps:
        match step.verb:
            case Verb.ABORT:
                return False
            case Verb.CLOSE_NOTIFY | Verb.ALERT | Verb.ANSWER:
                return True
            case Verb.TERMINATE | Verb.SEND | Verb.HELLO if goodbye:
                return True
            case Verb.TERMINATE:
                goodbye = True
            case Verb.SEND | Verb.HELLO:
                if sequence.is_idle and _is_half(step):
                    return True
            case Verb.REQUEST | Verb.EXHAUST | Verb.MEET | Verb.KEY_UPDATE | Verb.RENEGOTIATE:
                pass  # what is awaited is read, and what TLS asks together with what follows
            case Verb.CONNECT | Verb.EARLY | Verb.RESUMED | Verb.FIN | Verb.CLOSE:
                pass  # no bytes, or those of the handshake
            case Verb.TICKET | Verb.RESUME | Verb.SIGNAL:
                pass  # not on this connection
            case Verb.SLEEP | Verb.PAUSE | Verb.STALL | Verb.AWAIT | Verb.DRAIN:
                pass  # waits
            case Verb.HOLD | Verb.RELEASE | Verb.WINDOW | Verb.MUTE | Verb.UNMUTE | Verb.RESET:
                pass  # the path's
            case verb:
                assert_never(verb)
    return False


def _is_half(step: Step) -> bool:
    return step.verb is Verb.SEND and step.form is Form.PART


def _writes_behind_alert(sequence: Sequence) -> bool:
    verbs = [step.verb for step in sequence.steps]
    behind = verbs[verbs.index(Verb.CLOSE_NOTIFY) + 1 :] if Verb.CLOSE_NOTIFY in verbs else []
    return any(verb in WRITES for verb in behind)


_CLOSING = ENDS | RACES | ANNOUNCES | {Verb.DRAIN}


def _opening(sequence: Sequence) -> tuple[Group, ...]:
    """What a sequence does before it begins to close; a request that it sends is awaited."""
    opening: list[Group] = []
    for group in sequence.groups:
        kept = tuple(takewhile(_opens, group))
        if kept:
            opening.append(_awaited(kept, sequence.is_idle))
        if len(kept) < len(group):
            break
    return tuple(opening)


def _opens(step: Step) -> bool:
    return step.verb not in _CLOSING and step.wait is not Limit.IDLE


def _awaited(group: Group, idle: bool) -> Group:
    """A request sent and not awaited, as one that is; before an idle wait, half of one too."""
    step = group[-1]
    if idle and _is_half(step):
        return (Step(Verb.REQUEST),)
    whole = step.form in {Form.WHOLE, Form.LARGE} and step.payload is None
    if step.verb is Verb.SEND and whole:
        return (Step(Verb.REQUEST, form=step.form),)
    return group


def _ends_alone(sequence: Sequence) -> tuple[Group, ...]:
    if sequence.is_idle:
        return ((Step(Verb.AWAIT, event=Awaited.END, wait=Limit.IDLE),),)
    if sequence.uses(Verb.TERMINATE):
        return ((Step(Verb.TERMINATE),),)
    return ((Step(Verb.CLOSE_NOTIFY if _writes_behind_alert(sequence) else Verb.FIN),),)


def _entry(name: str, table: dict[str, object]) -> Entry:
    decides = table["decides"]
    assert isinstance(decides, list)
    return Entry(
        parse(str(table["steps"]), name),
        str(table["group"]),
        str(table["asks"]),
        str(table["why"]),
        Who(str(table["who"])),
        str(table["example"]),
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


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False  # steps can be longer than a file name may be
