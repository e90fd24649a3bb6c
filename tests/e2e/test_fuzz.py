"""``tlsprobe fuzz`` as a user runs it: faults are found from nothing, and shrunk to two words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import trio

from tests.bench.bench_fuzz import OWN, place
from tests.children import child
from tests.e2e.probing import Ran, tlsprobe
from tests.fuzz.controls import CONTROLS
from tests.fuzz.seeded import seeded
from tests.servers import GENEROUS_S, Nginx, Postgres
from tlsprobe.campaign.reach import reach
from tlsprobe.fuzz.confirming import LEAST_LOST, REPEATS
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.settings import FuzzSettings, FuzzWatcher
from tlsprobe.fuzz.shared import Shared
from tlsprobe.language import parse
from tlsprobe.model.fuzz import Example
from tlsprobe.model.verbs import WRITES, Verb
from tlsprobe.report.schema import closed, fuzz_schema

pytestmark = pytest.mark.packet_socket

CRASHING = Path(__file__).parent.parent / "fuzz" / "crashing.py"
ASKING = {Verb.TERMINATE, Verb.CLOSE_NOTIFY}


def fuzz(port: int, *words: str, cwd: Path) -> Ran:
    """``tlsprobe fuzz`` on loopback, which must see the wire."""
    asked = ("fuzz", "--target", f"127.0.0.1:{port}", "--out", str(cwd / "out"))
    return tlsprobe(*asked, "--require-capture", *words, cwd=cwd)


def document(ran: Ran) -> dict[str, Any]:
    """The fuzz document of the folder, which keeps its schema."""
    found: dict[str, Any] = json.loads((ran.folder / "fuzz.json").read_bytes())
    jsonschema.validate(found, closed(fuzz_schema()))
    return found


def connections(folder: Path) -> list[dict[str, Any]]:
    """The lines of examples.jsonl."""
    return [json.loads(line) for line in (folder / "examples.jsonl").read_bytes().splitlines()]


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
def reference(*names: str) -> Iterator[dict[str, int]]:
    """Reference servers in a process of their own; their ports."""
    command = [sys.executable, "-m", "tlsprobe.reference", *names]
    with child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.kill()


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


def test_nothing_is_found_where_nothing_is_wrong(tmp_path: Path) -> None:
    words = ("--profile", "reference", "--time", "600", "--property", "rules", "--json")
    with reference("polite") as ports:
        ran = fuzz(ports["polite"], *words, "--examples", "80", "--seed", "1", cwd=tmp_path)
        kept = tmp_path / "out" / "corpus"
        again = fuzz(
            *(ports["polite"], *words, "--corpus", str(kept), "--examples", "20"),
            *("--out", str(tmp_path / "again")),
            cwd=tmp_path,
        )
    assert (ran.code, json.loads(ran.out)["failures"]) == (0, []), ran.out
    assert json.loads(ran.out) == document(ran)
    assert again.code == 0, again.err
    tried = {line["steps"] for line in connections(tmp_path / "again")}
    first = min(kept.glob("*.toml")).read_text()
    assert any(json.dumps(steps) in first for steps in tried)


def test_two_targets_that_end_unlike_are_told_apart(tmp_path: Path) -> None:
    with reference("polite", "silent") as ports:
        second = f"127.0.0.1:{ports['silent']}"
        asked = ("--property", "targets-alike", "--property", "notify-before-fin")
        words = ("--profile", "reference", "--examples", "40", "--time", "600", *asked)
        ran = fuzz(ports["polite"], *words, "--against", second, "--seed", "1", cwd=tmp_path)
    failures = document(ran)["failures"]
    assert ran.code == 1, ran.err
    unlike = [one["steps"] for one in failures if one["property"] == "targets-alike"]
    assert {"fin; drain", "close_notify; drain"}.intersection(unlike)
    theirs = {one["target"] for one in failures if one["property"] == "notify-before-fin"}
    assert theirs == {second}, "each failure says whose it is"


def test_what_was_starved_is_no_success(tmp_path: Path) -> None:
    with reference("polite") as ports:
        ran = fuzz(ports["polite"], "--profile", "reference", "--time", "1", cwd=tmp_path)
    assert ran.code == 3, ran.out
    assert document(ran)["starved"]
    assert "too little was tried" in ran.out


def test_a_fault_that_shows_seldom_is_a_race_with_its_rate(tmp_path: Path) -> None:
    words = ("--profile", "reference", "--time", "600", "--examples", "30", "--seed", "1")
    with seeded("abort-1-in-5", dice="1") as port:
        ran = fuzz(port, *words, "--property", "no-reset-before-fin", cwd=tmp_path)
    races = [one for one in document(ran)["failures"] if "rate" in one]
    assert ran.code == 1, ran.err
    assert races
    assert all(broke >= 3 and runs >= 50 for broke, runs, *_ in (one["rate"] for one in races))
    assert "a race: " in ran.out


def test_a_fault_that_takes_a_crowd_says_so(tmp_path: Path) -> None:
    words = ("--profile", "reference", "--time", "600", "--examples", "30", "--seed", "1")
    with seeded("abort-in-a-crowd") as port:
        ran = fuzz(port, *words, "--property", "no-reset-before-fin", cwd=tmp_path)
    assert ran.code == 1, ran.err
    assert all(one["together"] > 6 for one in document(ran)["failures"])
    assert "connections at the same time" in ran.out


@pytest.mark.parametrize("name", CONTROLS)
def test_a_correct_server_of_an_unusual_kind_is_blamed_for_nothing(
    tmp_path: Path, name: str
) -> None:
    profile = "pop3s" if name == "chat" else "reference"
    words = ("--profile", profile, "--time", "600", "--examples", "40", "--seed", "1")
    with seeded(name) as port:
        ran = fuzz(port, *words, cwd=tmp_path)
    assert document(ran)["failures"] == [], ran.out
    assert ran.code == 0, ran.err


def test_an_idle_expiry_is_answered_in_a_round_of_its_own() -> None:
    async def answered(port: int) -> list[Observation]:
        target, converse = place(port)
        reached = await reach(target, converse, OWN)
        shared = Shared(FuzzSettings(OWN), [reached], FuzzWatcher())
        async with AsyncExitStack() as captures:
            prober = await shared.prober(target, reached, captures)
            example = Example(parse("request; answer 2s; drain"), "1.3", together=4)
            return await prober.each(example, "explore", patient=True)

    with seeded("unread-when-idle") as port:
        seen = trio.run(answered, port)
    assert len(seen) == 4
    assert any(one.judgement.signature == "n N r" for one in seen), "an answer was left unread"


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


def test_ctrl_c_keeps_what_was_found(tmp_path: Path) -> None:
    with reference("silent") as ports:
        command = [sys.executable, "-W", "error", "-m", "tlsprobe", "fuzz", "--profile"]
        where = ("--target", f"127.0.0.1:{ports['silent']}", "--out", "out", "--json")
        words = ("reference", *where, "--time", "600", "--examples", "100000")
        with child(
            [*command, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            deadline = time.monotonic() + GENEROUS_S
            while not (tmp_path / "out/fuzz-1.toml").exists():
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=GENEROUS_S)
    assert process.returncode == 130, err
    said = json.loads(out)
    jsonschema.validate(said, closed(fuzz_schema()))
    assert said["interrupted"]
    assert said["failures"]


@pytest.mark.server("postgres")
def test_postgresql_leaves_the_close_notify_unread(tmp_path: Path, postgres: Postgres) -> None:
    login = ("--user", postgres.trust_user, "--database", postgres.database)
    words = ("--profile", "postgres", *login, "--time", "600", "--examples", "60", "--seed", "1")
    ran = fuzz(postgres.port, *words, "--property", "no-reset-before-fin", cwd=tmp_path)
    found = failure(ran, "no-reset-before-fin", "unread-data-at-close")
    assert goes_on_behind_its_end(found["steps"]), found["steps"]


@pytest.mark.server("nginx")
def test_nginx_does_not_answer_the_close_notify(tmp_path: Path, nginx: Nginx) -> None:
    words = ("--profile", "nginx", "--examples", "60", "--time", "600", "--seed", "1")
    asked = ("--tls", "1.2", "--property", "notify-before-fin")
    ran = fuzz(nginx.port, *words, *asked, cwd=tmp_path)
    failures = document(ran)["failures"]
    answers = [one["steps"] for one in failures if one["rule"] == "TLS12-ANSWER"]
    verbs = min(([step.verb for step in parse(steps).steps] for steps in answers), key=len)
    assert len(verbs) <= 3
    assert set(verbs) == {Verb.CLOSE_NOTIFY, Verb.DRAIN}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--property", "no-reset-before-fim"), "did you mean 'no-reset-before-fin'?"),
        (("--property", "targets-alike"), "--against HOST:PORT"),
        (("--corpus", "damaged"), "odd.toml"),
    ],
)
def test_a_wrong_command_line_is_told(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/odd.toml").write_text('steps = "fin; fim"')
    ran = fuzz(9, "--profile", "reference", *words, cwd=tmp_path)
    assert ran.code == 2
    assert said in ran.err


def test_where_nobody_answers_nothing_is_measured(tmp_path: Path) -> None:
    ran = fuzz(1, "--profile", "reference", cwd=tmp_path)
    assert ran.code == 3, ran.err
    assert "cannot reach" in ran.err
