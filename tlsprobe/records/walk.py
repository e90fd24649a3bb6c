"""TLS records of one direction, found without keys: where each begins, ends, and its outer type.

A record tells its own length (RFC 8446 section 5.1, RFC 5246 section 6.2.1), so five bytes in
every sixteen thousand are enough to walk from one to the next. Bytes may come out of order, twice,
or never. What precedes TLS (PostgreSQL's SSLRequest, SMTP until STARTTLS) is passed over: TLS
begins at the first hello.

Where the beginning of the stream is not in the capture, or a walk has lost its footing in a hole,
it looks for something like a header, first where a segment begins. Such a header is believed, and
its record kept, once another one follows where it says, or its record ends where a segment does:
random bytes pass once in about 10**9 segments.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from struct import Struct
from typing import NamedTuple

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23

ALERT_SIZE = 2
"""Bytes of an alert: level and description."""

_HEARTBEAT = 24
_HEAD = Struct(">BBBH")
_read_head = _HEAD.unpack_from
_HEADER = 5
_MAX_BODY = 2**14 + 2048
_CLIENT_HELLO, _SERVER_HELLO = 1, 2

TLS13 = 0x0304
"""The version of a session of TLS 1.3, as its hellos say it."""

FIRST, LATEST = 32, 256
"""So many records are remembered from the beginning, and from the end, of a direction."""

HELLO_BYTES, HELLO_BYTES_WITH_KEYS = 8192, 32768
"""Of handshake records so many bytes are kept in all: enough for the hellos, of a renegotiation
too where somebody has its keys."""

ALERT_BYTES = 512
"""Of an alert so many: padding makes one of 280 bytes, at most, out of two."""

SMALL_BYTES = 128
"""Of application data so many, for who has the keys: alerts are small, however padded."""

STREAM_BYTES = 1 << 20
"""So many bytes of a direction's application data are kept whole before that, for the same."""

WORDS_BYTES = 128
"""So many bytes of the last plain segment are kept: a goodbye is short."""

_SEALED = re.compile(rb"[\x15\x17]\x03\x03[\x00-\x48]", re.DOTALL)
"""How a record that is sealed begins, in TLS 1.2 and 1.3."""

_OPENINGS = frozenset({ALERT, HANDSHAKE})
"""With one of these TLS begins."""

_WAITING_PIECES, _WAITING_BYTES = 64, 1 << 18


class FoundRecord(NamedTuple):
    """A record: stream bytes ``start`` to ``end``, header included, complete in packet ``number``.

    ``body`` is what was kept of it, ``whole`` whether that is all; ``place`` counts the records of
    the direction from 0.
    """

    start: int
    end: int
    kind: int
    time_ns: int
    number: int
    body: bytes
    whole: bool
    place: int = 0

    @property
    def size(self) -> int:
        """Bytes without the header."""
        return self.end - self.start - _HEADER


class RecordWalk:
    """The records of one direction. ``keep_bodies`` keeps ciphertexts, for who has the keys.

    ``first`` and ``latest`` hold the records, ``left_out`` counts those between them. ``plain_to``
    is the offset up to which no TLS was found, ``plain_words`` what came last before it, if that is
    short, ``lost`` that records may be missing, ``is_blind`` that a segment was captured with less
    than a record's header.
    ``waiting_bytes`` wait for a hole to be filled; with what is kept of bodies they are
    ``held_bytes``.
    """

    def __init__(self, *, from_start: bool, keep_bodies: bool = False) -> None:
        self.first: list[FoundRecord] = []
        self.latest: deque[FoundRecord] = deque()
        self.left_out = 0
        self.plain_to = 0
        self.plain_words = b""
        self.lost = self.is_blind = False
        self._keep_data = SMALL_BYTES if keep_bodies else 0
        self._stream_bytes = STREAM_BYTES if keep_bodies else 0
        self._keep_hellos = HELLO_BYTES_WITH_KEYS if keep_bodies else HELLO_BYTES
        self._from_start = from_start
        self._walking = False
        self._doubted: list[FoundRecord] | None = None
        self._reached = 0
        self._scrap = b""
        self._begin = 0
        self._head = bytearray()
        self._body = bytearray()
        self._end = 0
        self._waiting: dict[int, tuple[bytes, int, int, int]] = {}
        self.waiting_bytes = self.held_bytes = 0

    @property
    def found(self) -> list[FoundRecord]:
        """The records that are remembered, in order."""
        return [*self.first, *self.latest]

    @property
    def reached(self) -> int:
        """The offset up to which the stream was walked."""
        return self._reached

    @property
    def owed(self) -> int:
        """At least so many bytes are missing from the record that was begun last.

        0 if none was, or if nobody can tell because the walk has lost its footing.
        """
        if self.lost or not self._walking or not (self._from_start or len(self.first) > 1):
            return 0
        if len(self._head) == _HEADER:
            return self._end - self._reached
        return _HEADER - len(self._head) if self._head else 0

    @property
    def speaks_tls(self) -> bool:
        """Whether any record was found."""
        return bool(self.first)

    @property
    def has_hello(self) -> bool:
        """Whether TLS is known from a hello; without one it is inferred from its records."""
        first = self.first[0] if self.first else None
        return (
            first is not None and first.kind == HANDSHAKE and first.body[:1] in (b"\x01", b"\x02")
        )

    def feed(self, start: int, payload: bytes, length: int, time_ns: int, number: int) -> None:
        """A segment's payload at offset ``start``; of its ``length`` bytes some may be missing."""
        if start > self._reached:
            if self._reached == 0 and not self._walking and not self._from_start:
                self._reached = start
            else:
                self._wait(start, payload, length, time_ns, number)
                return
        if start == self._reached and payload and len(payload) == length:
            self._walk(payload, time_ns, number)  # as most do
        else:
            self._take(start, payload, length, time_ns, number)
        while self._waiting:
            start = min(self._waiting)
            if start > self._reached:
                return
            self._take(start, *self._fetch(start))

    def finish(self) -> None:
        """No more will come: what waits for a hole to be filled is read behind the hole."""
        while self._waiting:
            self._leap()

    # --- very much at once -----------------------------------------------------------------------

    def data_ends(self, start: int, payloads: Sequence[bytes]) -> list[int] | None:
        """Where records of application data end in whole segments that follow from ``start`` on.

        None where anything else may be in them, or anything is to be kept of the data; none end in
        what is no TLS yet.
        """
        if start != self._reached or self._waiting or self._keep_data or self._doubted is not None:
            return None
        if not self._walking:
            is_plain = self._needs_hello and not self._scrap
            is_plain = is_plain and not any(data[0] in _OPENINGS for data in payloads)
            return [] if is_plain else None
        at = 0
        if self._head:
            if len(self._head) < _HEADER or self._head[0] != APPLICATION_DATA:
                return None
            at = self._end - start
        data = b"".join(payloads)
        ends, last = [at] if self._head else [], len(data) - _HEADER
        while at <= last:
            kind, major, minor, size = _read_head(data, at)
            if kind != APPLICATION_DATA or major != 3 or minor > 4 or not 0 < size <= _MAX_BODY:
                return None
            at += _HEADER + size
            ends.append(at)
        return ends if at >= len(data) else None

    def take_data(
        self,
        payloads: Sequence[bytes],
        ends: Sequence[int],
        times_ns: Sequence[int],
        numbers: Sequence[int],
    ) -> None:
        """The same segments, with what `data_ends` gave of them; the packets' times and numbers."""
        start, reach = self._reached, list(accumulate(map(len, payloads)))
        self._reached += reach[-1]
        if not self._walking:
            self._note_plain(payloads[-1])
            return
        begins = [self._begin if self._head else start, *(start + end for end in ends[:-1])]
        count = bisect_right(ends, reach[-1])
        before = len(self.first) + len(self.latest) + self.left_out
        room = FIRST - len(self.first)
        for at in range(count):
            if room <= at < count - LATEST:
                continue
            segment = bisect_left(reach, ends[at])
            record = FoundRecord(
                begins[at],
                start + ends[at],
                APPLICATION_DATA,
                times_ns[segment],
                numbers[segment],
                b"",
                whole=False,
                place=before + at,
            )
            if at < room:
                self.first.append(record)
            else:
                self.latest.append(record)
        self.left_out = before + count - len(self.first) - min(len(self.latest), LATEST)
        while len(self.latest) > LATEST:
            self.latest.popleft()
        if count:
            self._head.clear()
            self._body.clear()
        if count < len(ends):
            self._begin, self._end = begins[count], start + ends[count]
            self._head[:] = _data_head(self._end - self._begin)

    def _note_plain(self, data: bytes) -> None:
        """All so far is no TLS; ``data`` came last."""
        self.plain_to = self._reached
        self.plain_words = data if len(data) <= WORDS_BYTES else b""

    # --- putting bytes in order ------------------------------------------------------------------

    def _wait(self, start: int, payload: bytes, length: int, time_ns: int, number: int) -> None:
        if start not in self._waiting:
            self._waiting[start] = (payload, length, time_ns, number)
            self.waiting_bytes += len(payload)
            self.held_bytes += len(payload)
        while len(self._waiting) > _WAITING_PIECES or self.waiting_bytes > _WAITING_BYTES:
            self._leap()

    def _fetch(self, start: int) -> tuple[bytes, int, int, int]:
        piece = self._waiting.pop(start)
        self.waiting_bytes -= len(piece[0])
        self.held_bytes -= len(piece[0])
        return piece

    def _leap(self) -> None:
        """Over the hole, to the first piece behind it."""
        start = min(self._waiting)
        piece = self._fetch(start)
        self._skip_to(start, piece[2], piece[3])
        self._take(start, *piece)

    def _take(self, start: int, payload: bytes, length: int, time_ns: int, number: int) -> None:
        end = start + length
        if end <= self._reached:
            return
        old = self._reached - start
        fresh = payload[old:] if old > 0 else payload
        if fresh:
            self._walk(fresh, time_ns, number)
        if self._reached < end:  # captured in part
            self.is_blind |= len(payload) < _HEADER
            self._skip_to(end, time_ns, number)

    def _skip_to(self, offset: int, time_ns: int, number: int) -> None:
        """Bytes that nobody has: harmless inside a body, fatal to a header."""
        if offset <= self._reached:
            return
        if self._walking and len(self._head) == _HEADER and offset <= self._end:
            self._reached = offset
            if offset == self._end:
                self._complete(time_ns, number)
                self._believe()
            return
        self._lose()
        self._from_start = False
        self._scrap = b""
        self._reached = offset

    def _lose(self) -> None:
        """The footing: what was only believed until now was no TLS."""
        if self._walking:
            self.lost = True
        self._walking = False
        self._doubted = None
        self._head.clear()

    # --- walking ---------------------------------------------------------------------------------

    def _walk(self, data: bytes, time_ns: int, number: int) -> None:
        if not self._walking and data[0] not in _OPENINGS and not self._scrap and self._needs_hello:
            # No hello begins here: most of what is no TLS is told by its first byte.
            self._reached += len(data)
            self._note_plain(data)
            return
        while data:
            if not self._walking:
                data = self._footing(data)
            if data:
                data = self._follow(data, time_ns, number)

    def _follow(self, data: bytes, time_ns: int, number: int) -> bytes:
        """From record to record; returns what is left where the next header is none."""
        at, size = 0, len(data)
        while at < size:
            if len(self._head) < _HEADER:
                if not self._head:
                    self._begin = self._reached
                taken = data[at : at + _HEADER - len(self._head)]
                self._head += taken
                at += len(taken)
                self._reached += len(taken)
                if len(self._head) == _HEADER and not self._open():
                    self._lose()
                    break
                continue
            step = min(self._end - self._reached, size - at)
            room = self._wanted() - len(self._body)
            if room > 0:
                self._body += data[at : at + min(step, room)]
            at += step
            self._reached += step
            if self._reached == self._end:
                self._complete(time_ns, number)
                if at == size:
                    self._believe()
        return data[at:]

    def _footing(self, data: bytes) -> bytes:
        """The data from a first header on, with the scrap of it that came before; or nothing."""
        whole = self._scrap + data
        self._scrap = b""
        at = self._foothold_in(whole)
        if at is None:
            self._reached += len(data)
            if len(whole) <= _HEADER and CHANGE_CIPHER_SPEC <= whole[0] <= _HEARTBEAT:
                self._scrap = whole
            elif not self.first:
                self._note_plain(data)
            return b""
        self._reached += len(data) - len(whole) + at
        if at and not self.first:
            self.plain_to = self._reached
        self._walking = True
        self._doubted = None if self._needs_hello else []
        return whole[at:]

    @property
    def _needs_hello(self) -> bool:
        """Whether all bytes so far are there, so that TLS cannot have begun unseen."""
        return self._from_start and not self.first

    def _foothold_in(self, data: bytes) -> int | None:
        """Where TLS begins, or goes on, in these bytes."""
        if self._is_foothold(data):
            return 0
        if self._needs_hello:
            return None
        for found in _SEALED.finditer(data, 1):
            at, header = found.start(), data[found.start() : found.start() + _HEADER]
            if not _plausible(header):
                continue
            behind = at + _HEADER + int.from_bytes(header[3:5], "big")
            goes_on = behind > len(data) and header[0] == APPLICATION_DATA
            if goes_on or behind == len(data) or _plausible(data[behind : behind + _HEADER]):
                return at
        return None

    def _believe(self) -> None:
        """The records since the footing are what they look like."""
        if self._doubted is not None:
            believed, self._doubted = self._doubted, None
            for record in believed:
                self._keep(record)

    def _open(self) -> bool:
        if not _plausible(self._head):
            return False
        if self._doubted:
            self._believe()
        self._end = self._begin + _HEADER + int.from_bytes(self._head[3:5], "big")
        self._body.clear()
        return True

    def _wanted(self) -> int:
        """How many bytes of this record's body to keep."""
        kind = self._head[0]
        if kind == HANDSHAKE:
            return max(self._keep_hellos, SMALL_BYTES)
        if kind == APPLICATION_DATA:
            size = self._end - self._begin - _HEADER
            return size if size <= self._stream_bytes else self._keep_data
        return ALERT_BYTES if kind == ALERT else SMALL_BYTES

    def _complete(self, time_ns: int, number: int) -> None:
        whole = len(self._body) == self._end - self._begin - _HEADER
        body = bytes(self._body)
        if self._head[0] == HANDSHAKE:
            self._keep_hellos = max(0, self._keep_hellos - len(body))
        elif body and self._keep_data:
            self._stream_bytes = max(0, self._stream_bytes - len(body))
            self.held_bytes += len(body)
        record = FoundRecord(self._begin, self._end, self._head[0], time_ns, number, body, whole)
        self._head.clear()
        self._body.clear()
        if self._doubted is None:
            self._keep(record)
        else:
            self._doubted.append(record)

    def _keep(self, found: FoundRecord) -> None:
        record = found._replace(place=len(self.first) + len(self.latest) + self.left_out)
        if len(self.first) < FIRST:
            self.first.append(record)
            return
        self.latest.append(record)
        if len(self.latest) > LATEST:
            self.latest.popleft()
            self.left_out += 1

    def _is_foothold(self, data: bytes) -> bool:
        """Whether TLS begins, or goes on, with the first byte of ``data``."""
        if len(data) < _HEADER + 1 or not _plausible(data):
            return False
        if self._needs_hello:
            hello = data[0] == HANDSHAKE and data[5] in (_CLIENT_HELLO, _SERVER_HELLO)
            return hello or _is_plain_alert(data)
        behind = _HEADER + int.from_bytes(data[3:5], "big")
        if behind >= len(data):
            return data[1:3] == b"\x03\x03" or data[0] == HANDSHAKE
        return _plausible(data[behind:]) or len(data) - behind < _HEADER


def _data_head(size: int) -> bytes:
    """The header of a record of application data that has so many bytes with it."""
    return _HEAD.pack(APPLICATION_DATA, 3, 3, size - _HEADER)


def _is_plain_alert(data: bytes) -> bool:
    """Whether it begins with an alert that nothing seals, and goes on in records if at all."""
    behind = data[_HEADER + ALERT_SIZE :]
    is_alert = data[0] == ALERT and int.from_bytes(data[3:5], "big") == ALERT_SIZE
    return is_alert and (len(behind) < _HEADER or _plausible(behind))


def _plausible(head: bytes | bytearray) -> bool:
    """Whether a record could begin like this."""
    if len(head) < _HEADER or not CHANGE_CIPHER_SPEC <= head[0] <= _HEARTBEAT:
        return False
    size = int.from_bytes(head[3:5], "big")
    return head[1] == 3 and head[2] <= 4 and 0 < size <= _MAX_BODY


class Hello(NamedTuple):
    """What a hello says of the session to come. ``version`` is TLS13 for TLS 1.3."""

    version: int
    random: bytes
    cipher: int | None
    retry: bool = False


_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The random of a HelloRetryRequest (RFC 8446 section 4.1.3)."""

_SUPPORTED_VERSIONS = 43

_DRAFTS = frozenset({0x7F, 0xFB})
"""How the versions of TLS 1.3 began before it was one: its drafts', and those of trials."""


def read_hello(body: bytes) -> Hello | None:
    """A ClientHello or ServerHello at the start of a handshake record; None if it is neither."""
    if len(body) < 39 or body[0] not in (_CLIENT_HELLO, _SERVER_HELLO):
        return None
    version, random = int.from_bytes(body[4:6], "big"), body[6:38]
    if body[0] == _CLIENT_HELLO:
        return Hello(version, random, None)
    if version >> 8 in _DRAFTS:  # until draft 21, without a session id
        return Hello(TLS13, random, int.from_bytes(body[38:40], "big"))
    at = 39 + body[38]
    cipher = int.from_bytes(body[at : at + 2], "big")
    at += 3
    end = min(len(body), at + 2 + int.from_bytes(body[at : at + 2], "big"))
    at += 2
    while at + 4 <= end:
        kind = int.from_bytes(body[at : at + 2], "big")
        size = int.from_bytes(body[at + 2 : at + 4], "big")
        if kind == _SUPPORTED_VERSIONS and size == 2:
            version = int.from_bytes(body[at + 4 : at + 6], "big")
            version = TLS13 if version >> 8 in _DRAFTS else version
        at += 4 + size
    return Hello(version, random, cipher, random == _RETRY)
