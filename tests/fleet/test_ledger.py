"""The ledger: what is written before, what after, and what a kill leaves."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tlsprobe import judge
from tlsprobe.errors import CannotMeasure, UsageError
from tlsprobe.fleet.ledger import LEDGER_FILE, Ledger, _is_at_rest, unanswered
from tlsprobe.model.fleet import FleetFacts, FleetTarget, State
from tlsprobe.model.run import Run

FACTS = FleetFacts(1.5, "here", ("list.txt", "--trials", "2"), "tlsprobe fleet list.txt", "0.1")
TARGETS = tuple(
    FleetTarget(f"{name}.example:443", name, {"trials": 2}, {"team": "é"}, f"list.txt:{at}")
    for at, name in enumerate("abc", 1)
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger.create(tmp_path, FACTS, TARGETS)) as made:
        yield made


@pytest.fixture(scope="module")
def run() -> Run:
    return judge("tests/data/judged/rude")


def test_what_was_asked_is_there_again(ledger: Ledger, tmp_path: Path) -> None:
    with closing(Ledger.open(tmp_path)) as again:
        assert again.facts() == FACTS
        assert tuple(again.targets().values()) == TARGETS
        assert unanswered(again, again.targets()) == [1, 2, 3]


def test_a_claim_is_on_disk_before_anything_is_opened(ledger: Ledger, tmp_path: Path) -> None:
    claimed = ledger.claim(2)
    with closing(Ledger.open(tmp_path)) as again:
        assert again.attempts() == {2: (claimed,)}
    assert unanswered(ledger, ledger.targets()) == [1, 2, 3]


def test_an_answer_is_the_run_and_its_facts(ledger: Ledger, run: Run) -> None:
    ledger.answer(ledger.claim(1), run, b"facts")
    assert ledger.run(1) == run
    assert ledger.trial_facts(1) == b"facts"
    assert ledger.trial_facts(2) is None
    first, second, _ = ledger.answers()
    assert (first.state, first.run, first.vantage) == (State.DONE, run, "here")
    assert (second.state, second.run) == (None, None)
    assert unanswered(ledger, ledger.targets()) == [2, 3]


def test_part_of_a_run_is_kept_and_is_no_answer(ledger: Ledger, run: Run) -> None:
    ledger.answer(ledger.claim(1), replace(run, interrupted=True), b"")
    assert ledger.attempts()[1][-1].state is State.INTERRUPTED
    assert unanswered(ledger, [1]) == [1]


def test_attempts_are_counted_and_never_forgotten(ledger: Ledger) -> None:
    first = ledger.claim(3)
    ledger.end(first, State.LOST, "killed")
    second = ledger.claim(3, "measured again")
    ledger.end(second, State.FAILED, "refused")
    told = ledger.attempts()[3]
    assert [(one.number, one.state, one.reason, one.because) for one in told] == [
        (1, State.LOST, "killed", ""),
        (2, State.FAILED, "refused", "measured again"),
    ]
    assert unanswered(ledger, [3]) == []


@pytest.mark.slow
def test_a_claim_survives_a_kill(tmp_path: Path) -> None:
    """The process ends without closing anything, as after SIGKILL."""
    Ledger.create(tmp_path, FACTS, TARGETS).close()
    code = (
        "import os, sys; from pathlib import Path; from tlsprobe.fleet.ledger import Ledger;"
        " Ledger.open(Path(sys.argv[1])).claim(1); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, env=os.environ)
    with closing(Ledger.open(tmp_path)) as again:
        assert again.attempts()[1][-1].state is State.CLAIMED


def test_a_kill_while_it_was_made_leaves_none(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / LEDGER_FILE)) as db:
        db.execute("PRAGMA journal_mode = WAL")
    with pytest.raises(UsageError):
        Ledger.open(tmp_path)
    with closing(Ledger.create(tmp_path, FACTS, TARGETS)) as made:
        assert len(made.targets()) == len(TARGETS)


def test_a_folder_holds_one_fleet(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already holds a fleet"):
        Ledger.create(tmp_path, FACTS, TARGETS)


@pytest.mark.parametrize("damage", ["missing", "junk", "other format"])
def test_what_cannot_be_read_is_refused(tmp_path: Path, damage: str) -> None:
    file = tmp_path / LEDGER_FILE
    if damage == "junk":
        file.write_bytes(b"no database, but long enough to look like one " * 99)
    if damage == "other format":
        Ledger.create(tmp_path, FACTS, TARGETS).close()
        with closing(sqlite3.connect(file)) as db:
            db.execute("PRAGMA user_version = 99")
    with pytest.raises(UsageError):
        Ledger.open(tmp_path)


def test_a_full_disk_is_told_with_what_to_do(ledger: Ledger, run: Run) -> None:
    ledger.answer(ledger.claim(1), run, b"facts")
    claimed = ledger.claim(2)
    ledger._db.execute("PRAGMA max_page_count = 1")  # SQLite then says that the disk is full
    with pytest.raises(CannotMeasure, match="full") as raised:
        ledger.answer(claimed, run, os.urandom(100_000))
    assert "tlsprobe fleet resume" in str(raised.value.hint)


def test_a_ledger_that_nobody_may_write_beside_is_read(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.claim(1)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert not _is_at_rest(ledger.file), "what was written last is in the log"
    ledger.close()
    assert _is_at_rest(ledger.file)
    with closing(Ledger.open(tmp_path)) as again:
        assert len(again.attempts()) == 1
        with pytest.raises(CannotMeasure, match="readonly"):
            again.claim(2)
