"""The race against nginx's idle expiry: run for its own sake, and made certain."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.probing import at, causes_in, probe, tlsprobe
from tests.servers import Nginx

pytestmark = [pytest.mark.packet_socket, pytest.mark.server("nginx"), pytest.mark.alone]


def test_races_are_told_with_interval_and_window(nginx: Nginx, tmp_path: Path) -> None:
    asked = ("--sequence", "race", "--sequence", "idle-expiry", "--idle-limit", "4")
    words = ("--profile", "nginx", "--trials", "10", "--tls", "1.3")
    ran = probe(at("127.0.0.1", nginx.port), *words, *asked, cwd=tmp_path)
    race = ran.cell("idle-expiry-race").race
    assert race is not None
    assert race.trials + race.late + race.missing == 10
    assert race.window_us is not None and 0 < race.window_us.n <= 10
    if race.trials == 0:  # no attempt was in time
        assert ran.cell("idle-expiry-race").verdict == "inconclusive"
        return
    assert race.low <= race.probability <= race.high
    assert race.distance_us.n == race.trials
    assert 0 <= (race.distance_us.min or 0) <= (race.distance_us.max or 0) <= 1000
    assert "95" in race.text or "%" in race.text
    outcomes = ran.cell("idle-expiry-race").outcomes
    assert outcomes.get("reset-before-fin", 0) >= race.resets
    assert sum(outcomes.values()) == 10


def test_requests_that_meet_the_expiry_are_told_by_distance(nginx: Nginx, tmp_path: Path) -> None:
    asked = ("--sequence", "idle-expiry-meet", "--idle-limit", "4", "--trials", "10")
    words = ("--profile", "nginx", "--tls", "1.3")
    ran = probe(at("127.0.0.1", nginx.port), *words, *asked, cwd=tmp_path)
    race = ran.cell("idle-expiry-meet").race
    assert race is not None
    assert [met.offset_us for met in race.met] == sorted(met.offset_us for met in race.met)
    assert sum(met.answered + met.refused + met.lost for met in race.met) == race.trials
    assert race.trials + race.late + race.missing == 10


def test_a_delayed_close_makes_it_all_but_certain(nginx: Nginx, tmp_path: Path) -> None:
    """A busy machine may stall us longer than the server is held back, and then we are late."""
    asked = ("--sequence", "idle-expiry-reply", "--idle-limit", "4", "--trials", "15")
    words = ("--profile", "nginx", "--delay-close", str(nginx.pid))
    ran = probe(at("127.0.0.1", nginx.port), *words, *asked, cwd=tmp_path)
    for tls in ("1.2", "1.3"):
        timely = ran.timely("idle-expiry-reply", tls)
        won = [trial for trial in timely if trial.outcome == "reset-before-fin"]
        assert len(won) >= len(timely) - 3
        assert {trial.outcome for trial in timely} <= {"reset-before-fin", "reset-after-fin"}
        assert causes_in(won)["unread-data-at-close"] == len(won)
    assert any("system-call" in note for note in ran.run.notes)
    assert "tracer" in ran.out


def test_a_process_that_is_not_there(nginx: Nginx, tmp_path: Path) -> None:
    words = ("run", "--target", at("127.0.0.1", nginx.port), "--delay-close", "4194303")
    ran = tlsprobe(*words, cwd=tmp_path)
    assert ran.code == 2
    assert "4194303" in ran.err
