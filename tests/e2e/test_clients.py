"""What real psql and curl do to servers that end the connection, as the sniffer sees it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.e2e.probing import tlsprobe
from tlsprobe.campaign.lab_clients import page_again
from tlsprobe.judge.verdict import judge
from tlsprobe.lab.clients import SCENARIOS, Scenario, Seen, Watched, ending_of, tally, watch
from tlsprobe.lab.vendor import running
from tlsprobe.lab.workspace import new_workspace
from tlsprobe.model.trace import Flag, Segment, Side
from tlsprobe.profiles import load_profile
from tlsprobe.report.render_markdown import render_markdown

pytestmark = pytest.mark.packet_socket
TIMES = 5
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def watched(scenario: Scenario, folder: Path) -> Watched:
    async def observe() -> list[Seen]:
        async with running(load_profile(scenario.vendor), here) as server:
            return await watch(scenario, server, 1, folder / "client.pcapng", here.tools)

    with new_workspace() as here:
        (seen,) = trio.run(observe)
    return Watched(ending_of(seen.trace.segments), judge(seen.trace).resets, seen.said)


def watched_closing_first(scenario: Scenario, folder: Path) -> Watched:
    """The same, once the server's idle timer came first: on a busy machine it may fire too late."""
    for _ in range(TIMES):
        seen = watched(scenario, folder)
        if seen.ending.startswith("server"):
            return seen
    raise AssertionError(f"the server never closed first: {seen}")


@pytest.mark.server("nginx", "curl")
def test_curl_meets_a_server_that_has_closed(tmp_path: Path) -> None:
    """Whatever curl still says on the connection that it kept, nobody takes it any more."""
    seen = watched_closing_first(BY_NAME["curl-idle"], tmp_path)
    assert "server FIN" in seen.ending or "server 24 bytes and FIN" in seen.ending
    assert seen.said == ""  # it went on with a new connection, and had its page
    for reset in seen.resets:
        assert (reset.side, reset.cause) == (Side.SERVER, "data-after-close")
        assert not reset.before_fin


@pytest.mark.server("postgres", "psql")
def test_psql_asks_a_server_that_has_closed(tmp_path: Path) -> None:
    seen = watched_closing_first(BY_NAME["psql-idle-query"], tmp_path)
    assert seen.resets, seen
    first = seen.resets[0]
    assert (first.side, first.cause) == (Side.SERVER, "data-after-close")
    assert not first.before_fin


@pytest.mark.server("nginx", "curl")
def test_what_was_watched_is_recorded_and_judged_again(tmp_path: Path) -> None:
    ran = tlsprobe("lab", "clients", "curl-done", "--trials", "2", "--out", "out", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert " of 2: " in (tmp_path / "out" / "clients.md").read_text(encoding="utf-8")
    again = tlsprobe("judge", "out", cwd=tmp_path)
    assert again.code == 0, again.err
    assert "Nothing changed: 2 trials" in again.out
    lines = tmp_path / "out" / "clients" / "curl-done" / "trials.jsonl"
    lines.write_text(lines.read_text(encoding="utf-8").replace('"signature":"', '"signature":"D '))
    changed = tlsprobe("judge", "out", "--write", cwd=tmp_path)
    assert changed.code == 1
    assert "trial 0: " in changed.out
    assert tlsprobe("judge", "out", cwd=tmp_path).code == 0
    page = (tmp_path / "out" / "clients.md").read_text(encoding="utf-8")
    assert render_markdown(page_again(tmp_path / "out")) == page


# --- words ----------------------------------------------------------------------------------------

FIN, RST, ACK = Flag.FIN, Flag.RST, Flag.ACK


def segment(side: Side, flags: int, length: int = 0, start: int = 0) -> Segment:
    return Segment(1, 0, side, flags, start, length, 0, 512, 64, 1, timestamps=True)


def test_an_ending_begins_with_the_last_short_records() -> None:
    client, server = Side.CLIENT, Side.SERVER
    segments = [
        segment(client, ACK, 300),
        segment(server, ACK, 800),
        segment(client, ACK, 24, start=300),
        segment(server, ACK),
        segment(client, FIN | ACK, start=24),
        segment(server, ACK, 24, start=800),
        segment(client, RST),
    ]
    assert ending_of(segments) == "client 24 bytes, client FIN, server 24 bytes, client RST"
    again = segment(server, FIN | ACK, start=24)
    assert ending_of([again, again]) == "server FIN"
    assert ending_of(segments[:3]) == "not ended"
    assert ending_of([]) == "not ended"


def test_what_differs_is_counted_apart() -> None:
    seen = [
        Watched("server FIN", (), ""),
        Watched("client FIN", (), ""),
        Watched("server FIN", (), ""),
    ]
    assert tally(seen) == [
        ("server FIN", "nobody resets", 2),
        ("client FIN", "nobody resets", 1),
    ]
