"""What would tell two causes apart: a command line that does what the client did, and a control.

Unread data and a deliberate abort look the same on the wire. Whoever can reach the server repeats
the close once as it was and once with nothing left unread: a reset that vanishes was unread data,
one that stays was meant.
"""

from __future__ import annotations

import shlex
from itertools import pairwise

from tlsprobe.judge.remedies import remedy_of, situation_of
from tlsprobe.model.causes import Cause, Remedy
from tlsprobe.model.judgement import Reset, Word
from tlsprobe.model.protocols import ASKS_FOR_TLS, GOODBYE_PORTS
from tlsprobe.model.trace import RecordKind, Side, Trace

_OPEN_PAIR = {Cause.UNREAD_AT_CLOSE, Cause.UNREAD_AFTER_FIN, Cause.DELIBERATE}
_IDLE_S = 1.0
_LONGEST_IDLE_S = 86_400
_MOST_STEPS = 8


def help_for(reset: Reset, server: str) -> Remedy:
    """Whom it hurts and what helps; of the protocol, no more is known than the port."""
    port = server.rpartition(":")[2]
    known = port.isdigit() and int(port) in GOODBYE_PORTS
    return remedy_of(situation_of(reset, _NO_HTTP if known else ""))


_NO_HTTP = "a protocol with a goodbye"


def experiment_for(trace: Trace, reset: Reset, server: str, words: tuple[Word, ...]) -> str | None:
    """The ``tlsprobe run`` line that settles this RST, None where nothing is open or repeatable.

    ``server`` is the printed endpoint, ``words`` what happened, as the report has it.
    """
    if reset.side is not Side.SERVER or reset.cause is Cause.REFUSED:
        return None
    if reset.cause in _OPEN_PAIR and _OPEN_PAIR.intersection(reset.alternatives):
        profile = _profile(trace)
        bye = profile is not None or trace.drive.server[1] in GOODBYE_PORTS
        steps = _steps(words, bye)
        return _line(server, [steps, _control(steps)], profile)
    if reset.cause is Cause.NO_STATE and (idle := _silence_s(trace, reset)) >= _IDLE_S:
        waited = f"{idle:.1f}".rstrip("0").rstrip(".")
        idle_steps = [f"request; sleep {waited}s; send; drain 2s", "request; send; drain"]
        return _line(server, idle_steps, _profile(trace))
    return None


def _profile(trace: Trace) -> str | None:
    """The profile of a protocol that asks for TLS, to be named where the port does not tell."""
    plain = [r for r in trace.drive.records if r.kind is RecordKind.PLAIN]
    asked = [r.end - r.start for r in plain if r.side is Side.CLIENT]
    answered = [r.end - r.start for r in plain if r.side is Side.SERVER]
    sizes = (asked[0], answered[0]) if len(asked) == len(answered) == 1 else None
    return next((name for name, known in ASKS_FOR_TLS.items() if known == sizes), None)


def _steps(words: tuple[Word, ...], says_goodbye: bool) -> list[str]:
    """What the client did, in the words of the sequence language."""
    ours = [word.letters for word in words if word.side is Side.CLIENT][:_MOST_STEPS]
    ends = {"n": "close_notify", "f": "fin", "a": "close_notify"}
    groups: list[str] = []
    for index, letters in enumerate(ours):
        steps = []
        for letter in letters:
            if letter == "d":
                last_word = not any("d" in later for later in ours[index + 1 :])
                steps.append("terminate" if last_word and says_goodbye else "send")
            elif letter in ends and ends[letter] not in steps:
                steps.append(ends[letter])
        if steps:
            groups.append(" + ".join(steps))
    return groups


def _control(steps: list[str]) -> list[str]:
    """The same with nothing left unread: without what came behind the last message."""
    messages = [i for i, group in enumerate(steps) if "send" in group or "terminate" in group]
    if not messages:
        return ["fin"] if steps != ["fin"] else []
    kept = steps[: messages[-1] + 1]
    kept[-1] = kept[-1].split(" + ")[0]
    return kept if kept != steps else kept[:-1]


def _line(server: str, sequences: list[list[str]] | list[str], profile: str | None) -> str:
    texts = [s if isinstance(s, str) else "; ".join(["request", *s, "drain 2s"]) for s in sequences]
    chosen = [f"--sequence {shlex.quote(text)}" for text in dict.fromkeys(texts)]
    named = [f"--profile {profile}"] if profile else []
    return " ".join([f"tlsprobe run --target {shlex.quote(server)}", *named, *chosen])


def _silence_s(trace: Trace, reset: Reset) -> float:
    """The longest silence before the RST that anything followed."""
    times = [s.time_ns for s in trace.segments if s.number <= reset.packet]
    gaps = [after - before for before, after in pairwise(times)]
    return min(max(gaps, default=0) / 1e9, _LONGEST_IDLE_S)
