"""What two captures tell together, and runs of one connection added up."""

from __future__ import annotations

import struct

from tlsprobe.lab.paths_findings import PathFindings, after_closes, findings_of, notes_on
from tlsprobe.model.facts import PathFact
from tlsprobe.model.far_side import Renaming, ResetNumbers
from tlsprobe.model.trace import Flag
from tlsprobe.packets.frames import Frame
from tlsprobe.packets.packet import Endpoint

CLIENT: Endpoint = (bytes([10, 77, 1, 2]), 40_000)
ROUTER: Endpoint = (bytes([10, 77, 2, 1]), 51_000)
RENAMED: Endpoint = (bytes([10, 77, 2, 1]), 9_000)
SERVER: Endpoint = (bytes([10, 77, 2, 2]), 5432)
SYN, RST, ACK = Flag.SYN, Flag.RST, Flag.ACK
CLIENT_NAME = "10.77.1.2:40000"

Sent = tuple[Endpoint, Endpoint, int, int, int, int]


def frames(*packets: Sent) -> list[Frame]:
    """Ethernet frames: source, destination, seq, ack, flags, length."""
    found = []
    for number, (source, destination, seq, ack, flags, length) in enumerate(packets, 1):
        ports = source[1], destination[1]
        tcp = struct.pack("!HHIIHHHH", *ports, seq, ack, 5 << 12 | flags, 512, 0, 0)
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 40 + length, 1, 0, 64, 6, 0)
        data = bytes(12) + b"\x08\x00" + ip + source[0] + destination[0] + tcp + bytes(length)
        found.append(Frame(number, number * 1000, data))
    return found


def exchange(client: Endpoint) -> tuple[Sent, ...]:
    return (
        (client, SERVER, 100, 0, SYN, 0),
        (SERVER, client, 500, 101, SYN | ACK, 0),
        (client, SERVER, 101, 501, ACK, 50),
        (SERVER, client, 501, 151, ACK, 70),
        (client, SERVER, 151, 571, ACK, 0),
    )


def late(client: Endpoint) -> Sent:
    return (client, SERVER, 151, 571, ACK, 24)


def reset(client: Endpoint) -> Sent:
    return (SERVER, client, 571, 0, RST, 0)


def renamed() -> PathFindings:
    near = frames(*exchange(CLIENT), late(CLIENT), reset(CLIENT))
    far = frames(*exchange(ROUTER), late(RENAMED), reset(RENAMED))
    return findings_of(near, far, SERVER)


def resetting_router() -> PathFindings:
    near = frames(*exchange(CLIENT), late(CLIENT), reset(CLIENT))
    return findings_of(near, frames(*exchange(CLIENT)), SERVER)


def test_a_renamed_connection_is_told_with_all_its_names() -> None:
    findings = renamed()
    assert findings.made_on_the_way == ()
    assert findings.swallowed == 0
    said = " ".join(notes_on(findings, "the entry is deleted", forgotten=1))
    for words in (
        f"{CLIENT_NAME} reached the server as 10.77.2.1:51000",
        "packet 6) came from 10.77.2.1:9000, which never made a handshake",
        "the RST in packet 7: no-connection-state (confidence high)",
    ):
        assert words in said


def test_a_renamed_connection_is_a_fact() -> None:
    (side,) = renamed().sides
    assert (side.client, side.began_ns) == (CLIENT_NAME, 1000)
    assert side.renaming == Renaming("10.77.2.1:51000", "10.77.2.1:9000", 6, 7)
    assert (side.sent, side.made) == ((ResetNumbers(70, None),), ())


def test_a_reset_that_the_server_never_sent_is_a_fact() -> None:
    findings = resetting_router()
    assert findings.swallowed == 1
    (side,) = findings.made_on_the_way
    assert (side.client, side.swallowed, side.renaming) == (CLIENT_NAME, 1, None)
    assert (side.sent, side.made) == ((), (ResetNumbers(70, None),))


def test_what_a_capture_with_losses_lacks_was_not_made_on_the_way() -> None:
    near = frames(*exchange(CLIENT), late(CLIENT), reset(CLIENT))
    findings = findings_of(near, frames(*exchange(CLIENT)), SERVER, whole=False)
    assert (findings.made_on_the_way, findings.swallowed) == ((), 0)


def test_a_router_that_only_forwards_tells_what_the_server_sent() -> None:
    whole = frames(*exchange(CLIENT), late(CLIENT), reset(CLIENT))
    findings = findings_of(whole, whole, SERVER)
    assert [(side.sent, side.made) for side in findings.sides] == [((ResetNumbers(70, None),), ())]
    assert (findings.renamed, findings.made_on_the_way, findings.swallowed) == ((), (), 0)


def test_a_connection_of_which_there_is_nothing_to_tell_is_left_out() -> None:
    whole = frames(*exchange(CLIENT))
    assert findings_of(whole, whole, SERVER) == PathFindings()


def test_an_rst_with_ack_has_both_numbers() -> None:
    active: Sent = (SERVER, CLIENT, 571, 175, RST | ACK, 0)
    near = frames(*exchange(CLIENT), late(CLIENT), active)
    (side,) = findings_of(near, frames(*exchange(CLIENT), late(CLIENT)), SERVER).sides
    assert side.made == (ResetNumbers(70, 74),)


def test_a_port_that_is_used_again_is_another_connection() -> None:
    again = tuple(
        (src, dst, seq + 9000, ack + 7000 * (src == CLIENT), flags, length)
        for src, dst, seq, ack, flags, length in (*exchange(CLIENT), reset(CLIENT))
    )
    near = frames(*exchange(CLIENT), *again)
    (side,) = findings_of(near, frames(*exchange(CLIENT)), SERVER).made_on_the_way
    assert side.began_ns == 6000


def test_entries_that_survive_are_told_as_such() -> None:
    said = notes_on(PathFindings(), "an address moves", forgotten=3)
    assert any("3 connections idled, and none of them changed its port" in one for one in said)


# --- runs of one connection -----------------------------------------------------------------------


def test_how_often_the_path_was_dead() -> None:
    facts = [PathFact("terminate", "1.3", alive=alive) for alive in (True, False, False)]
    (said,) = after_closes(facts)
    assert said == "after terminate the path was dead 2 of 3 times"
