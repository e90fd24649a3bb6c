"""What would tell two causes apart: a command line that settles it, or a capture that shows more.

Unread data and a deliberate abort look the same on the wire. Whoever can reach the server repeats
the close once as it was and once with nothing left unread: a reset that vanishes was unread data,
one that stays was meant. That takes a server, TLS, and a client that did what ours can do; for all
else it is said which capture would tell.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from tlsprobe.judge.remedies import remedy_of, situation_of
from tlsprobe.model.causes import Cause, Remedy
from tlsprobe.model.judgement import Confidence, Provoked, Reset, Word
from tlsprobe.model.protocols import ASKS_FOR_TLS, HTTP, NO_HTTP_PORTS, UNKNOWN
from tlsprobe.model.trace import ALERTS, Coverage, RecordKind, Side, Trace

_OPEN_PAIR = {Cause.UNREAD_AT_CLOSE, Cause.UNREAD_AFTER_FIN, Cause.DELIBERATE}
_IDLE_S = 1.0
_LONGEST_IDLE_S = 86_400
_MOST_STEPS = 8
_VERSIONS = frozenset({"1.2", "1.3"})
_TARGET = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]):([1-9]\d{0,4})")


def help_for(reset: Reset, server: str) -> Remedy:
    """Whom it hurts and what helps; of the protocol, no more is known than the port."""
    port = server.rpartition(":")[2]
    known = port.isdigit() and int(port) in NO_HTTP_PORTS
    return remedy_of(situation_of(reset, _NO_HTTP if known else ""))


_NO_HTTP = "a protocol that is not HTTP"


# --- a command line -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Server:
    """How ``tlsprobe run`` reaches the server; ``profile`` is None where it finds out by itself."""

    target: str
    profile: str | None
    sni: str | None
    tls: str | None

    @property
    def takes_goodbyes(self) -> bool:
        """Whether ``terminate`` means something to it."""
        return self.profile is not None and _says_goodbye(self.profile)

    def line(self, sequences: list[str]) -> str:
        """The command line."""
        words = ["tlsprobe", "run", "--target", self.target]
        words += ["--profile", self.profile] if self.profile else []
        words += ["--sni", self.sni] if self.sni else []
        words += ["--tls", self.tls] if self.tls else []
        for sequence in dict.fromkeys(sequences):
            words += ["--sequence", sequence]
        return shlex.join(words)


@lru_cache
def _says_goodbye(profile: str) -> bool:
    """HTTP's is a request like any other, and a client that only asked did not say it."""
    from tlsprobe.profiles import load_profile  # noqa: PLC0415 - brings every protocol
    from tlsprobe.protocols import has_goodbye  # noqa: PLC0415 - the same

    loaded = load_profile(profile)
    return loaded.protocol not in HTTP and has_goodbye(loaded)


@lru_cache
def _is_http(profile: str) -> bool:
    from tlsprobe.profiles import load_profile  # noqa: PLC0415 - brings every protocol

    return load_profile(profile).protocol in HTTP


@lru_cache
def _profile_for(port: int) -> str:
    from tlsprobe.profiles.guess import profile_for_port  # noqa: PLC0415 - brings every protocol

    return profile_for_port(port)


def experiment_for(
    trace: Trace, reset: Reset, server: str, words: tuple[Word, ...], sni: str | None = None
) -> str | None:
    """The ``tlsprobe run`` line that settles this RST, None where nothing is open or repeatable.

    ``server`` is the printed endpoint, ``words`` what happened, as the report has it, ``sni`` the
    name that the client asked for.
    """
    if reset.side is not Side.SERVER:
        return None
    idle_s = _silence_s(trace, reset)
    is_pair = reset.cause in _OPEN_PAIR and bool(_OPEN_PAIR.intersection(reset.alternatives))
    if not is_pair and (reset.cause is not Cause.NO_STATE or idle_s < _IDLE_S):
        return None
    reached = _server(trace, server, sni)
    if reached is None:
        return None
    if is_pair:
        steps = _steps(words, reached.takes_goodbyes)
        return reached.line([_sequence(steps), _sequence(_control(steps))])
    waited = f"{idle_s:.1f}".rstrip("0").rstrip(".")
    return reached.line([f"request; sleep {waited}s; send; drain 2s", "request; send; drain"])


def _server(trace: Trace, server: str, sni: str | None) -> _Server | None:
    """None where it does not speak TLS, in a version that we do, or cannot be named."""
    target = _TARGET.fullmatch(server)
    if target is None or int(target[1]) >= 1 << 16:
        return None
    kinds = {record.kind for record in trace.drive.records}
    is_shown = bool(trace.drive.tls or kinds & {RecordKind.HANDSHAKE, RecordKind.TICKET})
    if trace.drive.tls not in {None, *_VERSIONS} or not (is_shown or kinds & ALERTS):
        return None
    guessed = _asked_for_tls(trace) or _profile_for(int(target[1]))
    profile = None if guessed == UNKNOWN else guessed
    if not is_shown and profile is None:
        return None  # a text shows sizes alone: that of an alert, on a port that is nobody's
    begins_plain = any(r.kind is RecordKind.PLAIN for r in trace.drive.records)
    if begins_plain and (profile is None or _is_http(profile)):
        return None  # nobody knows how TLS is asked for
    host = server.rpartition(":")[0].strip("[]")
    return _Server(server, profile, sni if sni != host else None, trace.drive.tls)


def _asked_for_tls(trace: Trace) -> str | None:
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


def _sequence(steps: list[str]) -> str:
    return "; ".join(["request", *steps, "drain 2s"])


def _silence_s(trace: Trace, reset: Reset) -> float:
    """The longest silence before the RST that anything followed."""
    times = [s.time_ns for s in trace.segments if s.number <= reset.packet]
    gaps = [after - before for before, after in pairwise(times)]
    return min(max(gaps, default=0) / 1e9, _LONGEST_IDLE_S)


# --- a capture ------------------------------------------------------------------------------------

_LONGER = "a capture that holds all of the connection, both directions from the first SYN on"
_BOTH_ENDS = (
    "a capture on both hosts at once: where the RST leaves a host it was made there, where it only"
    " arrives it was made on the way"
)
_KEYS = "the keys of the session (SSLKEYLOGFILE, then --keys): which record is an alert is inferred"
_KERNEL = (
    "no capture tells unread data from an abort; on the host that sent the RST the kernel does"
    " (tracepoint tcp:tcp_send_reset, Linux 6.12 or newer)"
)

_KERNEL_OR_BOX = (
    "no capture tells unread data from an abort, and one at a single end not whether something in"
    " between made the RST; on the host whose address it bears the kernel tells both (tracepoint"
    " tcp:tcp_send_reset, Linux 6.12 or newer)"
)


def capture_for(trace: Trace, reset: Reset) -> str | None:
    """Which capture would tell what no command line settles; None where nothing is open."""
    if reset.confidence is Confidence.HIGH or reset.cause is Cause.KEEPALIVE:
        return None
    possible = {reset.cause, *reset.alternatives}
    if trace.coverage is not Coverage.WHOLE:
        return _LONGER
    is_open = len(possible & _OPEN_PAIR) > 1 and not possible & {Cause.NO_STATE, Cause.UNKNOWN}
    if is_open and not reset.odd:
        return _KERNEL_OR_BOX if Cause.MIDDLEBOX in possible else _KERNEL
    if possible & {Cause.MIDDLEBOX, Cause.NO_STATE, Cause.UNKNOWN}:
        return _BOTH_ENDS
    inferred = any(r.kind in ALERTS and r.alert is None for r in trace.drive.records)
    return _KEYS if inferred and reset.provoked in _ALERTS else None


_ALERTS = frozenset({Provoked.CLOSE_NOTIFY, Provoked.ALERT})
