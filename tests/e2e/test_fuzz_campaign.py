"""``tlsprobe fuzz`` as a user runs it: correct servers, two targets, crowds, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import jsonschema
import pytest
import trio

from tests.bench.bench_fuzz import OWN, place
from tests.children import child
from tests.e2e.fuzzing import connections, document, fuzz, reference
from tests.fuzz.controls import CONTROLS
from tests.fuzz.seeded import seeded
from tests.servers import GENEROUS_S, Nginx
from tlsprobe.campaign.reach import reach
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.settings import FuzzSettings, FuzzWatcher
from tlsprobe.fuzz.shared import Shared
from tlsprobe.language import parse
from tlsprobe.model.fuzz import Example
from tlsprobe.model.verbs import Verb
from tlsprobe.report.schema import closed, fuzz_schema

pytestmark = pytest.mark.packet_socket


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
