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
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tlsprobe.model.judgement import Cause, Confidence, Reset
from tlsprobe.model.trace import (
    Coverage,
    Deed,
    Drive,
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

ENOUGH = 3
"""Trials of a control that make an attribution surer."""

_TIMER_TOLERANCE = 0.03
_FAR_NS = 1_000_000
_ID_STEP = 64
_ALERT_BYTES = 31  # an encrypted alert: 24 bytes in TLS 1.3, 31 in TLS 1.2 with AES-GCM
_MIDDLEBOX_SIGNS = 2


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A row's answer."""

    cause: Cause
    confidence: Confidence
    evidence: tuple[str, ...]
    alternatives: tuple[Cause, ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """An RST with everything that matters about what went before it.

    ``answered_to`` is the offset up to which the sender is known to have answered the peer's
    bytes; ``deed`` is how our own side gave the connection up, if it is the sender.
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
    deed: Deed | None

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
        """The sender's next sequence number, by what was seen of it; a FIN takes one."""
        own = [s.end + s.fin for s in self.prior if s.side is self.sender and not s.rst]
        return max(own, default=0)

    @property
    def peer_reach(self) -> int:
        """The offset behind the peer's last byte that the RST acknowledges (0 without ACK)."""
        sent = max(
            (s.end for s in self.prior if s.side is self.sender.peer and s.length), default=0
        )
        return min(self.rst.ack or 0, sent)

    @property
    def unanswered(self) -> int:
        """Bytes of the peer that the RST acknowledges and the sender never answered."""
        return max(0, self.peer_reach - self.answered_to)


def resets_of(trace: Trace) -> tuple[Reset, ...]:
    """Every RST of the capture, in order, each with side, cause and evidence."""
    resets: list[Reset] = []
    for index, segment in enumerate(trace.segments):
        if segment.rst:
            resets.append(_reset(_scene(trace, index, resets), trace.coverage))
    return tuple(resets)


def settled(reset: Reset, control: str, control_resets: bool, trials: int) -> Reset:
    """The same RST after ``trials`` of the control: the same close with nothing left unread.

    Only RSTs whose cause was open between "unread" and "deliberate" change. Fewer than
    ``ENOUGH`` trials tell which it is, and leave it no surer than it was.
    """
    pair = {Cause.UNREAD_AT_CLOSE, Cause.DELIBERATE}
    if reset.cause not in pair or not pair.issuperset(reset.alternatives) or not reset.alternatives:
        return reset
    if reset.cause is Cause.DELIBERATE and not control_resets:
        return reset  # everything was answered: what the control leaves out was not unread
    if control_resets:
        cause = Cause.DELIBERATE
        how = "is reset as well"
    else:
        cause = Cause.UNREAD_AT_CLOSE
        how = "ends without a reset"
    said = (
        f"the control '{control}', which leaves nothing unread, {how} ({trials} of {trials} trials)"
    )
    return replace(
        reset,
        cause=cause,
        confidence=reset.confidence.raised if trials >= ENOUGH else reset.confidence,
        evidence=(*reset.evidence, said),
        alternatives=(),
    )


def _reset(scene: Scene, coverage: Coverage) -> Reset:
    found = next(diagnosis for row in _ROWS if (diagnosis := row(scene)) is not None)
    evidence = (*found.evidence, *_idle_timer(scene), *_single_sign(scene, found.cause))
    confidence = found.confidence
    if coverage is Coverage.HOLES:
        confidence = confidence.lowered
        evidence = (*evidence, "the capture has holes, so this is less sure than it looks")
    return Reset(
        side=scene.sender,
        packet=scene.rst.number,
        time_ns=scene.rst.time_ns,
        before_fin=scene.fin is None,
        cause=found.cause,
        confidence=confidence,
        evidence=evidence,
        alternatives=found.alternatives,
    )


def _scene(trace: Trace, index: int, resets: list[Reset]) -> Scene:
    rst = trace.segments[index]
    prior = trace.segments[:index]
    own = [s for s in prior if s.side is rst.side]
    return Scene(
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
    )


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
    have read to do what it did. Otherwise: what it had
    received when it last sent payload; a last payload no longer than an alert is taken for its
    close_notify, which answers nothing.
    """
    loaded = [s for s in own if s.length]
    if sender is Side.SERVER and drive.mark is not None:
        begun = (loaded[-1].ack or 0) if drive.cut_short and loaded else 0
        return max(drive.answered_to, _opened_to(drive), begun, _acted_on(drive, own))
    if loaded and loaded[-1].length <= _ALERT_BYTES:
        loaded.pop()
    return (loaded[-1].ack or 0) if loaded else 0


def _opened_to(drive: Drive) -> int:
    """The offset up to which the server must have read to get where the judged part begins."""
    if drive.mark is not None and (drive.answered or not drive.owed):
        return drive.mark.client
    shaken = (r for r in drive.records if r.kind in {RecordKind.HANDSHAKE, RecordKind.PLAIN})
    return max((r.end for r in shaken if r.side is Side.CLIENT), default=0)


def _acted_on(drive: Drive, own: list[Segment]) -> int:
    """The offset of what asked for an end and got one.

    A goodbye asks for an end and no answer. Without one, a close_notify that the server sent when
    it had ours is its answer; behind a goodbye it would have come anyway.
    """
    ours = [r for r in drive.records if r.side is Side.CLIENT]
    goodbyes = [r.end for r in ours if r.kind is RecordKind.GOODBYE]
    if goodbyes:
        return max(goodbyes)
    theirs = [r.end for r in drive.records if r.side is Side.SERVER and _notifies(r)]
    answer = next((s for s in own if theirs and s.end >= theirs[0]), None)
    known = (answer.ack or 0) if answer else 0
    return next((r.end for r in ours if _notifies(r) and r.end <= known), 0)


def _notifies(record: Record) -> bool:
    return record.kind is RecordKind.CLOSE_NOTIFY


def _notified(drive: Drive, rst: Segment) -> bool:
    return any(
        r.side is rst.side and r.alert == (1, 0) and r.end <= rst.start for r in drive.records
    )


def _own_deed(drive: Drive) -> Deed | None:
    """What our side did, if it gave the connection up before it left."""
    given_up = {Deed.ABORTED, Deed.CLOSED}
    return next((e.deed for e in drive.events if e.deed in given_up), None)


# --- the rows, in the order in which they are tried --------------------------------------------


def _refused(scene: Scene) -> Diagnosis | None:
    syn = next((s for s in scene.prior if s.side is scene.sender.peer and s.syn), None)
    answered = any(s.syn for s in scene.prior if s.side is scene.sender)
    if syn is None or answered or scene.passive or scene.rst.ack != syn.end + 1:
        return None
    said = f"packet {scene.rst.number} answers the SYN in packet {syn.number}: nothing listens"
    return Diagnosis(Cause.REFUSED, Confidence.HIGH, (said,))


def _middlebox(scene: Scene) -> Diagnosis | None:
    signs = tuple(_foreign_signs(scene))
    if len(signs) < _MIDDLEBOX_SIGNS:
        return None
    confidence = Confidence.HIGH if len(signs) > _MIDDLEBOX_SIGNS else Confidence.MEDIUM
    return Diagnosis(Cause.MIDDLEBOX, confidence, signs, (Cause.DELIBERATE,))


def _echo(scene: Scene) -> Diagnosis | None:
    if scene.earlier is None or not scene.passive or scene.trigger is None:
        return None
    said = (
        f"packet {scene.rst.number} echoes the reset in packet {scene.earlier.packet}: the"
        f" {scene.sender.peer}'s packet {scene.trigger.number} found no socket any longer"
    )
    lost = scene.earlier.cause is Cause.NO_STATE
    cause = Cause.NO_STATE if lost else Cause.DATA_AFTER_CLOSE
    return Diagnosis(cause, Confidence.HIGH, (said,))


def _data_after_close(scene: Scene) -> Diagnosis | None:
    trigger = scene.trigger
    if scene.fin is None or not scene.passive or trigger is None or not trigger.length:
        return None
    evidence = (
        f"the {scene.sender} had closed: its FIN is packet {scene.fin.number}",
        f"packet {trigger.number} then brought {_bytes(trigger.length)} to the closed socket",
        f"packet {scene.rst.number} is the kernel's answer: {_passive_form(scene)}",
    )
    return Diagnosis(Cause.DATA_AFTER_CLOSE, Confidence.HIGH, evidence)


def _unread_after_fin(scene: Scene) -> Diagnosis | None:
    if scene.fin is None or scene.passive or scene.rst.start != scene.fin.end + 1:
        return None
    if not scene.unanswered:
        return None
    evidence = (
        f"the {scene.sender} shut down its write side: its FIN is packet {scene.fin.number}",
        f"it then closed with {_bytes(scene.unanswered)} of the {scene.sender.peer} unread:"
        f" packet {scene.rst.number} is {_active_form(scene)}",
    )
    return Diagnosis(Cause.UNREAD_AFTER_FIN, Confidence.HIGH, evidence)


def _abort_after_fin(scene: Scene) -> Diagnosis | None:
    if scene.fin is None or scene.passive or scene.rst.start != scene.fin.end + 1:
        return None
    evidence = (
        f"after its FIN (packet {scene.fin.number}) the {scene.sender} reset although everything"
        f" of the {scene.sender.peer} was answered: packet {scene.rst.number} is"
        f" {_active_form(scene)}",
    )
    return Diagnosis(Cause.DELIBERATE, Confidence.MEDIUM, evidence, (Cause.UNREAD_AFTER_FIN,))


def _our_own(scene: Scene) -> Diagnosis | None:
    if scene.deed is not Deed.ABORTED or scene.passive:
        return None
    said = f"packet {scene.rst.number} is our own: the sequence aborts here"
    return Diagnosis(Cause.DELIBERATE, Confidence.HIGH, (said,))


def _unread_at_close(scene: Scene) -> Diagnosis | None:
    if not _gave_up_at_next_byte(scene) or not scene.unanswered:
        return None
    evidence = (
        f"packet {scene.rst.number} takes the place of a FIN: {_active_form(scene)}",
        f"it acknowledges {_bytes(scene.unanswered)} of the {scene.sender.peer}"
        f" ({_packets(_unanswered_segments(scene))}) that the {scene.sender} never answered",
    )
    return Diagnosis(Cause.UNREAD_AT_CLOSE, Confidence.MEDIUM, evidence, (Cause.DELIBERATE,))


def _deliberate(scene: Scene) -> Diagnosis | None:
    if not _gave_up_at_next_byte(scene):
        return None
    evidence = [
        f"packet {scene.rst.number} takes the place of a FIN: {_active_form(scene)}",
        f"everything that it acknowledges had been answered, so nothing of the"
        f" {scene.sender.peer} was left unread",
    ]
    if scene.cut_short:
        evidence.append("a response was under way: what was not sent of it is discarded")
    if not scene.notified:
        evidence.append(f"no close_notify of the {scene.sender} went before it")
    return Diagnosis(Cause.DELIBERATE, Confidence.MEDIUM, tuple(evidence), (Cause.UNREAD_AT_CLOSE,))


def _no_state(scene: Scene) -> Diagnosis | None:
    if not scene.passive or scene.trigger is None:
        return None
    before = f"no FIN or RST of the {scene.sender} came before"
    if scene.fin is not None:
        before = f"after the FIN in packet {scene.fin.number} nothing is left that takes an ACK"
    evidence = (
        f"packet {scene.rst.number}: {_passive_form(scene)}",
        f"it answers packet {scene.trigger.number}, and {before}: whoever answered does not know"
        " this connection",
    )
    return Diagnosis(Cause.NO_STATE, Confidence.HIGH, evidence)


def _unknown(scene: Scene) -> Diagnosis:
    said = f"packet {scene.rst.number} fits no row of the table"
    form = _passive_form(scene) if scene.passive else _active_form(scene)
    left = (Cause.MIDDLEBOX, Cause.DELIBERATE)
    return Diagnosis(Cause.UNKNOWN, Confidence.LOW, (said, form), left)


_ROWS: tuple[Callable[[Scene], Diagnosis | None], ...] = (
    _our_own,
    _refused,
    _middlebox,
    _echo,
    _data_after_close,
    _unread_after_fin,
    _abort_after_fin,
    _unread_at_close,
    _deliberate,
    _no_state,
    _unknown,
)


# --- signs and words -------------------------------------------------------------------------


def _foreign_signs(scene: Scene) -> Iterator[str]:
    """What speaks for an RST that the sender's own stack did not make."""
    rst = scene.rst
    own = [s for s in scene.prior if s.side is rst.side and not s.rst]
    ttls = {s.ttl for s in own}
    if own and rst.ttl not in ttls:
        usual = "/".join(map(str, sorted(ttls)))
        yield f"packet {rst.number} has TTL {rst.ttl}, the {rst.side}'s others have {usual}"
    if own and not scene.passive and _id_jumps(own[-1], rst):
        yield f"its IP ID {rst.ip_id} does not follow {own[-1].ip_id}"
    if not scene.passive and (other := _other_active(scene)) is not None:
        yield f"packet {other.number} is an RST of the same kind with other numbers"
    if any(s.side is rst.side and s.length and s.end > scene.next_byte for s in scene.later):
        yield f"the {rst.side} goes on sending data after it"
    if rst.start != scene.next_byte and scene.trigger is None:
        yield "its sequence number is neither the sender's next byte nor any segment's ack"
    if scene.passive and scene.trigger is not None and _too_soon(scene, scene.trigger):
        yield f"it follows packet {scene.trigger.number} sooner than any round trip took"


def _other_active(scene: Scene) -> Segment | None:
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


def _too_soon(scene: Scene, trigger: Segment) -> bool:
    """Sooner than half the handshake's round trip, where that is long enough to compare."""
    times = {(s.side, s.syn): s.time_ns for s in reversed(scene.prior)}
    asked, answered = times.get((scene.sender.peer, True)), times.get((scene.sender, True))
    if asked is None or answered is None or answered - asked < _FAR_NS:
        return False
    return scene.rst.time_ns - trigger.time_ns < (answered - asked) / 2


def _single_sign(scene: Scene, cause: Cause) -> tuple[str, ...]:
    """One foreign sign proves nothing, and is still worth a note."""
    if cause is Cause.MIDDLEBOX:
        return ()
    return tuple(f"note: {sign}" for sign in _foreign_signs(scene))


def _idle_timer(scene: Scene) -> tuple[str, ...]:
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


def _gave_up_at_next_byte(scene: Scene) -> bool:
    return scene.fin is None and not scene.passive and scene.rst.start == scene.next_byte


def _unanswered_segments(scene: Scene) -> list[int]:
    return [
        s.number
        for s in scene.prior
        if s.side is scene.sender.peer
        and s.length
        and s.end > scene.answered_to
        and s.start < (scene.rst.ack or 0)
    ]


def _active_form(scene: Scene) -> str:
    return f"an RST with ACK and window {scene.rst.window}, decided by the {scene.sender} itself"


def _passive_form(scene: Scene) -> str:
    trigger = scene.trigger
    repeats = f", seq repeating the ack of packet {trigger.number}" if trigger else ""
    return f"an RST without ACK, window {scene.rst.window}{repeats}"


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def _packets(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"packet {numbers[0]}"
    return f"packets {numbers[0]} to {numbers[-1]}" if numbers else "no packet of its own"
