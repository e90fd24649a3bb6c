"""What one trial cannot tell by itself: gathered from all facts of its run, and given to the judge.

A judgement is made once from a trace and this. When knowledge grows, the trace is judged again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from tlsprobe.model.far_side import FarFact
from tlsprobe.model.judgement import Control
from tlsprobe.model.kernel import KernelReset
from tlsprobe.model.load import Load


class Visible(StrEnum):
    """What of our side's doings anybody on the way can see, though it be said inside TLS.

    BEHIND_ALERT is anything that follows an alert of ours, UNFINISHED a handshake that was left
    off, MUCH more bytes than requests have, ODD_RECORD a record that no request is made of.
    """

    FIN = "fin"
    ALERT = "alert"
    BEHIND_ALERT = "behind-alert"
    UNFINISHED = "unfinished"
    MUCH = "much"
    ODD_RECORD = "odd-record"


class CellEnds(NamedTuple):
    """How the server ended the conclusive trials of one cell of the run.

    ``before_fin`` and ``after_fin`` count those in which it reset, by whether its FIN came first,
    ``fins`` those that it ended with a FIN. ``aborts`` are resets in place of a FIN by which
    nothing of ours was left unread; ``alone`` counts trials in which a close_notify was all that
    we sent. ``visible`` is what each of them had shown a box before the server ended it.
    """

    sequence: str
    tls: str
    trials: int
    before_fin: int
    after_fin: int
    fins: int = 0
    aborts: int = 0
    alone: int = 0
    visible: frozenset[Visible] = frozenset()


class AlertAlone(NamedTuple):
    """What the same close does without the bytes behind our close_notify.

    In ``spoke`` of the ``trials`` of the sequence ``name`` data of the server came after the alert.
    """

    name: str
    trials: int
    spoke: int


class Silence(NamedTuple):
    """How long nothing had happened when a server ended a connection, in nanoseconds.

    ``since_exchange`` counts from the last payload before we waited or began to end it,
    ``since_ours`` from our own last packet, if we had begun (None: the server was the first), and
    ``since_accept`` from its SYN-ACK (None: not captured).
    """

    since_exchange: int
    since_ours: int | None
    since_accept: int | None

    @property
    def server_first(self) -> bool:
        """Whether nothing of ours had begun to end the connection."""
        return self.since_ours is None

    @property
    def shortest(self) -> int:
        """The time from whatever came last."""
        return self.since_exchange if self.since_ours is None else self.since_ours


class Timer(NamedTuple):
    """An idle timer of the server, as the cells that wait for one saw it fire.

    Both hold the shortest and the longest time, in nanoseconds, from the points that `Silence`
    names.
    """

    since_exchange: tuple[int, int]
    since_accept: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Digest:
    """What a trial contributes to the knowledge about others; no cause is needed to tell it.

    ``reached``: it came to its sequence. ``conclusive``: its capture lost nothing. ``before_fin``
    and ``after_fin``: the server reset, before or after its FIN. ``gave_up``: its first RST is a
    decision of its own (with ACK) in place of a FIN, whose cause packets alone leave open, and
    ``aborts``: by which nothing of ours was left unread; ``aborts_after`` is the same behind its
    FIN. ``fins``: it ended with a FIN. ``alone``: a close_notify was all that we sent.
    ``silence``: it ended the connection after a long one. ``spoke``: it sent data, be it in answer
    to something or not, after our close_notify. ``took_ns``: how long it took for
    its first word behind the opening; 0 if it said none. ``foreign``: an RST that was to be the
    server's decision bore a sign of another machine. ``visible`` is what a box had seen of ours
    before the server ended it. ``wordless``: it ended with a FIN and no alert; ``unasked``: where
    no proxy would have by itself; ``at_fin``: when our FIN was there. ``heard_out``: a response
    came when our FIN was there already, so that nobody on the way ends what we have half closed.
    """

    reached: bool
    conclusive: bool
    before_fin: bool
    after_fin: bool
    gave_up: bool
    fins: bool
    aborts: bool
    aborts_after: bool
    alone: bool
    silence: Silence | None = None
    spoke: bool = False
    took_ns: int = 0
    foreign: bool = False
    visible: frozenset[Visible] = frozenset()
    wordless: bool = False
    unasked: bool = False
    at_fin: bool = False
    heard_out: bool = False

    @property
    def waited(self) -> bool:
        """Whether the server ended nothing while we waited, or did so after a long silence only."""
        ended = self.fins or self.before_fin or self.after_fin
        return self.reached and (not ended or self.silence is not None)


class NatEntry(NamedTuple):
    """Where a connection stands: the next number of either side, as on the wire.

    ``client`` and ``server`` are printed endpoints, ``time_ns`` is when it was last heard of.
    """

    client: str
    server: str
    client_next: int
    server_next: int
    time_ns: int = 0


@dataclass(frozen=True, slots=True)
class Rewritten:
    """That a connection went on under another name: who it was, and as whom it appeared."""

    was: NatEntry
    now: str


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known about one trial beside its trace.

    ``control``, ``far``, ``cell_ends`` and ``own``, that of the trial's own cell, are left out
    where they could not bear on the trial. ``aborts_after``: in this TLS version the server was
    seen to reset behind its own FIN although it had read everything. ``load`` is what else went on
    at the time. ``rewritten`` says that its client is another connection's under a new name.
    ``waits_idle``: its sequence waits for an idle timer of the server. ``timers`` are those that
    the run saw fire. ``offered`` is the TLS version that was offered, and ``alert_alone`` a control
    of our alert. ``took_ns`` is how long the server took at most in this run to answer the same
    sequence, there if an answer may have been too slow for our patience.
    ``foreign`` is in how many trials of the run an RST bore a sign of another machine, there if
    some of them were of the same sequence, and ``odd`` the same without that condition.
    ``gave_up``: the server's kernel says that it gave this connection up itself. ``near``: the
    connection never left this machine, so that nothing lies between client and server.
    ``wordless``: in this TLS version the server was seen to end connections with a FIN and no alert
    where no proxy before it would have.
    ``room`` is there if the trial had more connections of ours open than the server has room for:
    how many it has room for. ``gone_ns`` is there if the server died while this trial went on, or
    before it: when it took its last connection. ``shut_out``: the server said nothing on
    this connection, at a time when it did not serve others that it serves as a rule. ``fell``: the
    server ended it together with others that had been quiet for other times. ``elsewhere``
    is whom the client had asked, where the answer came from another address. ``begun_anew`` are
    the client's SYNs for other connections on the same ports, by their packets' numbers.
    ``kernel`` is what the kernel that sent them says of RSTs, by their packets' numbers.
    """

    control: Control | None = None
    far: FarFact | None = None
    cell_ends: tuple[CellEnds, ...] = ()
    own: CellEnds | None = None
    aborts_after: bool = False
    load: Load | None = None
    rewritten: Rewritten | None = None
    elsewhere: str | None = None
    begun_anew: tuple[int, ...] = ()
    waits_idle: bool = False
    timers: tuple[Timer, ...] = ()
    took_ns: int = 0
    foreign: int = 0
    odd: int = 0
    gave_up: bool = False
    near: bool = False
    wordless: bool = False
    room: int | None = None
    gone_ns: int | None = None
    shut_out: bool = False
    fell: bool = False
    offered: str | None = None
    alert_alone: AlertAlone | None = None
    kernel: Mapping[int, KernelReset] = field(default_factory=dict)


NOTHING_KNOWN = Knowledge()
"""What is known of a connection that nobody else can say anything about."""
