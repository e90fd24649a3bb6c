"""An example, driven once and judged: what of it counts, and what tells one fault from another."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from tlsprobe.model.causes import Cause
from tlsprobe.model.fuzz import Example
from tlsprobe.model.judgement import (
    Doubt,
    Judgement,
    LadderLine,
    Outcome,
    Provoked,
    Reset,
    Result,
    TcpEnd,
)
from tlsprobe.model.knowledge import Digest
from tlsprobe.model.trace import Side
from tlsprobe.model.verbs import PASSES_TIME, Verb

IN_TIME = 0.02
"""Seconds by which a packet of ours may be late where that might be what makes the difference."""

IN_A_RACE = 0.005
"""The same, where who is first makes the difference."""

_ACTIVE = {Cause.UNREAD_AT_CLOSE, Cause.DELIBERATE}
_PHASES = {"g": "goodbye", "n": "close_notify", "a": "alert", "f": "fin", "r": "reset"}
_BEHIND_GOODBYE = {"n": Provoked.CLOSE_NOTIFY, "d": Provoked.BEHIND_END}
_SERVER_ENDS = dict.fromkeys("nfar", "open")
_QUIET = PASSES_TIME | {Verb.AWAIT, Verb.DRAIN, Verb.TICKET, Verb.RESUMED}
"""Verbs that ask for nothing, neither an answer nor an end."""

_BAD_ENDS = {
    *(Outcome.NO_CLOSE_NOTIFY, Outcome.RESET_BEFORE_FIN, Outcome.DATA_LOST, Outcome.OPEN),
}


@dataclass(frozen=True, slots=True)
class Observation:
    """An example, driven once and judged.

    ``late``: the server ended while we were leaving, so that we saw its end and did not read it.
    ``blind``: it sent what our side never read, since the sequence ended before it could.
    ``patient``: it was given the time of a normal run, so that open means open. ``spoke_ns`` is
    when we sent the last of it. ``number`` is its trial's in the facts, ``digest`` what it tells
    about others; ``ladder`` is there for the first that showed its signature. ``beside`` is how
    many connections of ours were open at once, ``over_before`` how many of its last groups met a
    connection that the server had ended already. ``late_s`` is how late a packet of ours was on
    the wire, at most, and ``took_s`` how long after our last words the server ended it. ``slow``:
    what failed had only not come in time; ``unanswered``: its handshake had. ``acts_ns`` is when
    packets of ours were on the wire that said or ended something, ``ended_ns`` when the first
    packet was with which the server ended it.
    """

    example: Example
    judgement: Judgement
    failure: str | None = None
    late: bool = False
    blind: bool = False
    patient: bool = False
    spoke_ns: int = 0
    number: int = 0
    digest: Digest | None = None
    ladder: tuple[LadderLine, ...] = ()
    beside: int = 1
    over_before: int = 0
    late_s: float = 0.0
    slow: bool = False
    unanswered: bool = False
    took_s: float = 0.0
    acts_ns: tuple[int, ...] = ()
    ended_ns: int = 0

    @property
    def is_lost(self) -> bool:
        """Whether the server refused the connection, or ended it before the sequence began."""
        return self.failure is not None and not self.slow

    @property
    def is_in_time(self) -> bool:
        """Whether the server met no pause that the sequence does not have."""
        return self.late_s <= IN_TIME

    @property
    def counts(self) -> bool:
        """Whether anything can be said: it got through, nothing was lost, we did as we say.

        We were in time, too: a step that came late, or a machine that was busy, says nothing.
        """
        self_check = any(r.result is Result.ERROR for r in self.judgement.results)
        reached = self.failure is None and self.judgement.outcome.reached
        doubt = self.judgement.doubt
        doubtful = doubt is not None and (doubt.spoils or doubt.may_pass or doubt is Doubt.CROWDED)
        return reached and not doubtful and not self_check and not self.late

    @property
    def is_doubtful(self) -> bool:
        """Whether it ended badly, and only our own lateness keeps us from saying so.

        That it stays open is no bad end of what asked for nothing.
        """
        doubt = self.judgement.doubt
        if self.is_open and all(s.verb in _QUIET for s in self.example.sequence.steps):
            return False
        return doubt is not None and doubt.may_pass and self.judgement.outcome in _BAD_ENDS

    @property
    def is_open(self) -> bool:
        """Whether we left before the server had ended anything."""
        return self.judgement.axes.tcp is TcpEnd.OPEN

    @property
    def we_reset(self) -> bool:
        """Whether our side reset: how such a connection ends is a matter of who was first."""
        return self.we("r")

    def we(self, letter: str) -> bool:
        """Whether our side did what this letter of signatures stands for."""
        words = self.judgement.words
        return any(word.side is Side.CLIENT and letter in word.letters for word in words)

    @property
    def reset(self) -> Reset | None:
        """The server's first RST."""
        return next((r for r in self.judgement.resets if r.side is Side.SERVER), None)

    @property
    def cause(self) -> str:
        """What the server's first RST was, as far as packets alone can tell one from another."""
        reset = self.reset
        return "" if reset is None else "active" if reset.cause in _ACTIVE else str(reset.cause)

    @property
    def aborts(self) -> bool:
        """Whether the server reset on purpose, and not for what it had left unread."""
        reset = self.reset
        return reset is not None and reset.cause is Cause.DELIBERATE and reset.provoked is None

    @property
    def provoked(self) -> str:
        """What drew the server's first RST, or was left unread by it.

        Of what shared a segment with our goodbye, the last.
        """
        reset = self.reset
        if reset is None or reset.provoked is None:
            return ""
        if reset.provoked is Provoked.GOODBYE:
            ours = (w.letters for w in self.judgement.words if w.side is Side.CLIENT)
            behind = next((word.rpartition("g")[2] for word in ours if "g" in word), "")
            return str(_BEHIND_GOODBYE.get(behind[:1], reset.provoked))
        return str(reset.provoked)

    @property
    def phase(self) -> str:
        """The first end of ours that came before the server ended anything; else: open."""
        for word in self.judgement.words:
            letters = _PHASES if word.side is Side.CLIENT else _SERVER_ENDS
            found = next((letters[letter] for letter in word.letters if letter in letters), None)
            if found is not None:
                return found
        return "open"

    @property
    def shape(self) -> str:
        """The server's letters from its first end on, however they were cut into segments."""
        words = self.judgement.words
        letters = "".join(word.letters for word in words if word.side is Side.SERVER)
        begins = next((n for n, letter in enumerate(letters) if letter in _SERVER_ENDS), None)
        behind = "" if begins is None else letters[begins:]
        return "".join(letter for letter, _ in groupby(behind))

    @property
    def end(self) -> str:
        """How it ended, in the words that are compared: TLS, TCP and data."""
        axes = self.judgement.axes
        return f"{axes.tls}, {axes.tcp}, data {axes.data}"
