"""The results folder of a fuzz run, and the corpus that it starts with."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any

from tlsprobe.campaign.circumstances import TOOL
from tlsprobe.campaign.results import (
    GRAIN_S,
    dated_folder,
    give_back,
    must_be_ours,
    replace_file,
    slug,
    unused,
    writing,
)
from tlsprobe.errors import SequenceError, UsageError
from tlsprobe.facts.file import FACTS_FILE, FactsFile
from tlsprobe.fuzz.settings import FuzzJob
from tlsprobe.language import parse
from tlsprobe.model.facts import FactsHeader
from tlsprobe.model.fuzz import Example, ExampleLine, FuzzFailure, FuzzRun, Replay
from tlsprobe.model.run import stamp
from tlsprobe.model.target import Target, TlsVersion
from tlsprobe.report.formats import HTML_PAGE, page_for_folder, page_to_share
from tlsprobe.report.fuzz_document import (
    EXAMPLES_FILE,
    FUZZ_FILE,
    corpus_toml,
    encode_example,
    encode_fuzz,
    failure_toml,
)
from tlsprobe.report.pages.fuzz import fuzz_page

PAGE_FILE = "fuzz.md"
"""The page, for whoever opens the folder."""

AGAINST = "against"
"""The folder with the facts of the second target."""

CORPUS = "corpus"
MOST_KEPT = 500
"""Files that a run adds to a corpus at most."""


class FuzzFolder:
    """One fuzz run's folder. Every connection is on disk when ``add`` returns."""

    def __init__(self, path: Path, job: FuzzJob) -> None:
        self.path = path
        self.target, corpus = job.target, job.corpus
        self.profile_text = job.profile_text
        self.patience = job.settings.run.patience.server
        self.corpus = corpus or path / CORPUS
        self.kept = 0
        self._stores: list[FactsFile] = []
        self._since = time() - GRAIN_S
        self._made = [folder for folder in (path, *path.parents) if not folder.exists()]
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
            self.corpus.mkdir(parents=True, exist_ok=True)
            self._examples = (path / EXAMPLES_FILE).open("ab", buffering=0)
        self.capture = path / "capture.pcapng"

    def add(self, line: ExampleLine) -> None:
        """Append one connection."""
        with writing(self.path):
            self._examples.write(encode_example(line))

    def store(self, target: Target) -> FactsFile:
        """The place for a target's facts; a second one's has a folder of its own."""
        place = self.path / AGAINST if self._stores else self.path
        with writing(self.path):
            place.mkdir(exist_ok=True)
        header = FactsHeader(TOOL, target, stamp(datetime.now(UTC)))
        self._stores.append(FactsFile.create(place / FACTS_FILE, header))
        return self._stores[-1]

    def keep(self, example: Example, signature: str) -> None:
        """Add an example to the corpus."""
        name = slug(f"{signature.replace(' ', '-')}-{example.tls}")[:80]
        file = self.corpus / f"{name}.toml"
        if self.kept >= MOST_KEPT or file.exists():
            return
        self.kept += 1
        with writing(self.path):
            file.write_text(corpus_toml(example, name, signature), encoding="utf-8")

    def save(self, run: FuzzRun) -> FuzzRun:
        """Write the document and a file for each failure; the run that names the files."""
        failures = []
        with writing(self.path):
            for number, failure in enumerate(run.failures, 1):
                name = f"fuzz-{number}"
                file = self.path / f"{name}.toml"
                replay = self.replay_of(failure, run.seed)
                file.write_text(failure_toml(failure, name, replay), encoding="utf-8")
                failures.append(replace(failure, file=str(file)))
        named = replace(run, failures=tuple(failures))
        replace_file(self.path / FUZZ_FILE, encode_fuzz(named))
        page = fuzz_page(named)
        replace_file(self.path / PAGE_FILE, page_for_folder(page).encode())
        replace_file(self.path / HTML_PAGE, page_to_share(page).encode())
        return named

    def replay_of(self, failure: FuzzFailure, seed: int) -> Replay:
        """All that it takes to see a failure again somewhere else."""
        return Replay(
            example_of_failure(failure),
            failure.property,
            failure.rule,
            failure.text,
            cause=failure.kind_of_reset,
            target=failure.target or str(self.target),
            profile=self.target.profile,
            profile_text=self.profile_text,
            patience=self.patience,
            seed=seed,
            expect=failure.confirmed,
            since=failure.since,
        )

    def close(self) -> None:
        """Close the files; give the folder to the user who called sudo."""
        self._examples.close()
        for store in self._stores:
            store.close()
        entries = [*self._made, self.path, *self.path.rglob("*")]
        give_back(entries, self._since)


@contextmanager
def fuzz_folder(path: Path, job: FuzzJob) -> Iterator[FuzzFolder]:
    """A new folder for a fuzz run. Raises UsageError if it cannot be written, or is taken."""
    if (path / FUZZ_FILE).exists():
        hint = "choose another folder with --out DIR"
        raise UsageError(f"{path} already holds the results of a fuzz run", hint)
    must_be_ours(path, lambda _: False)
    folder = FuzzFolder(path, job)
    try:
        yield folder
    finally:
        folder.close()


def example_of_failure(failure: FuzzFailure) -> Example:
    """What a failure says to drive."""
    beside = Example(parse(failure.beside), failure.beside_tls) if failure.beside else None
    return Example(parse(failure.steps), failure.tls, failure.together, beside)


def default_fuzz_folder(target: Target) -> Path:
    """``results/<UTC time>-fuzz-<target>``."""
    return unused(dated_folder(f"fuzz-{slug(str(target))}"))


def read_replay(file: Path) -> Replay | None:
    """What a failure's file says; None for a sequence that breaks nothing. Raises UsageError."""
    table = _table(file)
    if "property" not in table:
        return None
    try:
        texts = ("property", "rule", "text", "cause", "target", "profile", "profile_text", "expect")
        return Replay(
            _read(file),
            **{key: str(table.get(key, "")) for key in texts},
            patience=float(table.get("patience", 5.0)),
            seed=int(table.get("seed", 0)),
            since=int(table.get("since", 0)),
        )
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{file}: {error}", "restore the file as 'tlsprobe fuzz' wrote it"
        ) from error


def read_corpus(folder: Path) -> tuple[Example, ...]:
    """The sequences that earlier runs kept, in the order of their names. Raises UsageError."""
    if not folder.exists():
        return ()
    if not folder.is_dir():
        raise UsageError(f"--corpus: {folder} is not a folder", "give the folder, not a file in it")
    return tuple(dict.fromkeys(_read(file) for file in sorted(folder.glob("*.toml"))))


def _read(file: Path) -> Example:
    table, hint = _table(file), _HINT
    steps, tls = table.get("steps"), table.get("tls", str(TlsVersion.TLS13))
    if not isinstance(steps, str) or tls not in tuple(TlsVersion):
        raise UsageError(f"{file}: 'steps' or 'tls' is missing or wrong", hint)
    beside, beside_tls = table.get("beside"), table.get("beside_tls", tls)
    if not isinstance(beside, str | None) or beside_tls not in tuple(TlsVersion):
        raise UsageError(f"{file}: 'beside' or 'beside_tls' is wrong", hint)
    try:
        other = Example(parse(beside), str(beside_tls)) if beside else None
        return Example(parse(steps), str(tls), int(table.get("together", 1)), other)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{file}: 'together' is wrong: {error}", hint) from error
    except SequenceError as error:
        raise UsageError(f"{file}: {error.message}", hint) from error


_HINT = 'delete the file, or correct it: steps = "close_notify; fin; drain"'


def _table(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file}: {error}", _HINT) from error
