"""Flows that change their name on the way, packets made up and packets swallowed, by hand."""

from __future__ import annotations

from tlsprobe.lab.paths_sides import only_here, origins, rewrites
from tlsprobe.model.trace import Flag
from tlsprobe.packets.packet import Endpoint, Packet, flow_key

CLIENT: Endpoint = (bytes([10, 77, 1, 2]), 40_000)
ROUTER: Endpoint = (bytes([10, 77, 2, 1]), 51_000)
RENAMED: Endpoint = (bytes([10, 77, 2, 1]), 9_000)
SERVER: Endpoint = (bytes([10, 77, 2, 2]), 443)
SYN, RST, ACK = Flag.SYN, Flag.RST, Flag.ACK


def packet(  # noqa: PLR0917 - the fields of a header, in its order
    source: Endpoint, destination: Endpoint, seq: int, ack: int, flags: int, length: int = 0
) -> Packet:
    return Packet(
        number=0,
        time_ns=0,
        key=flow_key(source, destination),
        seq=seq % 2**32,
        ack=ack % 2**32 if flags & ACK else None,
        flags=flags,
        window=512,
        length=length,
        payload=bytes(length),
        ttl=64,
        ip_id=1,
        timestamps=True,
        df=True,
        window_scale=None,
        options=None,
        interface=0,
    )


def dated(*packets: Packet) -> list[Packet]:
    return [p._replace(number=n, time_ns=n * 1000) for n, p in enumerate(packets, 1)]


def opening(client: Endpoint, isn: int = 100) -> tuple[Packet, ...]:
    """Handshake, a request of 50 bytes and a response of 70."""
    return (
        packet(client, SERVER, isn, 0, SYN),
        packet(SERVER, client, 500, isn + 1, SYN | ACK),
        packet(client, SERVER, isn + 1, 501, ACK),
        packet(client, SERVER, isn + 1, 501, ACK, 50),
        packet(SERVER, client, 501, isn + 51, ACK, 70),
        packet(client, SERVER, isn + 51, 571, ACK),
    )


def test_a_stranger_with_known_numbers_is_the_old_flow() -> None:
    seen = dated(
        *opening(ROUTER),
        packet(RENAMED, SERVER, 151, 571, ACK, 24),
        packet(SERVER, RENAMED, 571, 0, RST),
    )
    (found,) = rewrites(seen, SERVER)
    assert (found.before, found.after) == (ROUTER, RENAMED)
    assert (found.number, found.reset) == (7, 8)


def test_numbers_may_wrap() -> None:
    seen = dated(
        *opening(ROUTER, isn=2**32 - 20),
        packet(RENAMED, SERVER, 2**32 - 20 + 51, 571, ACK, 24),
    )
    (found,) = rewrites(seen, SERVER)
    assert found.after == RENAMED
    assert found.reset is None


def test_whoever_shakes_hands_is_somebody_new() -> None:
    assert rewrites(dated(*opening(ROUTER), *opening(RENAMED)), SERVER) == ()


def test_a_stranger_with_other_numbers_is_nobody_we_know() -> None:
    stranger = packet(RENAMED, SERVER, 1 << 30, 571, ACK, 24)
    assert rewrites(dated(*opening(ROUTER), stranger), SERVER) == ()


def test_a_flow_whose_start_was_not_captured_is_not_taken_for_another() -> None:
    middle = opening(ROUTER)[3:]
    stranger = packet(RENAMED, SERVER, 151, 571, ACK, 24)
    assert rewrites(dated(*middle, stranger), SERVER) == ()


def test_the_same_syn_on_both_sides_tells_who_is_behind_a_name() -> None:
    assert origins(dated(*opening(CLIENT)), dated(*opening(ROUTER)), SERVER) == {ROUTER: CLIENT}
    assert origins(dated(*opening(CLIENT, 7)), dated(*opening(ROUTER)), SERVER) == {}


def test_what_the_other_side_did_not_see_is_told_one_by_one() -> None:
    reset = packet(SERVER, CLIENT, 571, 0, RST)
    here = dated(*opening(CLIENT), reset, reset)
    assert only_here(here, dated(*opening(ROUTER))) == here[-2:]
    assert only_here(here, dated(*opening(ROUTER), reset)) == here[-1:]
