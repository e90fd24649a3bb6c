"""What somebody else's capture says of a connection, in the terms in which our own driver speaks.

The judge asks a Drive what each run of bytes meant. Nobody drove here, so it is put together from
the records on the wire: by their types where those are in the open, by place and size where they
are not, and by their contents where a key log opens them. An alert that was inferred has no
``alert`` value: level and description are not known, and reports say "probably".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from types import MappingProxyType
from typing import NamedTuple

from tlsprobe.captures.wireshark_info import Carried
from tlsprobe.explain.farewells import says_farewell
from tlsprobe.flows.connection import Connection
from tlsprobe.judge.causes.answers import ALERT_SIZES
from tlsprobe.judge.causes.trigger import PROMPT_NS
from tlsprobe.model.alerts import CLOSE_NOTIFY
from tlsprobe.model.trace import (
    ALERTS,
    Drive,
    Flag,
    Mark,
    Record,
    RecordKind,
    Segment,
    Side,
    Stage,
    Trace,
)
from tlsprobe.packets.packet import host_text
from tlsprobe.records.key_log import Opened, Secrets
from tlsprobe.records.walk import (
    ALERT,
    ALERT_SIZE,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    TLS13,
    FoundRecord,
    Hello,
    RecordWalk,
    read_hello,
)

_ALERT_BODY = 19
"""An alert in TLS 1.3: two bytes, the inner type, and the tag of the usual ciphers."""

_FINISHED_BODIES = frozenset({53, 69})
"""Finished in TLS 1.3: a hash of 32 or 48 bytes with its head, the inner type and the tag."""

_PLAIN_ALERT = 7
"""An alert that nothing seals, with its head: how a handshake fails in TLS 1.2."""

_SEALED_ALERT = 31
"""An alert in TLS 1.2 with its head, sealed by AES-GCM: the most usual size."""

_HELLO_BYTES = 100
_FLIGHT = 6
_TICKET_BYTES = 100
_SYN, _FIN_RST = Flag.SYN, Flag.FIN | Flag.RST
_new = tuple.__new__  # the constructor takes longer than all the rest

_VERSIONS = {0x0301: "1.0", 0x0302: "1.1", 0x0303: "1.2", TLS13: "1.3"}

KeyLog = Mapping[bytes, Secrets]
Known = Mapping[Side, Mapping[int, Opened]]
"""Of each direction, the records that a key log opens, by their place."""

_NOTHING_KNOWN: Known = MappingProxyType({side: MappingProxyType({}) for side in Side})


class Session(NamedTuple):
    """What the hellos say; None for what the capture does not hold."""

    client: Hello | None
    server: Hello | None

    @property
    def tls(self) -> str | None:
        """The version, ``1.2`` or ``1.3``, if the server's hello was seen."""
        return _VERSIONS.get(self.server.version) if self.server else None


def trace_of(
    connection: Connection,
    client_way: int,
    known: Known,
    carried: Mapping[int, Carried] = MappingProxyType({}),
) -> Trace:
    """The connection as the judge wants it, ``client_way`` being the client's direction.

    ``known`` is what a key log opens of it, see `known_of`; ``carried`` is what a text calls the
    contents of its packets, by their numbers.
    """
    segments = connection.segments(client_way)
    records, session = _records(connection, client_way, segments, known, carried)
    client, server = connection.ends[client_way], connection.ends[1 - client_way]
    drive = Drive(
        client=(host_text(client[0]), client[1]),
        server=(host_text(server[0]), server[1]),
        stage=Stage.SEQUENCE,
        records=tuple(records),
        events=(),
        tls=session.tls or _told_version(segments, carried),
    )
    trace = Trace(drive, segments, connection.coverage)
    return replace(trace, drive=replace(drive, mark=_mark(trace)))


def client_hello_way(connection: Connection) -> int | None:
    """Which way the ClientHello went, or the other way than the ServerHello; None without."""
    for way, walk in enumerate(connection.walks):
        for record in walk.first[:1]:
            if record.kind == HANDSHAKE and record.body[:1] in (b"\x01", b"\x02"):
                return way if record.body[0] == 1 else 1 - way
    return None


# --- records --------------------------------------------------------------------------------------


def _records(
    connection: Connection,
    client_way: int,
    segments: Sequence[Segment],
    known: Known,
    carried: Mapping[int, Carried],
) -> tuple[list[Record], Session]:
    """Both sides' records, in time order."""
    walks = _walks(connection, client_way)
    tls = {side for side, walk in walks.items() if walk.speaks_tls}
    session = _session(walks) if tls else Session(None, None)
    found: list[Record] = []
    shaken = _client_shaken(walks, session)
    # Nothing says that it is none where there were no headers to see.
    may_be_tls = bool(tls) or all(walk.is_blind for walk in walks.values())
    for side in Side:
        if side in tls:
            answers_nothing = side is Side.SERVER and _answers_nothing(walks, shaken)
            refuses = answers_nothing or (side is Side.CLIENT and _gives_up(walks, session))
            found += _named(walks[side], side, session, known[side], shaken, refuses=refuses)
        else:
            walk = walks.get(side)
            farewell = walk.plain_to if walk and says_farewell(walk.plain_words) else None
            found += _by_size(segments, side, carried, farewell, infer=may_be_tls)
    found.sort(key=lambda record: record.time_ns)
    if not tls and not carried and any(record.kind is RecordKind.ALERT for record in found):
        found = [_unsealed(record) for record in found]
    return found, session


def _unsealed(record: Record) -> Record:
    """What went before an alert that nothing seals: a handshake, and no data yet."""
    is_data = record.kind is RecordKind.DATA
    return record._replace(kind=RecordKind.HANDSHAKE) if is_data else record


def _session(walks: Mapping[Side, RecordWalk]) -> Session:
    hellos = {
        side: [h for r in walk.first if r.kind == HANDSHAKE and (h := read_hello(r.body))]
        for side, walk in walks.items()
    }
    server = [hello for hello in hellos[Side.SERVER] if hello.cipher is not None]
    final = [hello for hello in server if not hello.retry]
    client = hellos[Side.CLIENT]
    return Session(client[0] if client else None, final[0] if final else None)


def _walks(connection: Connection, client_way: int) -> dict[Side, RecordWalk]:
    """The walks over both directions, come to their end; none over a text."""
    if not connection.walks:
        return {}
    for walk in connection.walks:
        walk.finish()
    ways = {Side.CLIENT: client_way, Side.SERVER: 1 - client_way}
    return {side: connection.walks[way] for side, way in ways.items()}


def known_of(connection: Connection, client_way: int, key_log: KeyLog) -> Known:
    """What the key log opens."""
    walks = _walks(connection, client_way) if key_log else {}
    if not any(walk.speaks_tls for walk in walks.values()):
        return _NOTHING_KNOWN
    client, server = _session(walks)
    if client is None or server is None or client.random not in key_log:
        return _NOTHING_KNOWN
    from tlsprobe.records.secrets import opened  # noqa: PLC0415 - brings cryptography

    found = {side: walk.found for side, walk in walks.items()}
    lost = any(walk.lost for walk in walks.values())
    return opened(found, client, server, key_log, lost=lost)


def _client_shaken(walks: Mapping[Side, RecordWalk], session: Session) -> FoundRecord | None:
    """The client's Finished in TLS 1.3, known by its size among the first sealed records."""
    if Side.CLIENT not in walks or session.server is None or session.server.version != TLS13:
        return None
    if _gives_up(walks, session):
        return None
    sealed = [r for r in walks[Side.CLIENT].first if r.kind == APPLICATION_DATA][:_FLIGHT]
    finished = [r for r in sealed if r.size in _FINISHED_BODIES]
    return next(iter(finished or sealed), None)


def _gives_up(walks: Mapping[Side, RecordWalk], session: Session) -> bool:
    """Whether alerts are all that a client seals in TLS 1.3: each part of its handshake is longer.

    That is what a refused certificate of the server's looks like.
    """
    walk, server = walks.get(Side.CLIENT), session.server
    if walk is None or walk.lost or server is None or server.version != TLS13:
        return False
    sealed = [r for r in walk.found if r.kind == APPLICATION_DATA]
    return bool(sealed) and all(r.size == _ALERT_BODY for r in sealed)


def _answers_nothing(walks: Mapping[Side, RecordWalk], shaken: FoundRecord | None) -> bool:
    """Whether alerts are all that the server said to the client's last flight, at once.

    No ticket and no data came, and the client had not ended: that is what a refused certificate
    looks like, whose alert is sealed in TLS 1.3.
    """
    if shaken is None:
        return False
    sealed = {
        side: [r for r in walk.found if r.kind == APPLICATION_DATA and r.number >= shaken.number]
        for side, walk in walks.items()
    }
    if not sealed[Side.SERVER] or any(r.size != _ALERT_BODY for r in sealed[Side.SERVER]):
        return False
    first = sealed[Side.SERVER][0]
    ours = [r for r in sealed[Side.CLIENT] if r.number < first.number]
    ended = any(r.size == _ALERT_BODY and r.place > shaken.place for r in ours)
    return not ended and first.time_ns - (ours or [shaken])[-1].time_ns <= PROMPT_NS


def _named(
    walk: RecordWalk,
    side: Side,
    session: Session,
    known: Mapping[int, Opened],
    shaken: FoundRecord | None,
    *,
    refuses: bool,
) -> Iterator[Record]:
    """The records of a direction that speaks TLS, each with its meaning.

    ``refuses``: alerts that are known by their size alone answer nothing but the handshake.
    """
    if walk.plain_to and walk.first:
        first = walk.first[0]
        # Without a hello it is the rest of a record that began before the capture.
        kind = RecordKind.PLAIN if walk.has_hello else RecordKind.DATA
        yield Record(side, 0, min(walk.plain_to, first.start), kind, first.time_ns)
    found = walk.found
    sealed_13 = session.server is not None and session.server.version == TLS13
    unshaken = sealed_13 and side is Side.SERVER and shaken is None
    maybe_13 = session.server is None and not any(r.kind == ALERT for r in found)
    tickets = _tickets(found, side, shaken)
    last = _first_of_the_last_alerts(found, sealed_13 or maybe_13, known)
    for record in found:
        kind, alert = RecordKind.DATA, None
        if record.place in known and _is_understood(known[record.place]):
            kind, alert = _opened_kind(known[record.place])
        elif _is_handshake(record, side, shaken) or (unshaken and record.size != _ALERT_BODY):
            kind = RecordKind.HANDSHAKE
        elif record.place in tickets:
            kind = RecordKind.TICKET
        elif record.kind == ALERT:
            kind, alert = _alert_kind(record, is_last=record is found[-1])
        elif record.place >= last:
            ends = record is found[-1] and not refuses
            kind = RecordKind.CLOSE_NOTIFY if ends else RecordKind.ALERT
        yield Record(side, record.start, record.end, kind, record.time_ns, alert)
    if walk.left_out:
        before, after = walk.first[-1], walk.latest[0]
        yield Record(side, before.end, after.start, RecordKind.DATA, after.time_ns)


def _is_handshake(record: FoundRecord, side: Side, shaken: FoundRecord | None) -> bool:
    if record.kind in (HANDSHAKE, CHANGE_CIPHER_SPEC):
        return True
    if shaken is None or record.kind != APPLICATION_DATA:
        return False
    if side is Side.CLIENT:
        return record.place <= shaken.place
    return record.number < shaken.number


def _tickets(
    found: Sequence[FoundRecord], side: Side, shaken: FoundRecord | None
) -> frozenset[int]:
    """Indexes of the server's session tickets: the first records behind the handshake, alike."""
    if side is Side.CLIENT or shaken is None:
        return frozenset()
    behind = [r for r in found if r.kind == APPLICATION_DATA and r.number >= shaken.number]
    alike = [r for r in behind[:2] if r.size == behind[0].size >= _TICKET_BYTES]
    return frozenset(r.place for r in alike) if len(alike) == 2 else frozenset()


def _first_of_the_last_alerts(
    found: Sequence[FoundRecord], sealed: bool, known: Mapping[int, Opened]
) -> int:
    """From which index on all sealed records have an alert's size: nothing came behind them."""
    first = found[-1].place + 1
    if not sealed or known:
        return first
    for record in reversed(found):
        if record.kind != APPLICATION_DATA or record.size != _ALERT_BODY:
            return first
        first = record.place
    return first


def _is_understood(content: Opened) -> bool:
    """Whether an opened record says what it is; an alert of another size is one all the same."""
    return content.kind != ALERT or len(content.content) == ALERT_SIZE


def _opened_kind(content: Opened) -> tuple[RecordKind, tuple[int, int] | None]:
    if content.kind == HANDSHAKE:
        return RecordKind.TICKET, None
    if content.kind != ALERT:
        return RecordKind.DATA, None
    level, description = content.content
    kind = RecordKind.ALERT if description else RecordKind.CLOSE_NOTIFY
    return kind, (level, description)


def _alert_kind(record: FoundRecord, is_last: bool) -> tuple[RecordKind, tuple[int, int] | None]:
    """An alert by its outer type: before encryption it can be read, behind it only counted."""
    if record.size == len(record.body) == ALERT_SIZE:
        return _opened_kind(Opened(ALERT, record.body))
    return (RecordKind.CLOSE_NOTIFY if is_last else RecordKind.ALERT), None


def _by_size(
    segments: Sequence[Segment],
    side: Side,
    carried: Mapping[int, Carried],
    farewell: int | None,
    *,
    infer: bool,
) -> Iterator[Record]:
    """A direction without records to see: each segment is one, the last perhaps an alert.

    What a text calls the contents of a segment goes before what its size looks like. ``farewell``
    is the offset behind its last words, if these are a goodbye.
    """
    loaded = [s for s in segments if s.length and s.side is side and not s.flags & _SYN]
    reach, latest = -(1 << 40), loaded[-1] if loaded else None
    for segment in loaded:
        start, end = segment.start, segment.start + segment.length
        if end <= reach:
            continue
        reach = end
        is_last = segment is latest
        if not carried and not is_last:
            yield _new(Record, (side, start, end, RecordKind.DATA, segment.time_ns, None))
            continue
        told = carried.get(segment.number)
        if told is not None and told.kind is not RecordKind.DATA:
            yield from _called(segment, told, is_last=is_last)
            continue
        last = infer and is_last and len(loaded) > 1
        kind = RecordKind.DATA
        if is_last and end == farewell:
            kind = RecordKind.GOODBYE
        elif last and segment.length in ALERT_SIZES:
            kind = RecordKind.CLOSE_NOTIFY
        elif infer and is_last and _may_be_plain_alert(segment, segments):
            kind = RecordKind.ALERT
        yield Record(side, start, end, kind, segment.time_ns)


def _called(segment: Segment, told: Carried, *, is_last: bool) -> Iterator[Record]:
    """The records of a segment whose contents the text names.

    A sealed alert that ends a direction is taken for a close_notify, as in a capture.
    """
    kind, start = told.kind, segment.start
    if told.behind and segment.length > _SEALED_ALERT:
        start = segment.end - _SEALED_ALERT
        yield Record(segment.side, segment.start, start, RecordKind.DATA, segment.time_ns)
    if kind is RecordKind.ALERT:
        ends = is_last if told.alert is None else told.alert[1] == CLOSE_NOTIFY
        kind = RecordKind.CLOSE_NOTIFY if ends else RecordKind.ALERT
    yield Record(segment.side, start, segment.end, kind, segment.time_ns, told.alert)


def _told_version(segments: Sequence[Segment], carried: Mapping[int, Carried]) -> str | None:
    """The version of TLS that a text names, the latest one: it is settled after the ClientHello."""
    told = (carried[s.number].tls for s in reversed(segments) if s.number in carried)
    return next((tls for tls in told if tls), None)


def _may_be_plain_alert(segment: Segment, segments: Sequence[Segment]) -> bool:
    """Whether it has the size of an alert, and the client's first words before it of a hello."""
    said = (s for s in segments if s.side is Side.CLIENT and s.length and not s.syn)
    first = next(said, None)
    begins_like_tls = first is not None and first.length >= _HELLO_BYTES
    return segment.length == _PLAIN_ALERT and begins_like_tls and segment is not first


# --- where the close begins -----------------------------------------------------------------------


def _mark(trace: Trace) -> Mark:
    """The close begins behind the server's last data before anything ends.

    Without such data, behind the handshake; without that, at the first packet.
    """
    ends = [s.time_ns for s in trace.segments if s.flags & _FIN_RST]
    ends += [r.time_ns for r in trace.drive.records if r.kind in ALERTS]
    until = min(ends, default=1 << 80)
    said = [
        r
        for r in trace.drive.records
        if r.side is Side.SERVER and r.kind is RecordKind.DATA and r.time_ns <= until
    ]
    for record in reversed(said):
        end = record.end
        for segment in trace.segments:
            begins = segment.start < end and segment.side is Side.SERVER
            if begins and end <= segment.start + segment.length:
                return Mark(segment.time_ns, segment.ack or 0, end)
    shaken = [_opened_to(trace, side, until) for side in (Side.CLIENT, Side.SERVER)]
    return Mark(_first_ns(trace), *shaken)


def _opened_to(trace: Trace, side: Side, until: int) -> int:
    """The offset of a side behind its handshake, as far as it went before anything ended."""
    own = [r for r in trace.drive.records if r.side is side and r.time_ns <= until]
    opening = takewhile(lambda record: record.kind not in ALERTS, own)
    return max((r.end for r in opening if _opens(r)), default=0)


def _opens(record: Record) -> bool:
    return record.kind in {RecordKind.HANDSHAKE, RecordKind.TICKET, RecordKind.PLAIN}


def _first_ns(trace: Trace) -> int:
    return trace.segments[0].time_ns if trace.segments else 0
