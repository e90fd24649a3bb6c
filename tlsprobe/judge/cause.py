"""Why each RST was sent, told from packets alone.

How to read an RST (Linux, and every stack that follows RFC 9293 section 3.5.2):

* No ACK flag, window 0, no options: *passive*. No socket knew the segment that provoked it, and
  its sequence number repeats that segment's acknowledgement.
* ACK flag, live window, sequence number at the sender's own next byte: *active*. The sender's
  application or kernel decided to give the connection up.

From there a table of rows, the first that fits. The same table serves both sides: "the sender" is
whoever sent the RST, "the peer" the other. What packets cannot tell (whether bytes that arrived
were also read) costs confidence and is named as an alternative; a control experiment settles it
later, in ``settled``.

The trace may come from our own driver or from somebody else's capture. The second knows less: which
records were alerts is inferred, nobody says which requests were answered, and so what rests on
"unread" is at most ``medium``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tlsprobe.judge.rewritten import Rewritten
from tlsprobe.model.judgement import Cause, Confidence, Reset
from tlsprobe.model.trace import (
    Coverage,
    Drive,
    EventKind,
    Record,
    RecordKind,
    Segment,
    Side,
    Trace,
)

KNOWN_TIMERS = {
    60: "AWS ALB's and many proxies' default",
    240: "Azure load balancer's default",
    350: "AWS NLB's and NAT gateway's timeout",
    432_000: "Linux conntrack's established timeout",
}
"""Idle timers of things in between, in seconds, by the documentation of each."""

ALERT_SIZES = frozenset({24, 31})
"""Bytes of an encrypted alert on the wire: in TLS 1.3, and in TLS 1.2 with AES-GCM."""

ENOUGH = 3
"""Trials of a control that make an attribution surer."""

_TIMER_TOLERANCE = 0.03
_FAR_NS = 1_000_000
_ID_STEP = 64
_PROBES = 2
_MIDDLEBOX_SIGNS = 2


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A row's answer."""

    cause: Cause
    confidence: Confidence
    evidence: tuple[str, ...]
    alternatives: tuple[Cause, ...] = ()


@dataclass(frozen=True, slots=True)
class ResetContext:
    """An RST with everything that matters about what went before it.

    ``answered_to`` is the offset up to which the sender is known to have answered the peer's
    bytes; ``deed`` is how our own side gave the connection up, if it is the sender; ``driven``
    tells our own connections from somebody else's capture.
    """

    rst: Segment
    prior: tuple[Segment, ...]
    later: tuple[Segment, ...]
    fin: Segment | None
    trigger: Segment | None
    earlier: Reset | None
    answered_to: int
    notified: bool
    cut_short: bool
    deed: EventKind | None
    driven: bool = True
    coverage: Coverage = Coverage.WHOLE
    alerts: tuple[Record, ...] = ()
    rewritten: Rewritten | None = None

    @property
    def passive(self) -> bool:
        """No ACK flag: an answer to a segment, not a decision."""
        return self.rst.ack is None

    @property
    def sender(self) -> Side:
        """Who sent the RST."""
        return self.rst.side

    @property
    def next_byte(self) -> int:
        """The sender's next sequence number, by what was seen of it; SYN and FIN take one."""
        own = [s.end + s.fin + s.syn for s in self.prior if s.side is self.sender and not s.rst]
        return max(own, default=0)

    @property
    def peer_reach(self) -> int:
        """The offset behind the peer's last byte that the RST acknowledges (0 without ACK)."""
        acked = self.rst.ack or 0
        if self.peer_unseen:  # half a capture: the ack alone tells, and may count a FIN
            return max(0, acked - 1)
        sent = (s.end for s in self.prior if s.side is self.sender.peer and s.length)
        return min(acked, max(sent, default=0))

    @property
    def peer_unseen(self) -> bool:
        """Whether the capture holds nothing of the other direction."""
        return not any(s.side is self.sender.peer for s in self.prior)

    @property
    def unanswered(self) -> int:
        """Bytes of the peer that the RST acknowledges and the sender never answered."""
        return max(0, self.peer_reach - self.answered_to)


def resets_of(trace: Trace, rewritten: Rewritten | None = None) -> tuple[Reset, ...]:
    """Every RST of the capture, in order, each with side, cause and evidence.

    ``rewritten`` says that this client is another connection's under a new name.
    """
    resets: list[Reset] = []
    for index, segment in enumerate(trace.segments):
        if segment.rst:
            scene = replace(_scene(trace, index, resets), rewritten=rewritten)
            resets.append(_reset(scene))
    return tuple(resets)


def provoked_by(trace: Trace, reset: Reset) -> int | None:
    """The packet that provoked an RST: what it answers, or the last bytes that it left unread.

    None where the sender gave up by itself.
    """
    index = next((i for i, s in enumerate(trace.segments) if s.number == reset.packet), None)
    if index is None:
        return None
    scene = _scene(trace, index, [])
    if reset.cause is Cause.REFUSED:
        return next((s.number for s in scene.prior if s.side is reset.side.peer and s.syn), None)
    if scene.passive:
        return scene.trigger.number if scene.trigger else None
    if reset.cause in {Cause.UNREAD_AT_CLOSE, Cause.UNREAD_AFTER_FIN}:
        return next(iter(_unanswered_segments(scene)[-1:]), None)
    return None


SETTLEABLE = frozenset({Cause.UNREAD_AT_CLOSE, Cause.DELIBERATE})
"""The two causes that look alike on the wire, and that a control tells apart."""

_BY_CONTROL = "the control"


def settled(reset: Reset, control: str, control_resets: bool, trials: int) -> Reset:
    """The same RST after ``trials`` of the control: the same close with nothing left unread.

    Only RSTs whose cause was open between "unread" and "deliberate" change. Fewer than
    ``ENOUGH`` trials tell which it is, and leave it no surer than it was. A server that resets
    anyway may have left something unread besides, which stays open.
    """
    if is_settled(reset) or {reset.cause, *reset.alternatives} != SETTLEABLE:
        return reset
    if reset.cause is Cause.DELIBERATE and not control_resets:
        return reset  # everything was answered: what the control leaves out was not unread
    cause = Cause.DELIBERATE if control_resets else Cause.UNREAD_AT_CLOSE
    how = "is reset as well" if control_resets else "ends without a reset"
    often = f"({trials} of {trials} trials)"
    said = f"{_BY_CONTROL} '{control}', which leaves nothing unread, {how} {often}"
    return replace(
        reset,
        cause=cause,
        confidence=reset.confidence.raised if trials >= ENOUGH else reset.confidence,
        evidence=(*reset.evidence, said),
        alternatives=(Cause.UNREAD_AT_CLOSE,) if control_resets else (),
    )


def is_settled(reset: Reset) -> bool:
    """Whether a control has had its say."""
    return any(sentence.startswith(_BY_CONTROL) for sentence in reset.evidence)


def _reset(scene: ResetContext) -> Reset:
    found = next(diagnosis for row in _ROWS if (diagnosis := row(scene)) is not None)
    evidence = (*found.evidence, *_idle_timer(scene), *_single_sign(scene, found.cause))
    confidence = found.confidence
    renamed = scene.rewritten is not None and found.cause is Cause.NO_STATE
    if scene.coverage is Coverage.HOLES and not renamed:
        confidence = confidence.lowered
        evidence = (*evidence, f"{_missing(scene)}, so this is less sure than it looks")
    return Reset(
        side=scene.sender,
        packet=scene.rst.number,
        time_ns=scene.rst.time_ns,
        before_fin=scene.fin is None,
        cause=found.cause,
        confidence=confidence,
        evidence=evidence,
        alternatives=found.alternatives,
        passive=scene.passive,
    )


def _missing(scene: ResetContext) -> str:
    """What the capture lacks, in words."""
    if scene.peer_unseen:
        return f"the capture holds nothing of the {scene.sender.peer}'s direction"
    if any(s.syn for s in scene.prior):
        return "the capture has holes"
    return "the capture does not hold the beginning of the connection"


def _scene(trace: Trace, index: int, resets: list[Reset]) -> ResetContext:
    rst = trace.segments[index]
    prior = trace.segments[:index]
    own = [s for s in prior if s.side is rst.side]
    return ResetContext(
        rst=rst,
        prior=prior,
        later=trace.segments[index + 1 :],
        fin=next((s for s in own if s.fin), None),
        trigger=_trigger(rst, prior),
        earlier=next((r for r in resets if r.side is rst.side), None),
        answered_to=_answered_to(trace.drive, rst.side, own),
        notified=_notified(trace.drive, rst),
        cut_short=rst.side is Side.SERVER and trace.drive.cut_short,
        deed=_own_deed(trace.drive) if rst.side is Side.CLIENT else None,
        driven=_driven(trace.drive),
        coverage=trace.coverage,
        alerts=tuple(r for r in trace.drive.records if _notifies(r)),
    )


def _driven(drive: Drive) -> bool:
    """Whether it was our own connection: a capture has no diary."""
    return bool(drive.events)


def _trigger(rst: Segment, prior: tuple[Segment, ...]) -> Segment | None:
    """The peer's segment that provoked a passive RST: its ack is the RST's sequence number.

    What the sender still acknowledged provoked nothing. Of the others each draws an RST of its
    own, in order; a pure ACK is taken only where there is nothing else.
    """
    own = [s for s in prior if s.side is rst.side]
    fits = [s for s in prior if s.side is rst.side.peer and s.ack == rst.start]
    acked = max((s.ack for s in own if s.ack is not None), default=0)
    strays = [s for s in fits if (s.length or s.fin) and s.end + s.fin > acked]
    if not strays:
        return fits[-1] if fits else None
    drawn = sum(s.rst and s.ack is None and s.start == rst.start for s in own)
    return strays[min(drawn, len(strays) - 1)]


def _answered_to(drive: Drive, sender: Side, own: list[Segment]) -> int:
    """How far the sender has answered its peer, or acted on what it said.

    For a server that we drove: up to the last request whose response came, and to what it must
    have read to do what it did. Otherwise: what it had received when it last sent anything that
    is not an alert, which answers nothing but an alert.
    """
    loaded = [s for s in own if s.length]
    if sender is Side.SERVER and drive.mark is not None and _driven(drive):
        begun = (loaded[-1].ack or 0) if drive.cut_short and loaded else 0
        return max(drive.answered_to, _opened_to(drive), begun, _acted_on(drive, own))
    if not any(r.side is sender for r in drive.records):
        if loaded and loaded[-1].length in ALERT_SIZES:
            loaded.pop()
        return (loaded[-1].ack or 0) if loaded else 0
    said = max((r.end for r in drive.records if r.side is sender and not _alerts(r)), default=0)
    answers = [s.ack or 0 for s in loaded if s.start < said]
    return _ended_to(drive, sender, own, max(answers, default=0))


def _ended_to(drive: Drive, sender: Side, own: list[Segment], answered: int) -> int:
    """How far a stranger's close_notify answers, when its last data answered up to ``answered``.

    To a close_notify alone it is the answer. With a message before that, the message asked for
    the end (the protocol's goodbye), and what came behind it need not have been read.
    """
    theirs = [r.end for r in drive.records if r.side is sender and _notifies(r)]
    notice = next((s for s in own if theirs and s.end >= theirs[0]), None)
    if notice is None:
        return answered
    peers = [r for r in drive.records if r.side is sender.peer and r.end > answered]
    heard = [r for r in peers if r.end <= (notice.ack or 0)]
    messages = [r.end for r in heard if not _notifies(r)]
    return max(messages or [r.end for r in heard[:1]] or [answered])


def _alerts(record: Record) -> bool:
    return record.kind in {RecordKind.CLOSE_NOTIFY, RecordKind.ALERT}


def _opened_to(drive: Drive) -> int:
    """The offset up to which the server must have read to get where the judged part begins."""
    if drive.mark is not None and (drive.answered or not drive.owed):
        return drive.mark.client
    shaken = (r for r in drive.records if r.kind in {RecordKind.HANDSHAKE, RecordKind.PLAIN})
    return max((r.end for r in shaken if r.side is Side.CLIENT), default=0)


def _acted_on(drive: Drive, own: list[Segment]) -> int:
    """The offset of what asked for an end and got one.

    A goodbye asks for an end and no answer; a second one, or one behind our close_notify, need
    not have been read. Without one, a close_notify that the server sent when it had ours is its
    answer; behind a goodbye it would have come anyway.
    """
    ours = [r for r in drive.records if r.side is Side.CLIENT]
    first = next((r for r in ours if r.kind is RecordKind.GOODBYE or _notifies(r)), None)
    if first is not None and not _notifies(first):
        return first.end
    theirs = [r.end for r in drive.records if r.side is Side.SERVER and _notifies(r)]
    answer = next((s for s in own if theirs and s.end >= theirs[0]), None)
    known = (answer.ack or 0) if answer else 0
    return next((r.end for r in ours if _notifies(r) and r.end <= known), 0)


def _notifies(record: Record) -> bool:
    return record.kind is RecordKind.CLOSE_NOTIFY


def _notified(drive: Drive, rst: Segment) -> bool:
    return any(
        r.side is rst.side and (r.alert == (1, 0) or _notifies(r)) and r.end <= rst.start
        for r in drive.records
    )


def _own_deed(drive: Drive) -> EventKind | None:
    """What our side did, if it gave the connection up before it left."""
    given_up = {EventKind.ABORTED, EventKind.CLOSED}
    return next((e.kind for e in drive.events if e.kind in given_up), None)


# --- the rows, in the order in which they are tried --------------------------------------------


def _refused(scene: ResetContext) -> Diagnosis | None:
    syn = next((s for s in scene.prior if s.side is scene.sender.peer and s.syn), None)
    answered = any(s.syn for s in scene.prior if s.side is scene.sender)
    if syn is None or answered or scene.passive or scene.rst.ack != syn.end + 1:
        return None
    said = f"packet {scene.rst.number} answers the SYN in packet {syn.number}: nothing listens"
    return Diagnosis(Cause.REFUSED, Confidence.HIGH, (said,))


def _middlebox(scene: ResetContext) -> Diagnosis | None:
    signs = tuple(_foreign_signs(scene))
    if len(signs) < _MIDDLEBOX_SIGNS:
        return None
    confidence = Confidence.HIGH if len(signs) > _MIDDLEBOX_SIGNS else Confidence.MEDIUM
    return Diagnosis(Cause.MIDDLEBOX, confidence, signs, (Cause.DELIBERATE,))


def _echo(scene: ResetContext) -> Diagnosis | None:
    if scene.earlier is None or not scene.passive or scene.trigger is None:
        return None
    said = (
        f"packet {scene.rst.number} echoes the reset in packet {scene.earlier.packet}: the"
        f" {scene.sender.peer}'s packet {scene.trigger.number} found no socket any longer"
    )
    lost = scene.earlier.cause is Cause.NO_STATE
    cause = Cause.NO_STATE if lost else Cause.DATA_AFTER_CLOSE
    return Diagnosis(cause, Confidence.HIGH, (said,))


def _data_after_close(scene: ResetContext) -> Diagnosis | None:
    trigger = scene.trigger
    if scene.fin is None or not scene.passive or trigger is None or not trigger.length:
        return None
    evidence = (
        f"the {scene.sender} had closed: its FIN is packet {scene.fin.number}",
        f"packet {trigger.number} then brought {_bytes(trigger.length)} to the closed socket",
        f"packet {scene.rst.number} is the kernel's answer: {_passive_form(scene)}",
    )
    return Diagnosis(Cause.DATA_AFTER_CLOSE, Confidence.HIGH, evidence)


def _unread_after_fin(scene: ResetContext) -> Diagnosis | None:
    if scene.fin is None or scene.passive or scene.rst.start != scene.fin.end + 1:
        return None
    if not scene.unanswered:
        return None
    evidence = (
        f"the {scene.sender} shut down its write side: its FIN is packet {scene.fin.number}",
        f"it then closed with {_bytes(scene.unanswered)} of the {scene.sender.peer} unread:"
        f" packet {scene.rst.number} is {_active_form(scene)}",
    )
    if scene.driven:
        return Diagnosis(Cause.UNREAD_AFTER_FIN, Confidence.HIGH, evidence)
    return Diagnosis(Cause.UNREAD_AFTER_FIN, Confidence.MEDIUM, evidence, (Cause.DELIBERATE,))


def _abort_after_fin(scene: ResetContext) -> Diagnosis | None:
    if scene.fin is None or scene.passive or scene.rst.start != scene.fin.end + 1:
        return None
    evidence = (
        f"after its FIN (packet {scene.fin.number}) the {scene.sender} reset although everything"
        f" of the {scene.sender.peer} was answered: packet {scene.rst.number} is"
        f" {_active_form(scene)}",
    )
    return Diagnosis(Cause.DELIBERATE, Confidence.MEDIUM, evidence, (Cause.UNREAD_AFTER_FIN,))


def _our_own(scene: ResetContext) -> Diagnosis | None:
    if scene.deed is not EventKind.ABORTED or scene.passive:
        return None
    said = f"packet {scene.rst.number} is our own: the sequence aborts here"
    if not scene.unanswered:
        return Diagnosis(Cause.DELIBERATE, Confidence.HIGH, (said,))
    # The kernel looks for unread data first (tcp_close): that would have reset without our wish.
    unread = f"{_bytes(scene.unanswered)} of the {scene.sender.peer} may have been left unread too"
    return Diagnosis(Cause.DELIBERATE, Confidence.HIGH, (said, unread), (Cause.UNREAD_AT_CLOSE,))


def _unread_at_close(scene: ResetContext) -> Diagnosis | None:
    if not _gave_up_at_next_byte(scene) or not scene.unanswered:
        return None
    evidence = (
        f"packet {scene.rst.number} takes the place of a FIN: {_active_form(scene)}",
        f"it acknowledges {_bytes(scene.unanswered)} of the {scene.sender.peer}"
        f" ({_packets(_unanswered_segments(scene))}) that the {scene.sender} never answered",
        *_inferred(scene),
    )
    return Diagnosis(Cause.UNREAD_AT_CLOSE, Confidence.MEDIUM, evidence, (Cause.DELIBERATE,))


def _deliberate(scene: ResetContext) -> Diagnosis | None:
    if not _gave_up_at_next_byte(scene):
        return None
    evidence = [
        f"packet {scene.rst.number} takes the place of a FIN: {_active_form(scene)}",
    ]
    if not scene.peer_unseen:
        evidence.append(
            f"everything that it acknowledges had been answered, so nothing of the"
            f" {scene.sender.peer} was left unread"
        )
    if scene.cut_short:
        evidence.append("a response was under way: what was not sent of it is discarded")
    if not scene.notified:
        evidence.append(f"no close_notify of the {scene.sender} went before it")
    evidence += _inferred(scene)
    return Diagnosis(Cause.DELIBERATE, Confidence.MEDIUM, tuple(evidence), (Cause.UNREAD_AT_CLOSE,))


def _keepalive(scene: ResetContext) -> Diagnosis | None:
    """The kernel gave up: its keepalive probes, each one byte behind the next, stayed alone."""
    if not _gave_up_at_next_byte(scene):
        return None
    heard = max((s.number for s in scene.prior if s.side is scene.sender.peer), default=0)
    probes = [s.number for s in scene.prior if _is_probe(scene, s) and s.number > heard]
    if len(probes) < _PROBES:
        return None
    evidence = (
        f"keepalive probes of the {scene.sender} ({_packets(probes)}) were not answered",
        f"its kernel then gave the connection up: packet {scene.rst.number} is an RST with ACK",
    )
    return Diagnosis(Cause.DELIBERATE, Confidence.MEDIUM, evidence, (Cause.UNREAD_AT_CLOSE,))


def _is_probe(scene: ResetContext, segment: Segment) -> bool:
    small = segment.length <= 1 and not (segment.fin or segment.syn or segment.rst)
    return segment.side is scene.sender and small and segment.start == scene.next_byte - 1


def _linger2(scene: ResetContext) -> Diagnosis | None:
    """The very acknowledgement of the FIN is answered with a reset."""
    fin, trigger = scene.fin, scene.trigger
    if fin is None or not scene.passive or trigger is None or trigger.length:
        return None
    behind = fin.end + 1
    acked = [s for s in scene.prior if s.side is scene.sender.peer and (s.ack or 0) >= behind]
    if trigger.ack != behind or not acked or acked[0] is not trigger:
        return None
    evidence = (
        f"packet {trigger.number} brings nothing but the acknowledgement of the FIN in packet"
        f" {fin.number}",
        f"packet {scene.rst.number} answers it: {_passive_form(scene)}; a socket that does not wait"
        " for the peer's FIN does that (TCP_LINGER2 below 0), and so does a host that lost it",
    )
    return Diagnosis(Cause.DELIBERATE, Confidence.MEDIUM, evidence, (Cause.NO_STATE,))


def _closed_while_sending(scene: ResetContext) -> Diagnosis | None:
    """Closed with its own bytes still under way: the FIN stands in line behind them.

    Until they are acknowledged, or while the peer's window is all but shut, no FIN is seen, and the
    peer's data already meets a socket that takes none.
    """
    trigger = scene.trigger
    if scene.fin is not None or not scene.passive or trigger is None or not trigger.length:
        return None
    under_way = scene.next_byte - scene.rst.start
    widest = max((s.window for s in scene.prior if s.side is trigger.side and not s.syn), default=0)
    if under_way <= 0 and trigger.window * 2 > widest:
        return None
    little = f"packet {trigger.number} leaves little room (window {trigger.window} of {widest})"
    waiting = f"{_bytes(under_way)} of the {scene.sender} were still under way"
    evidence = (
        f"packet {scene.rst.number}: {_passive_form(scene)}",
        f"{waiting if under_way > 0 else little}: behind bytes that wait a FIN waits too, unseen,"
        f" when the {scene.sender} has closed",
    )
    return Diagnosis(Cause.DATA_AFTER_CLOSE, Confidence.MEDIUM, evidence, (Cause.NO_STATE,))


def _no_state(scene: ResetContext) -> Diagnosis | None:
    if not scene.passive or scene.trigger is None:
        return None
    before = f"no FIN or RST of the {scene.sender} came before"
    if scene.fin is not None:
        before = f"after the FIN in packet {scene.fin.number} nothing is left that takes an ACK"
    evidence = [
        f"packet {scene.rst.number}: {_passive_form(scene)}",
        f"it answers packet {scene.trigger.number}, and {before}: whoever answered does not know"
        " this connection",
    ]
    if scene.rewritten is not None:
        return Diagnosis(Cause.NO_STATE, Confidence.HIGH, (*evidence, scene.rewritten.sentence))
    if _only_shook_hands(scene):
        evidence.append(
            f"the {scene.sender} has sent nothing but its SYN-ACK: a full accept queue"
            " (tcp_abort_on_overflow) looks the same"
        )
        return Diagnosis(Cause.NO_STATE, Confidence.MEDIUM, tuple(evidence), (Cause.DELIBERATE,))
    return Diagnosis(Cause.NO_STATE, Confidence.HIGH, tuple(evidence))


def _only_shook_hands(scene: ResetContext) -> bool:
    own = [s for s in scene.prior if s.side is scene.sender]
    return bool(own) and all(s.syn for s in own)


def _half_seen(scene: ResetContext) -> Diagnosis | None:
    """Without the peer's direction, the form and the FIN are all there is."""
    if not scene.passive or not scene.peer_unseen:
        return None
    evidence = [f"packet {scene.rst.number}: {_passive_form(scene)}"]
    if scene.fin is None:
        return Diagnosis(
            Cause.NO_STATE, Confidence.MEDIUM, tuple(evidence), (Cause.DATA_AFTER_CLOSE,)
        )
    evidence.append(f"the {scene.sender} had closed: its FIN is packet {scene.fin.number}")
    return Diagnosis(Cause.DATA_AFTER_CLOSE, Confidence.MEDIUM, tuple(evidence), (Cause.NO_STATE,))


def _unknown(scene: ResetContext) -> Diagnosis:
    said = f"packet {scene.rst.number} fits no row of the table"
    form = _passive_form(scene) if scene.passive else _active_form(scene)
    left = (Cause.MIDDLEBOX, Cause.DELIBERATE)
    return Diagnosis(Cause.UNKNOWN, Confidence.LOW, (said, form), left)


_ROWS: tuple[Callable[[ResetContext], Diagnosis | None], ...] = (
    _our_own,
    _refused,
    _middlebox,
    _echo,
    _data_after_close,
    _unread_after_fin,
    _abort_after_fin,
    _keepalive,
    _unread_at_close,
    _deliberate,
    _linger2,
    _closed_while_sending,
    _no_state,
    _half_seen,
    _unknown,
)


# --- signs and words -------------------------------------------------------------------------


def _foreign_signs(scene: ResetContext) -> Iterator[str]:
    """What speaks for an RST that the sender's own stack did not make."""
    rst = scene.rst
    own = [s for s in scene.prior if s.side is rst.side and not s.rst]
    ttls = {s.ttl for s in own if s.ttl is not None}
    if ttls and rst.ttl is not None and rst.ttl not in ttls:
        usual = "/".join(map(str, sorted(ttls)))
        yield f"packet {rst.number} has TTL {rst.ttl}, the {rst.side}'s others have {usual}"
    if own and not scene.passive and _id_jumps(own[-1], rst):
        yield f"its IP ID {rst.ip_id} does not follow {own[-1].ip_id}"
    elif own and rst.df is not None and all(s.df is (not rst.df) for s in own):
        yield f"its DF bit is {int(rst.df)}, that of the {rst.side}'s others {int(not rst.df)}"
    if not scene.passive and (other := _other_active(scene)) is not None:
        yield f"packet {other.number} is an RST of the same kind with other numbers"
    if any(s.side is rst.side and s.length and s.end > scene.next_byte for s in scene.later):
        yield f"the {rst.side} goes on sending data after it"
    if rst.start != scene.next_byte and scene.trigger is None and not _unseen_before(scene):
        yield "its sequence number is neither the sender's next byte nor any segment's ack"
    if scene.passive and scene.trigger is not None and _too_soon(scene, scene.trigger):
        yield f"it follows packet {scene.trigger.number} sooner than any round trip took"


def _unseen_before(scene: ResetContext) -> bool:
    """Whether packets that the capture lacks account for the RST's sequence number."""
    holed = scene.coverage is Coverage.HOLES and scene.rst.start > scene.next_byte
    return holed or scene.peer_unseen


def _other_active(scene: ResetContext) -> Segment | None:
    """A second RST with ACK that says something else: a socket gives up only once."""
    rst = scene.rst
    active = (s for s in (*scene.prior, *scene.later) if s.rst and s.side is rst.side)
    said = (rst.start, rst.ack)
    return next((s for s in active if s.ack is not None and (s.start, s.ack) != said), None)


def _id_jumps(last: Segment, rst: Segment) -> bool:
    """Whether an active RST's IP ID breaks the counter of its socket (0: the stack uses none)."""
    if rst.ip_id is None or not last.ip_id:
        return False
    return (rst.ip_id - last.ip_id) % 2**16 > _ID_STEP


def _too_soon(scene: ResetContext, trigger: Segment) -> bool:
    """Sooner than half the handshake's round trip, where that is long enough to compare."""
    times = {(s.side, s.syn): s.time_ns for s in reversed(scene.prior)}
    asked, answered = times.get((scene.sender.peer, True)), times.get((scene.sender, True))
    if asked is None or answered is None or answered - asked < _FAR_NS:
        return False
    return scene.rst.time_ns - trigger.time_ns < (answered - asked) / 2


def _single_sign(scene: ResetContext, cause: Cause) -> tuple[str, ...]:
    """One foreign sign proves nothing, and is still worth a note."""
    if cause is Cause.MIDDLEBOX:
        return ()
    return tuple(f"note: {sign}" for sign in _foreign_signs(scene))


def _idle_timer(scene: ResetContext) -> tuple[str, ...]:
    """Silence before the trigger that comes close to a timer of something in between."""
    about = scene.trigger if scene.passive and scene.trigger else scene.rst
    before = [s.time_ns for s in scene.prior if s.time_ns < about.time_ns]
    if not before:
        return ()
    silence = (about.time_ns - before[-1]) / 1e9
    return tuple(
        f"note: it came after {silence:.1f} s of silence; {seconds} s is {whose}"
        for seconds, whose in KNOWN_TIMERS.items()
        if abs(silence - seconds) <= seconds * _TIMER_TOLERANCE
    )


def _inferred(scene: ResetContext) -> Iterator[str]:
    """Which segments are taken for a close_notify though nobody read them."""
    if scene.driven:
        return
    for record in scene.alerts:
        segment = next((s for s in scene.prior if _brings_end(s, record)), None)
        if segment is not None and record.alert is None:
            yield f"packet {segment.number} ends with the {record.side}'s close_notify, probably"
        elif segment is not None:
            yield f"packet {segment.number} ends with the {record.side}'s close_notify"


def _brings_end(segment: Segment, record: Record) -> bool:
    return segment.side is record.side and segment.start < record.end <= segment.end


def _gave_up_at_next_byte(scene: ResetContext) -> bool:
    return scene.fin is None and not scene.passive and scene.rst.start == scene.next_byte


def _unanswered_segments(scene: ResetContext) -> list[int]:
    return [
        s.number
        for s in scene.prior
        if s.side is scene.sender.peer
        and s.length
        and s.end > scene.answered_to
        and s.start < (scene.rst.ack or 0)
    ]


def _active_form(scene: ResetContext) -> str:
    return f"an RST with ACK and window {scene.rst.window}, decided by the {scene.sender} itself"


def _passive_form(scene: ResetContext) -> str:
    trigger = scene.trigger
    repeats = f", seq repeating the ack of packet {trigger.number}" if trigger else ""
    return f"an RST without ACK, window {scene.rst.window}{repeats}"


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def _packets(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"packet {numbers[0]}"
    return f"packets {numbers[0]} to {numbers[-1]}" if numbers else "no packet of its own"
