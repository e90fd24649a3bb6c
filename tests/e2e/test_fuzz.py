"""``tlsprobe fuzz`` as a user runs it: faults are found from nothing, and shrunk to two words."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.children import child
from tests.e2e.fuzzing import connections, document, fuzz, reference
from tests.e2e.probing import Ran, tlsprobe
from tests.fuzz.seeded import seeded
from tests.servers import GENEROUS_S, Postgres
from tlsprobe.fuzz.confirming import LEAST_LOST, REPEATS
from tlsprobe.language import parse
from tlsprobe.model.verbs import WRITES, Verb

pytestmark = pytest.mark.packet_socket

CRASHING = Path(__file__).parent.parent / "fuzz" / "crashing.py"
ASKING = {Verb.TERMINATE, Verb.CLOSE_NOTIFY}


def failure(ran: Ran, name: str, cause: str | None = None) -> dict[str, Any]:
    """The shortest failure of a property (with this cause), of which there must be one.

    There may be more: on a busy machine a race may be lost once, and is a failure of its own.
    """
    failures = [one for one in document(ran)["failures"] if one["property"] == name]
    if cause is not None:
        failures = [one for one in failures if one["cause"] and one["cause"]["cause"] == cause]
    return dict(min(failures, key=lambda one: len(parse(one["steps"]).steps)))


def repeats(failure: dict[str, Any]) -> bool:
    """In half of a few runs; or, as a race may be lost, in some of so many that there is a rate."""
    broke, runs = map(int, failure["confirmed"].split("/"))
    return broke >= runs / 2 or (runs >= REPEATS[0] and broke >= LEAST_LOST)


def how_often(failure: dict[str, Any]) -> float:
    """In which part of the confirming runs it showed."""
    broke, runs = map(int, failure["confirmed"].split("/"))
    return broke / runs


def goes_on_behind_its_end(steps: str) -> bool:
    """Goodbye or alert, one more word, and nothing else."""
    verbs = [step.verb for step in parse(steps).steps]
    is_word = verbs[1] in WRITES | {Verb.REQUEST}
    return len(verbs) == 3 and verbs[0] in ASKING and is_word and verbs[2] is Verb.DRAIN


@contextmanager
def crashing(folder: Path, lives: int) -> Iterator[int]:
    """A server that dies of a second goodbye, so many times; its port."""
    told = folder / "port"
    command = [sys.executable, str(CRASHING), str(told), str(lives)]
    with child(command, start_new_session=True) as process:
        deadline = time.monotonic() + GENEROUS_S
        while not (told.exists() and told.read_text()):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield int(told.read_text())
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_chapters_verb_finds_what_nothing_else_does_and_is_replayed(tmp_path: Path) -> None:
    words = ("--profile", "reference", "--property", "rules", "--time", "30", "--tls", "1.3")
    with reference("insisting") as ports:
        ran = fuzz(ports["insisting"], *words, "--chapter", "control", cwd=tmp_path)
        broken = [one for one in document(ran)["failures"] if one["rule"] == "TLS13-AFTER-FATAL"]
        found = max(broken, key=how_often)  # on a busy machine some are races
        file = ran.folder / Path(found["file"]).name
        again = tlsprobe("run", "--sequence", str(file), cwd=tmp_path)
    assert "alert" in found["steps"] or "corrupt" in found["steps"]
    assert again.code == 1


def test_an_unread_word_is_found_and_shrunk_and_replayed(tmp_path: Path) -> None:
    with reference("rude") as ports:
        words = ("--profile", "reference", "--examples", "80", "--time", "600", "--seed", "1")
        ran = fuzz(ports["rude"], *words, cwd=tmp_path)
        found = failure(ran, "no-reset-before-fin", "unread-data-at-close")
        file = str(ran.folder / Path(found["file"]).name)
        again = tlsprobe("run", "--sequence", file, "--out", str(tmp_path / "again"), cwd=tmp_path)
        with reference("polite") as cured:
            where = ("--target", f"127.0.0.1:{cured['polite']}", "--out", str(tmp_path / "cured"))
            clean = tlsprobe("run", "--sequence", file, *where, cwd=tmp_path)
    assert ran.code == 1, ran.err
    assert goes_on_behind_its_end(found["steps"]), found["steps"]
    assert found["steps"] in ran.out
    assert found["cause"]["cause"] in found["cluster"]
    assert found["ladder"]
    assert (again.code, clean.code) == (1, 0), again.out + clean.out
    assert found["steps"] in again.out
    assert "no failure in 1 example" in clean.out
    assert document(ran)["examples"] <= 88
    assert all(repeats(one) for one in document(ran)["failures"])
    assert len(connections(ran.folder)) == document(ran)["connections"]
    assert {path.name for path in tmp_path.iterdir()} == {"out", "again", "cured", ".tlsprobe"}


def test_the_next_run_tries_old_failures_first(tmp_path: Path) -> None:
    words = ("--profile", "reference", "--examples", "12", "--seed", "1", "--concurrency", "1")
    asked = ("--property", "notify-before-fin", "--time", "600")
    (tmp_path / "known").mkdir()
    (tmp_path / "known/one.toml").write_text('steps = "send; sleep 0.3s; send; fin; drain"')
    with seeded("silent-after-pause") as port:
        ran = fuzz(port, *words, *asked, "--corpus", "known", cwd=tmp_path)
        again = fuzz(port, *words, *asked, "--out", str(tmp_path / "again"), cwd=tmp_path)
    assert ran.code == again.code == 1, ran.err + again.err
    first = connections(tmp_path / "again")[0]["steps"]
    assert first in {one["steps"] for one in document(ran)["failures"]}


def test_a_fault_that_shows_seldom_is_a_race_with_its_rate(tmp_path: Path) -> None:
    words = ("--profile", "reference", "--time", "600", "--examples", "30", "--seed", "1")
    with seeded("abort-1-in-5", dice="1") as port:
        ran = fuzz(port, *words, "--property", "no-reset-before-fin", cwd=tmp_path)
    races = [one for one in document(ran)["failures"] if "rate" in one]
    assert ran.code == 1, ran.err
    assert races
    assert all(broke >= 3 and runs >= 50 for broke, runs, *_ in (one["rate"] for one in races))
    assert "a race: " in ran.out


def deadly(folder: Path) -> tuple[str, ...]:
    """Options that let a run begin with a close that kills ``crashing``."""
    (folder / "known").mkdir()
    steps = 'steps = "send; pause 5ms; terminate; pause 500us; close_notify + fin; drain"'
    (folder / "known/deadly.toml").write_text(steps)
    return ("--profile", "reference", "--concurrency", "1", "--corpus", "known", "--seed", "4")


def test_the_close_that_kills_a_server_is_found_and_shrunk(tmp_path: Path) -> None:
    words = (*deadly(tmp_path), "--property", "next-connection", "--examples", "20")
    with crashing(tmp_path, lives=1000) as port:
        ran = fuzz(port, *words, "--time", "600", cwd=tmp_path)
    found = failure(ran, "next-connection")
    verbs = [step.verb for step in parse(found["steps"]).steps]
    assert ran.code == 1, ran.err
    assert found["confirmed"][0] != "0", found
    assert Verb.TERMINATE in verbs
    assert len(verbs) < len(parse(found["found"]).steps), found["steps"]


def test_a_server_that_stays_dead_costs_nothing_that_was_found(tmp_path: Path) -> None:
    words = (*deadly(tmp_path), "--property", "next-connection", "--patience", "1.5")
    with crashing(tmp_path, lives=1) as port:
        ran = fuzz(port, *words, cwd=tmp_path)
    found = failure(ran, "next-connection")
    assert ran.code == 1, ran.err
    assert "terminate" in found["suspects"][0]
    assert "did not come back" in ran.out
    assert "or was stopped, could not be tried" in found["text"]


@pytest.mark.server("postgres")
def test_postgresql_leaves_the_close_notify_unread(tmp_path: Path, postgres: Postgres) -> None:
    login = ("--user", postgres.trust_user, "--database", postgres.database)
    words = ("--profile", "postgres", *login, "--time", "600", "--examples", "60", "--seed", "1")
    ran = fuzz(postgres.port, *words, "--property", "no-reset-before-fin", cwd=tmp_path)
    found = failure(ran, "no-reset-before-fin", "unread-data-at-close")
    assert goes_on_behind_its_end(found["steps"]), found["steps"]
