"""What two captures tell together, and runs of one connection added up."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from tests.report.builders import clean, make_run, postgres_reset, trial_line
from tlsprobe.lab.paths_story import Story, after_closes, merged, notes_on, retold, story_of
from tlsprobe.model.judgement import Confidence
from tlsprobe.model.run import BeforeAfter, Run, TrialLine
from tlsprobe.model.trace import Flag
from tlsprobe.packets.frames import Frame
from tlsprobe.packets.packet import Endpoint

CLIENT: Endpoint = (bytes([10, 77, 1, 2]), 40_000)
ROUTER: Endpoint = (bytes([10, 77, 2, 1]), 51_000)
RENAMED: Endpoint = (bytes([10, 77, 2, 1]), 9_000)
SERVER: Endpoint = (bytes([10, 77, 2, 2]), 5432)
SYN, RST, ACK = int(Flag.SYN), int(Flag.RST), int(Flag.ACK)
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


def renamed() -> Story:
    near = frames(*exchange(CLIENT), late(CLIENT), reset(CLIENT))
    far = frames(*exchange(ROUTER), late(RENAMED), reset(RENAMED))
    return story_of(near, far, SERVER)


def resetting_router() -> Story:
    near = frames(*exchange(CLIENT), late(CLIENT), reset(CLIENT))
    return story_of(near, frames(*exchange(CLIENT)), SERVER)


def a_run() -> tuple[Run, list[TrialLine]]:
    line = replace(trial_line(), sequence="terminate-close-notify", tls="1.3", client=CLIENT_NAME)
    return make_run(postgres_reset()), [line]


def test_a_renamed_connection_is_told_with_all_its_names() -> None:
    story = renamed()
    assert story.made_on_the_way == frozenset()
    assert story.swallowed == 0
    said = " ".join(notes_on(story, "the entry is deleted", forgotten=1))
    for words in (
        f"{CLIENT_NAME} reached the server as 10.77.2.1:51000",
        "packet 6) came from 10.77.2.1:9000, which never shook hands",
        "the RST in packet 7: no-connection-state (confidence high)",
    ):
        assert words in said


def test_its_cause_is_proved_in_the_run() -> None:
    run, lines = a_run()
    (cell,) = retold(run, lines, renamed()).cells
    assert cell.causes == {"no-connection-state": 20}
    assert cell.why[0].confidence is Confidence.HIGH
    assert "10.77.2.1:9000" in cell.why[0].evidence[0]


def test_a_reset_that_the_server_never_sent_is_the_routers() -> None:
    story = resetting_router()
    assert story.made_on_the_way == {CLIENT_NAME}
    assert story.swallowed == 1
    run, lines = a_run()
    (cell,) = retold(run, lines, story).cells
    assert cell.causes == {"middlebox": 20}
    assert "the server never sent it" in cell.why[0].evidence[0]


def test_a_router_that_only_forwards_changes_no_cause() -> None:
    whole = frames(*exchange(CLIENT), late(CLIENT), reset(CLIENT))
    story = story_of(whole, whole, SERVER)
    assert story == Story()
    run, lines = a_run()
    assert retold(run, lines, story) == run


def test_a_reset_of_another_client_proves_nothing() -> None:
    run, lines = a_run()
    other = [replace(lines[0], client="10.77.1.2:41000")]
    assert retold(run, other, resetting_router()) == run


def test_entries_that_survive_are_told_as_such() -> None:
    said = notes_on(Story(), "an address moves", forgotten=3)
    assert any("3 connections idled, and none of them changed its port" in one for one in said)


# --- runs of one connection -----------------------------------------------------------------------


def alone(*, alive: bool) -> Run:
    return make_run(replace(clean(trials=1), path_alive=alive))


def test_how_often_the_path_was_dead() -> None:
    (said,) = after_closes([alone(alive=True), alone(alive=False), alone(alive=False)])
    assert said == "after terminate the path was dead 2 of 3 times"


def test_runs_are_added_up_cell_by_cell() -> None:
    run = merged([alone(alive=True), alone(alive=False), make_run(postgres_reset())])
    goodbye, unread = run.cells
    assert (goodbye.trials, goodbye.outcomes, goodbye.path_alive) == (2, {"clean": 2}, False)
    assert goodbye.reader.eof == 2
    assert unread.resets.server == BeforeAfter(before_fin=20)
    assert run.summary["pass"] == 1
    assert run.summary["warn"] == 1


@pytest.mark.parametrize("turned", [False, True])
def test_the_worse_verdict_counts(turned: bool) -> None:
    fine = clean("terminate-close-notify", trials=20)
    runs = [make_run(fine), make_run(postgres_reset())]
    (cell,) = merged(list(reversed(runs)) if turned else runs).cells
    assert cell.verdict == "warn"
    assert cell.trials == 40
