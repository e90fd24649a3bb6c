"""From steps that write to the segments that leave: what is encrypted, and what is held back.

All records of a burst are made before the first is sent: encrypting one between two segments would
give the server time to act on the first, which is another close than the one that was asked for.
Two segments that follow each other leave in one system call; of more, each is pushed by the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, assert_never

from tlsprobe.drive.connection import Connection, GivenUp, Piece
from tlsprobe.drive.tcp import Hold
from tlsprobe.model.alerts import CLOSE_NOTIFY, is_error
from tlsprobe.model.sequence import Group, Step
from tlsprobe.model.trace import RecordKind
from tlsprobe.model.verbs import ENDS, MALFORMED, ODD, WRITES, Act, Form, Treatment, Verb
from tlsprobe.records.sealing import MOST_CONTENT
from tlsprobe.tls import TlsSession

PLAIN_CLOSE_NOTIFY = bytes((21, 3, 1, 0, 2, 1, 0))
"""The alert record before there are keys (RFC 8446 section 5.1): warning, close_notify."""

End = Literal[Act.HALF_CLOSES, Act.CLOSES, Act.ABORTS]
"""How our half of a connection ends."""

_SENDING = WRITES | ENDS
_ALERT, _APPLICATION_DATA = 21, 23
_WARNING = 1
_NO_REQUESTS = MALFORMED | {Form.PART, Form.CUT}


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """One segment: its pieces, how it is held, and the end of our half that it carries."""

    pieces: tuple[Piece, ...]
    hold: Hold
    end: End | None
    says: str


def treated_ranges(
    plans: list[SegmentPlan], start: int
) -> Iterator[tuple[tuple[Treatment, int], int, int]]:
    """What the path is to do to which offsets, if the first byte of these segments is ``start``.

    A FIN takes the place behind the last byte.
    """
    for plan in plans:
        for piece in plan.pieces:
            end = start + len(piece.data)
            is_fin = not piece.data and plan.end is not None and piece is plan.pieces[-1]
            if piece.treatment is not None and (piece.data or is_fin):
                yield piece.treatment, start, end + is_fin
            start = end


def sends(group: Group) -> bool:
    """Whether it puts something on the wire, and is not just a wait."""
    return group[0].verb in _SENDING


def bursts(groups: list[Group]) -> Iterator[list[Group]]:
    """Groups that write, as long as they follow each other; every other group by itself."""
    burst: list[Group] = []
    for group in groups:
        if sends(group):
            burst.append(group)
            continue
        if burst:
            yield burst
        burst = []
        yield [group]
    if burst:
        yield burst


def segment_plans(connection: Connection, groups: list[Group]) -> list[SegmentPlan]:
    """The segments of a burst, encrypted and ready to leave back to back."""
    loads = [load for group in groups for load in _loads(connection, group)]
    plans = []
    for (pieces, end, says), after in zip(loads, [*loads[1:], ((), None, "")], strict=True):
        follows = any(piece.data for piece in after[0])
        hold = Hold.TO_FOLLOW if follows else Hold.NOTHING
        if end is Act.HALF_CLOSES or end is Act.CLOSES:
            hold = Hold.TO_JOIN
        plans.append(SegmentPlan(tuple(pieces), hold, end, says))
    return plans


_Load = tuple[tuple[Piece, ...], End | None, str]


def _loads(connection: Connection, group: Group) -> Iterator[_Load]:
    """A group is one segment, unless a record in it is to be split over two."""
    says = " + ".join(step.label for step in group)
    end = _end_of(group[-1].verb)
    pieces: list[Piece] = []
    for step in group:
        made = piece_of(connection, step)
        if step.treatment is not None:
            made = made._replace(treatment=(step.treatment, step.count))
        if step.form is Form.SPLIT:
            half = len(made.data) // 2
            yield (*pieces, made._replace(data=made.data[:half], opens=True)), None, says
            pieces, made = [], made._replace(data=made.data[half:])
        pieces.append(made)
    yield tuple(pieces), end, says


def _end_of(verb: Verb) -> End | None:
    match verb.row.act:
        case Act.HALF_CLOSES | Act.CLOSES | Act.ABORTS as end:
            return end
        case Act.OPENS | Act.ASKS | Act.ASKS_EARLY | Act.WRITES | Act.ANNOUNCES | Act.WAITS:
            return None
        case Act.RACES | Act.RESUMES | Act.RETURNS | Act.SHAPES | Act.SIGNALS:
            return None
        case act:
            assert_never(act)


def piece_of(  # noqa: PLR0911, PLR0912 - one per verb
    connection: Connection, step: Step
) -> Piece:
    """The bytes of one step, made and not sent."""
    match step.verb:
        case Verb.SEND:
            return _request(connection, step)
        case Verb.HELLO:
            return _hello(connection, step.form)
        case Verb.TERMINATE:
            return _goodbye(connection)
        case Verb.CLOSE_NOTIFY:
            return Piece(RecordKind.CLOSE_NOTIFY, _close_notify(connection))
        case Verb.ALERT:
            return _alert(connection, step)
        case Verb.KEY_UPDATE:
            record = _sealing(connection).key_update(request=step.form is Form.ASKING)
            return Piece(RecordKind.KEY_UPDATE, record)
        case Verb.RENEGOTIATE:
            return Piece(RecordKind.HANDSHAKE, _second_hello(connection))
        case Verb.FIN | Verb.CLOSE | Verb.ABORT:
            return Piece(RecordKind.PLAIN, b"")
        case Verb.CONNECT | Verb.EARLY | Verb.RESUMED | Verb.REQUEST | Verb.EXHAUST:
            raise AssertionError(f"'{step.verb}' is not written")
        case Verb.SLEEP | Verb.PAUSE | Verb.STALL | Verb.AWAIT | Verb.DRAIN:
            raise AssertionError(f"'{step.verb}' is not written")
        case Verb.ANSWER | Verb.MEET | Verb.HOLD | Verb.RELEASE | Verb.WINDOW:
            raise AssertionError(f"'{step.verb}' is not written")
        case Verb.MUTE | Verb.UNMUTE | Verb.RESET | Verb.TICKET | Verb.RESUME | Verb.SIGNAL:
            raise AssertionError(f"'{step.verb}' is not written")
        case verb:
            assert_never(verb)


def _request(connection: Connection, step: Step) -> Piece:
    conversation, tls = connection.conversation, connection.tls
    assert tls is not None
    if step.payload is not None:
        return Piece(RecordKind.DATA, tls.send(step.payload))
    if step.form is Form.EMPTY:
        return Piece(RecordKind.DATA, _sealing(connection).seal(_APPLICATION_DATA, b""))
    owed = conversation.owed
    request = conversation.asks.get(step.form, conversation.request)() or b""
    is_request = conversation.owed > owed
    if is_request and (_is_late(connection) or step.form in _NO_REQUESTS):
        conversation.withdraw()
        is_request = False
    if step.form is Form.PART:
        request = request[: max(1, len(request) // 2)]
    if step.form in MALFORMED:
        connection.closing = True
        return _malformed(connection, _APPLICATION_DATA, request, step.form)
    if step.form is Form.FULL:
        content, padding = request[:MOST_CONTENT], max(0, MOST_CONTENT - len(request))
        record = _sealing(connection).seal(_APPLICATION_DATA, content, padding=padding)
        return Piece(RecordKind.DATA, record, is_request)
    records = tls.send(request)
    if step.form is Form.CUT:
        records = records[: len(records) // 2]
    return Piece(RecordKind.DATA, records, is_request)


def _goodbye(connection: Connection) -> Piece:
    conversation, tls = connection.conversation, connection.tls
    assert tls is not None
    owed, late = conversation.owed, _is_late(connection)
    goodbye = conversation.goodbye() or b""
    is_request = conversation.owed > owed
    if is_request and late:
        conversation.withdraw()
    connection.closing = True
    return Piece(RecordKind.GOODBYE, tls.send(goodbye), is_request and not late)


def _alert(connection: Connection, step: Step) -> Piece:
    """Any alert, also in forms that no TLS library sends."""
    alert = step.alert or (_WARNING, CLOSE_NOTIFY)
    tls = _sealing(connection)
    content = bytes(alert)
    if alert[1] == CLOSE_NOTIFY or is_error(alert, str(tls.version)) or step.form in ODD:
        connection.closing = True
    if step.form in MALFORMED:
        return _malformed(connection, _ALERT, content, step.form)
    if step.form is Form.FRAGMENTED:
        records = tls.seal(_ALERT, content[:1]) + tls.seal(_ALERT, content[1:])
    else:
        records = tls.seal(_ALERT, content * (2 if step.form is Form.DOUBLE else 1))
    if step.form is not Form.WHOLE:
        # RFC 8446 section 5.1 forbids both; RFC 5246 section 6.2.1 lets any message be cut so,
        # and OpenSSL refuses them in either version
        return Piece(RecordKind.MALFORMED, records)
    kind = RecordKind.CLOSE_NOTIFY if alert[1] == CLOSE_NOTIFY else RecordKind.ALERT
    return Piece(kind, records, alert=alert)


def _malformed(connection: Connection, kind: int, content: bytes, form: Form) -> Piece:
    """A record of this content type that its receiver may not take."""
    if form is Form.OVERFULL:
        content = content[:MOST_CONTENT].ljust(MOST_CONTENT + 1, b"\0")
        record = _sealing(connection).seal(kind, content)
    elif form is Form.CORRUPT:
        record = _sealing(connection).seal(kind, content, corrupt=True)
    else:
        record = bytes((kind, 3, 3)) + len(content).to_bytes(2, "big") + content
    return Piece(RecordKind.MALFORMED, record)


def _second_hello(connection: Connection) -> bytes:
    record = _sealing(connection).renegotiate()
    if not record:
        raise GivenUp("the server does not offer secure renegotiation (RFC 5746)")
    return record


def _sealing(connection: Connection) -> TlsSession:
    """The session, once it can seal any record. Raises GivenUp where it cannot."""
    tls = connection.tls
    assert tls is not None
    if not tls.can_seal():
        raise GivenUp(f"records of {tls.cipher} cannot be made by hand: only AES-GCM and ChaCha20")
    return tls


def _is_late(connection: Connection) -> bool:
    """Whether an end has been announced already: nobody owes a response any more."""
    return connection.closing or (connection.tls is not None and connection.tls.notified)


def _hello(connection: Connection, form: Form) -> Piece:
    """The ClientHello, its first half, or what a first half left over."""
    assert connection.tls is not None
    rest = connection.hello if connection.hello is not None else connection.tls.handshake()
    sent = rest[: len(rest) // 2] if form is Form.PART else rest
    connection.hello = rest[len(sent) :]
    return Piece(RecordKind.HANDSHAKE, sent)


def _close_notify(connection: Connection) -> bytes:
    tls = connection.tls
    connection.closing = True
    if tls is None or connection.in_hand:
        return PLAIN_CLOSE_NOTIFY
    return tls.close_notify()
