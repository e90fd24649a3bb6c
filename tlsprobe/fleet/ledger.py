"""The ledger of a fleet: one SQLite file that says of every target what was begun and what came.

An attempt is committed before its first connection, its answer before anybody hears of it. Whoever
opens the ledger after a kill sees claims without an answer: those attempts may have reached their
servers, and are never repeated without saying so.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from tlsprobe.campaign.results import writing
from tlsprobe.errors import CannotMeasure, UsageError
from tlsprobe.model.fleet import Answer, Attempt, FleetFacts, FleetTarget, State
from tlsprobe.model.run import Run
from tlsprobe.report.document import decode_run, encode_run_line

LEDGER_FILE = "fleet.db"
"""The ledger's name in the folder of a fleet."""

LOCK_FILE = "fleet.lock"
"""Beside the ledger, locked by whoever measures. (Closing the ledger would end SQLite's locks.)"""

FORMAT = 1
"""``PRAGMA user_version``: how the tables below are to be read."""

_UNCHANGING = "?immutable=1"
"""How SQLite opens a file that nobody writes to, where it may not write beside it either.

Source: SQLite, Write-Ahead Logging, "Read-Only Databases".
"""

_TABLES = """
CREATE TABLE fleet (
    begun REAL NOT NULL, vantage TEXT NOT NULL, arguments TEXT NOT NULL, typed TEXT NOT NULL,
    version TEXT NOT NULL);
CREATE TABLE target (
    id INTEGER PRIMARY KEY, address TEXT NOT NULL, name TEXT NOT NULL, options TEXT NOT NULL,
    labels TEXT NOT NULL, place TEXT NOT NULL);
CREATE TABLE attempt (
    target INTEGER NOT NULL REFERENCES target (id), number INTEGER NOT NULL, state TEXT NOT NULL,
    begun REAL NOT NULL, ended REAL, reason TEXT NOT NULL DEFAULT '',
    because TEXT NOT NULL DEFAULT '', PRIMARY KEY (target, number));
CREATE TABLE answer (
    target INTEGER PRIMARY KEY REFERENCES target (id), number INTEGER NOT NULL, run BLOB NOT NULL,
    facts BLOB NOT NULL);
"""


class Ledger:
    """The open ledger of one fleet. Close it: `contextlib.closing`."""

    def __init__(self, file: Path, asked: str = "") -> None:
        self.file = file
        address = f"{file.absolute().as_uri()}{asked}"
        self._db = sqlite3.connect(address, isolation_level=None, uri=True)
        self._db.execute("PRAGMA busy_timeout = 10000")

    @classmethod
    def create(cls, folder: Path, facts: FleetFacts, targets: Sequence[FleetTarget]) -> Ledger:
        """The ledger of a new fleet: all of it or none. Raises UsageError where there is one."""
        ledger = cls(folder / LEDGER_FILE)
        db = ledger._db
        if ledger._is_begun():
            ledger.close()
            hint = f"go on with it: tlsprobe fleet resume {folder}; or name another folder"
            raise UsageError(f"{folder} already holds a fleet", hint)
        arguments = json.dumps(facts.arguments)
        with ledger._kept(), closing(db.cursor()) as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("BEGIN")
            for statement in _TABLES.split(";"):
                cursor.execute(statement)
            cursor.execute(
                "INSERT INTO fleet VALUES (?, ?, ?, ?, ?)",
                (facts.begun, facts.vantage, arguments, facts.typed, facts.version),
            )
            cursor.executemany(
                "INSERT INTO target (address, name, options, labels, place) VALUES (?, ?, ?, ?, ?)",
                map(_row, targets),
            )
            cursor.execute(f"PRAGMA user_version = {FORMAT}")
            cursor.execute("COMMIT")
        return ledger

    def _is_begun(self) -> bool:
        """Whether there is anything in the file: who was killed while making it left nothing."""
        try:
            return bool(self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
        except sqlite3.DatabaseError:
            return True

    @classmethod
    def open(cls, folder: Path) -> Ledger:
        """The ledger in a folder. Raises UsageError if there is none, or none that we can read."""
        file = folder / LEDGER_FILE
        if not file.is_file():
            hint = "name the folder that 'tlsprobe fleet FILE' wrote"
            raise UsageError(f"{folder} holds no fleet: there is no {LEDGER_FILE} in it", hint)
        ledger = cls(file, _UNCHANGING if _is_at_rest(file) else "")
        try:
            (found,) = ledger._db.execute("PRAGMA user_version").fetchone()
            ledger.facts()
        except sqlite3.DatabaseError as error:
            ledger.close()
            hint = "it is damaged, or stands where SQLite may not write beside it: copy the folder"
            raise UsageError(f"{file} cannot be read: {error}", hint) from None
        if found != FORMAT:
            ledger.close()
            hint = "use the version of tlsprobe that wrote it"
            raise UsageError(f"{file} is written in format {found}, not in {FORMAT}", hint)
        return ledger

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """While the block runs nobody else measures this fleet. Raises UsageError if one does."""
        folder = self.file.parent
        with writing(folder):
            lock = (folder / LOCK_FILE).open("ab")
        # Of each connection: what is committed is on disk, whatever SQLite was built with.
        self._db.execute("PRAGMA synchronous = FULL")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                hint = "wait for it; 'tlsprobe fleet status' says how far it is"
                raise UsageError(f"{folder} is being measured", hint) from None
            yield

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Write all of a block. Raises CannotMeasure where the disk is full, or gone.

        What cannot be written down must not be measured either.
        """
        try:
            yield
        except sqlite3.OperationalError as error:
            hint = f"make room, and go on with: tlsprobe fleet resume {self.file.parent}"
            raise CannotMeasure(f"{self.file} cannot be written: {error}", hint) from None

    # --- writing ------------------------------------------------------------------------------

    def claim(self, target: int, because: str = "") -> Attempt:
        """Write down that an attempt begins; it is on disk when this returns."""
        (before,) = self._db.execute(
            "SELECT coalesce(max(number), 0) FROM attempt WHERE target = ?", (target,)
        ).fetchone()
        attempt = Attempt(target, before + 1, State.CLAIMED, time.time(), because=because)
        with self._kept():
            self._db.execute(
                "INSERT INTO attempt (target, number, state, begun, because)"
                " VALUES (?, ?, ?, ?, ?)",
                (target, attempt.number, attempt.state, attempt.begun, because),
            )
        return attempt

    def end(self, attempt: Attempt, state: State, reason: str = "") -> None:
        """Write down how an attempt without an answer ended."""
        with self._kept():
            self._db.execute(
                "UPDATE attempt SET state = ?, ended = ?, reason = ?"
                " WHERE target = ? AND number = ?",
                (state, time.time(), reason, attempt.target, attempt.number),
            )

    def answer(self, attempt: Attempt, run: Run, facts: bytes, reason: str = "") -> None:
        """Write down a run with its facts, in the place of an earlier one; both or neither.

        ``reason`` says why the run is not whole, and never will be.
        """
        state = State.INTERRUPTED if run.interrupted else State.DONE
        document = zlib.compress(encode_run_line(run))
        with self._kept(), closing(self._db.cursor()) as cursor:
            cursor.execute("BEGIN")
            cursor.execute(
                "INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?)",
                (attempt.target, attempt.number, document, facts),
            )
            cursor.execute(
                "UPDATE attempt SET state = ?, ended = ?, reason = ?"
                " WHERE target = ? AND number = ?",
                (state, time.time(), reason, attempt.target, attempt.number),
            )
            cursor.execute("COMMIT")

    # --- reading ------------------------------------------------------------------------------

    def facts(self) -> FleetFacts:
        """How the fleet was asked for."""
        begun, vantage, arguments, typed, version = self._db.execute(
            "SELECT begun, vantage, arguments, typed, version FROM fleet"
        ).fetchone()
        return FleetFacts(begun, vantage, tuple(json.loads(arguments)), typed, version)

    def name(self) -> str:
        """A name that no other fleet has, for those who have many."""
        said = f"{self.file.resolve()} {self.facts().begun!r} {os.uname().nodename}"
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def targets(self) -> dict[int, FleetTarget]:
        """Every target by its number, in the order of the list."""
        rows = self._db.execute(
            "SELECT id, address, name, options, labels, place FROM target ORDER BY id"
        )
        return {
            number: FleetTarget(address, name, json.loads(options), json.loads(labels), place)
            for number, address, name, options, labels, place in rows
        }

    def attempts(self) -> dict[int, tuple[Attempt, ...]]:
        """The attempts of every target that had one, the earliest first."""
        found: dict[int, tuple[Attempt, ...]] = {}
        for target, number, state, begun, ended, reason, because in self._db.execute(
            "SELECT target, number, state, begun, ended, reason, because FROM attempt"
            " ORDER BY target, number"
        ):
            one = Attempt(target, number, State(state), begun, ended, reason, because)
            found[target] = (*found.get(target, ()), one)
        return found

    def run(self, target: int) -> Run | None:
        """The run of a target, if it has one."""
        found = self._db.execute("SELECT run FROM answer WHERE target = ?", (target,)).fetchone()
        return decode_run(zlib.decompress(found[0]), self.file) if found else None

    def trial_facts(self, target: int) -> bytes | None:
        """The facts of its trials, as ``facts.jsonl.gz`` holds them."""
        found = self._db.execute("SELECT facts FROM answer WHERE target = ?", (target,)).fetchone()
        return bytes(found[0]) if found else None

    def answers(self) -> Iterator[Answer]:
        """What is known of every target, one after the other."""
        attempts, vantage = self.attempts(), self.facts().vantage
        for number, target in self.targets().items():
            yield Answer(target, attempts.get(number, ()), vantage, self.run(number))


def _is_at_rest(file: Path) -> bool:
    """Whether nobody writes to a ledger, and we could not either: there is no log beside it."""
    return not os.access(file.parent, os.W_OK) and not Path(f"{file}-wal").exists()


def unanswered(ledger: Ledger, wanted: Iterable[int]) -> list[int]:
    """The targets that still have neither a whole run nor a reason why there is none."""
    known = ledger.attempts()
    ended = {State.DONE, State.FAILED}
    return [
        number for number in wanted if not known.get(number) or known[number][-1].state not in ended
    ]


def _row(target: FleetTarget) -> tuple[str, str, str, str, str]:
    options, labels = json.dumps(dict(target.options)), json.dumps(dict(target.labels))
    return target.address, target.name, options, labels, target.place
