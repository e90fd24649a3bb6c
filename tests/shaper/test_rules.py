"""The path's rules: what goes to the server, whatever our kernel puts into its packets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.model.trace import PathDid, Side
from tlsprobe.model.verbs import Treatment
from tlsprobe.shaper.packet import ACK, FIN, PSH, RST, SYN, URG, TcpPacket
from tlsprobe.shaper.rules import MOST_ACTIONS, Offsets, Path, Treated

ISN, THEIR_ISN = 2**32 - 20, 2**32 - 7
"""Both wrap around soon."""

STREAM = bytes(range(60))
END = len(STREAM)
TIMES = bytes((1, 1, 8, 10))


def stamped(at: int) -> bytes:
    return TIMES + at.to_bytes(4, "big") + b"\0\0\0\1"


def ours(start: int = 0, size: int = 0, *, fin: bool = False, **fields: object) -> TcpPacket:
    """A packet of our kernel's with bytes of the stream."""
    flags = ACK | (PSH if size else 0) | (FIN if fin else 0)
    made = TcpPacket(
        *(b"\1\1\1\1", b"\2\2\2\2", 40000, 443),
        seq=(ISN + 1 + start) % 2**32,
        ack=(THEIR_ISN + 1) % 2**32,
        flags=flags,
        window=500,
        options=stamped(100),
        payload=STREAM[start : start + size],
    )
    return made._replace(**fields)  # type: ignore[arg-type]


def theirs(start: int = 0, size: int = 0, *, flags: int = ACK) -> TcpPacket:
    seq = (THEIR_ISN + 1 + start) % 2**32
    return TcpPacket(b"\2" * 4, b"\1" * 4, 443, 40000, seq, 0, flags, 400, payload=bytes(size))


def a_path(*treated: Treated) -> Path:
    path = Path()
    path.from_client(ours()._replace(seq=ISN, flags=SYN), 0)
    path.from_server(theirs()._replace(seq=THEIR_ISN, flags=SYN | ACK), 0)
    for one in treated:
        path.treat(one)
    return path


def places(packets: Iterable[TcpPacket]) -> list[tuple[int, int, bool]]:
    """Where each stands: its first offset, its length, and whether it has a FIN."""
    found = []
    for packet in packets:
        start = (packet.seq - ISN - 1 + 2**31) % 2**32 - 2**31
        assert packet.payload == STREAM[start : start + len(packet.payload)]
        found.append((start, len(packet.payload), bool(packet.flags & FIN)))
    return found


def did(path: Path) -> list[PathDid]:
    return [action.did for action in path.actions]


# --- what is not treated --------------------------------------------------------------------------


@given(st.integers(0, END), st.integers(0, END), st.booleans())
def test_what_is_not_treated_passes_as_it_is(start: int, size: int, fin: bool) -> None:
    path = a_path()
    packet = ours(start, size, fin=fin and start + size >= END)
    assert path.from_client(packet, 0) == [packet]
    assert path.from_server(theirs(3, 7, flags=ACK | FIN), 0) == [theirs(3, 7, flags=ACK | FIN)]
    assert path.actions == []


# --- any treatment, any cut -----------------------------------------------------------------------


@st.composite
def cuts(draw: st.DrawFn) -> list[TcpPacket]:
    """The stream and its FIN in packets, as a kernel may cut it."""
    edges = sorted(draw(st.sets(st.integers(1, END - 1), max_size=6)))
    spans = list(zip([0, *edges], [*edges, END], strict=True))
    apart = draw(st.booleans())
    made = [ours(a, b - a, fin=b == END and not apart) for a, b in spans]
    return [*made, ours(END, fin=True)] if apart else made


@st.composite
def treatments(draw: st.DrawFn) -> Treated:
    how = draw(st.sampled_from(Treatment))
    start = draw(st.integers(0, END - 1))
    end = draw(st.integers(start + 1, END + (how is not Treatment.URGENT)))
    return Treated(how, start, end, draw(st.integers(1, 3)))


def whole(packets: Iterable[TcpPacket]) -> bool:
    """Whether a server that drops what is damaged has all of the stream and the FIN."""
    have: set[int] = set()
    for start, size, fin in places(p for p in packets if not p.damaged):
        have |= set(range(start, start + size))
        have |= {END} if fin else set()
    return have == set(range(END + 1))


@given(treatments(), st.lists(cuts(), min_size=8, max_size=8))
def test_the_server_has_it_all_in_the_end(treated: Treated, rounds: list[list[TcpPacket]]) -> None:
    """Our kernel repeats what is not acknowledged, cut as it likes."""
    path = a_path(treated)
    out = [o for packets in rounds for p in packets for o in path.from_client(p, 0)]
    out += path.release(1)
    assert whole(out)
    assert all(o.flags & FIN == 0 or o.payload == b"" or p[0] + p[1] == END for o, p in both(out))


def both(packets: list[TcpPacket]) -> Iterator[tuple[TcpPacket, tuple[int, int, bool]]]:
    yield from zip(packets, places(packets), strict=True)


@given(st.integers(0, END), st.integers(1, END), st.lists(cuts(), min_size=2, max_size=4))
def test_what_is_held_does_not_pass_before_it_is_released(
    start: int, size: int, rounds: list[list[TcpPacket]]
) -> None:
    end = min(start + size, END + 1)
    path = a_path(Treated(Treatment.HOLD, start, end))
    out = [o for packets in rounds for p in packets for o in path.from_client(p, 0)]
    passed = {at for a, n, fin in places(out) for at in (*range(a, a + n), *([END] if fin else []))}
    assert passed == set(range(END + 1)) - set(range(start, end))
    released = places(path.release(1))
    again = {at for a, n, fin in released for at in (*range(a, a + n), *([END] if fin else []))}
    assert again == set(range(start, end))
    assert places(path.from_client(ours(0, END), 2)) == [(0, END, False)]  # it is over


def test_the_server_is_at_the_port_that_our_syn_went_to() -> None:
    assert Path().server_port is None
    assert a_path().server_port == 443


def test_while_something_is_held_our_kernel_is_not_heard_repeating_itself() -> None:
    path = a_path(Treated(Treatment.HOLD, 10, 20))
    assert places(path.from_client(ours(0, 20), 0)) == [(0, 10, False)]
    assert places(path.from_client(ours(20, fin=True), 1)) == [(20, 0, True)]
    assert path.from_client(ours(0, 20, fin=True), 2) == []
    assert path.from_client(ours(20 + 1), 3) == []  # a duplicate acknowledgement
    (fresh,) = path.from_client(ours(20 + 1, ack=THEIR_ISN + 9), 4)
    assert places([fresh]) == [(10, 0, False)]  # numbered as if the held bytes were not sent
    assert did(path).count(PathDid.HELD) == 1


def test_what_is_released_is_acknowledged_and_timed_as_of_now() -> None:
    path = a_path(Treated(Treatment.HOLD, 0, 10))
    path.from_client(ours(0, 10), 0)
    path.from_client(ours(10, 5, ack=99, window=7, options=stamped(200)), 1)
    (packet,) = path.release(2)
    assert (packet.ack, packet.window, packet.options) == (99, 7, stamped(200))
    assert packet.payload == STREAM[:10]


# --- each treatment -------------------------------------------------------------------------------


def test_lost_so_many_times() -> None:
    path = a_path(Treated(Treatment.LOSE, 10, 20, 2))
    assert places(path.from_client(ours(0, 30), 0)) == [(0, 10, False), (20, 10, False)]
    assert path.from_client(ours(10, 10), 1) == []
    assert places(path.from_client(ours(10, 10), 2)) == [(10, 10, False)]
    assert did(path) == [PathDid.LOST, PathDid.LOST]


def test_twice_and_only_once() -> None:
    path = a_path(Treated(Treatment.TWICE, 0, 10))
    assert places(path.from_client(ours(0, 10), 0)) == [(0, 10, False)] * 2
    assert places(path.from_client(ours(0, 10), 1)) == [(0, 10, False)]


def test_damaged_once() -> None:
    path = a_path(Treated(Treatment.CORRUPT, 0, 10))
    assert [p.damaged for p in path.from_client(ours(0, 10), 0)] == [True]
    assert [p.damaged for p in path.from_client(ours(0, 10), 1)] == [False]


def test_marked_up_to_its_last_byte() -> None:
    path = a_path(Treated(Treatment.URGENT, 5, 15))
    before, marked, behind = path.from_client(ours(0, 20), 0)
    assert (marked.flags & URG, marked.urgent) == (URG, 10)
    assert not (before.flags | behind.flags) & URG


def test_cut_into_pieces_of_so_many_bytes() -> None:
    path = a_path(Treated(Treatment.SPLIT, 0, 10, 4))
    out = path.from_client(ours(0, 12, fin=True), 0)
    assert places(out)[:3] == [(0, 4, False), (4, 4, False), (8, 2, False)]
    assert places(out)[3] == (10, 2, True)
    assert [bool(p.flags & PSH) for p in out] == [False, False, False, True]


@pytest.mark.parametrize("how", [Treatment.LOSE, Treatment.CORRUPT])
def test_a_fin_is_treated_like_a_byte(how: Treatment) -> None:
    path = a_path(Treated(how, END, END + 1))
    first = path.from_client(ours(50, 10, fin=True), 0)
    assert (50, 10, False) in places(first)
    assert [p.damaged for p in first if p.flags & FIN] in ([], [True])
    assert places(path.from_client(ours(END, fin=True), 1)) == [(END, 0, True)]


# --- window, acknowledgements, resets -------------------------------------------------------------


def test_a_window_of_zero_until_it_is_opened() -> None:
    path = a_path()
    path.from_client(ours(0, 10), 0)
    (told,) = path.shut_window(1)
    assert (told.window, told.payload, places([told])) == (0, b"", [(10, 0, False)])
    assert [p.window for p in path.from_client(ours(10, 10), 2)] == [0]
    assert [p.window for p in path.from_client(ours(20), 3)] == [0]
    assert [p.window for p in path.open_window(4)] == [500]
    assert did(path) == [PathDid.WINDOW_SHUT, PathDid.WINDOW_OPENED]


def test_muted_acknowledgements_and_what_data_acknowledges() -> None:
    path = a_path()
    path.from_client(ours(0, ack=5), 0)
    path.mute(1)
    assert path.from_client(ours(0, ack=9), 2) == []
    assert [p.ack for p in path.from_client(ours(0, 10, ack=9), 3)] == [5]
    assert [p.ack for p in path.unmute(4)] == [9]
    assert did(path) == [PathDid.MUTED, PathDid.SWALLOWED, PathDid.UNMUTED]


def test_while_muted_our_kernel_answers_no_repetition_with_an_rst() -> None:
    path = a_path()
    path.from_client(ours(0, 10, fin=True), 0)
    path.mute(1)
    bare, aborts = ours(11, flags=RST), ours(11, flags=RST | ACK)
    assert path.from_client(bare, 2) == []
    assert path.from_client(aborts, 3) == [aborts]
    path.unmute(4)
    assert path.from_client(bare, 5) == [bare]


@pytest.mark.parametrize("ahead", [0, 100])
def test_an_rst_stands_where_the_server_is(ahead: int) -> None:
    path = a_path(Treated(Treatment.HOLD, 10, 20))
    path.from_client(ours(0, 20), 0)
    (rst,) = path.reset(ahead, 1)
    assert rst.flags == RST | ACK
    assert rst.seq == (ISN + 1 + 10 + ahead) % 2**32
    (action,) = path.actions[-1:]
    assert (action.did, action.start, action.end) == (PathDid.RESET, 10, 10 + ahead)


def test_whoever_lacks_bytes_is_reset_when_we_leave() -> None:
    path = a_path(Treated(Treatment.HOLD, 10, 20))
    path.from_client(ours(0, 10), 0)
    assert path.leave() == []
    path.from_client(ours(10, 10, fin=True), 2)
    (rst,) = path.leave()
    assert rst.seq == (ISN + 1 + 10) % 2**32


# --- the server's FIN -----------------------------------------------------------------------------


def test_the_servers_fin_waits_and_its_data_does_not() -> None:
    path = a_path()
    path.hold_fin(50)
    (data,) = path.from_server(theirs(0, 5, flags=ACK | FIN), 100)
    assert (data.payload, data.flags) == (bytes(5), ACK)
    assert path.due_ns == 150
    assert path.from_server(theirs(0, 5, flags=ACK | FIN), 120) == []  # its kernel repeats it
    assert path.due(149) == []
    (fin,) = path.due(150)
    assert (fin.seq, fin.flags & FIN, fin.payload) == ((THEIR_ISN + 6) % 2**32, FIN, b"")
    again = theirs(5, flags=ACK | FIN)
    assert path.from_server(again, 160) == [again]
    assert did(path) == [PathDid.FIN_HELD, PathDid.SWALLOWED, PathDid.FIN_PASSED]
    assert path.due(1000) == []


def test_an_rst_overtakes_the_fin() -> None:
    path = a_path()
    path.hold_fin(50)
    path.from_server(theirs(0, flags=ACK | FIN), 0)
    rst = theirs(1, flags=RST)
    assert path.from_server(rst, 1) == [rst]
    assert path.due(100) == []
    assert path.actions[-1].did is PathDid.FIN_DROPPED
    assert path.actions[-1].side is Side.SERVER


# --- what is kept ---------------------------------------------------------------------------------


def test_a_kernel_that_repeats_itself_for_ever_fills_no_diary() -> None:
    path = a_path(Treated(Treatment.HOLD, 0, 10))
    for now in range(2 * MOST_ACTIONS):
        path.from_client(ours(0, 10), now)
    assert len(path.actions) == MOST_ACTIONS


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10))))
def test_ranges_hold_what_was_added(added: list[tuple[int, int]]) -> None:
    offsets, known = Offsets(), set[int]()
    for start, size in added:
        offsets.add(start, start + size)
        known |= set(range(start, start + size))
    for start in range(32):
        for end in range(start + 1, 34):
            assert offsets.holds(start, end) == (set(range(start, end)) <= known)
    front = next(at for at in range(50) if at not in known)
    assert offsets.front == front
