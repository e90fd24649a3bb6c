"""``tlsprobe lab clients``: what psql, curl and pools do to a server that closes first."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import trio

from tlsprobe.campaign.circumstances import TOOL, machine_load
from tlsprobe.campaign.judging import RunInJudgement
from tlsprobe.campaign.pace import cancel_at, interruptible
from tlsprobe.campaign.progress import Progress
from tlsprobe.campaign.results import keep_facts, replace_file, writing
from tlsprobe.campaign.settings import ClientsSettings
from tlsprobe.errors import CannotMeasure, UsageError, plain_errors
from tlsprobe.facts.bounds import bounded
from tlsprobe.facts.file import FACTS_FILE, FactsFile, RecordedFacts
from tlsprobe.lab.clients import (
    SCENARIOS,
    Scenario,
    Seen,
    Watched,
    ending_of,
    missing,
    tally,
    version,
    watch,
)
from tlsprobe.lab.install import install
from tlsprobe.lab.vendor import Started, running
from tlsprobe.lab.workspace import Workspace, new_workspace
from tlsprobe.model.facts import ClientFact, FactsHeader, TrialFact
from tlsprobe.model.load import Load
from tlsprobe.model.run import JudgedTrial, Trial, stamp
from tlsprobe.model.target import Target
from tlsprobe.profiles import load_profile
from tlsprobe.report.blocks import Page
from tlsprobe.report.compatibility_json import absent_in
from tlsprobe.report.document import TRIALS_FILE, encode_trial, trial_line
from tlsprobe.report.formats import page_for_folder
from tlsprobe.report.lab_notes import LAB_FILE, LabNotes, encode_lab_notes, read_lab_notes
from tlsprobe.report.pages.clients import WatchedClient, clients_page

CLIENTS_FOLDER = "clients"
"""Where the facts are, a folder for each scenario, in the folder that ``--out`` names."""

PAGE_FILE = "clients.md"
"""The page of what the clients did, in the folder that ``--out`` names."""


@dataclass(frozen=True, slots=True)
class ClientsWatched:
    """What came of each scenario, and whether Ctrl-C ended it."""

    clients: tuple[WatchedClient, ...]
    interrupted: bool

    @property
    def is_measured(self) -> bool:
        """Whether there is anything to tell."""
        return any(client.endings for client in self.clients)


def scenarios_chosen(names: Sequence[str] | None) -> list[Scenario]:
    """The scenarios of these names, or all. Raises UsageError."""
    known = {scenario.name: scenario for scenario in SCENARIOS}
    for name in names or ():
        if name not in known:
            raise UsageError(f"unknown scenario '{name}'", f"known: {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names or known)]


async def watch_clients(
    scenarios: Sequence[Scenario], asked: ClientsSettings, progress: Progress
) -> ClientsWatched:
    """Watch scenario after scenario, and write down what was seen. Raises UsageError."""
    watched: list[WatchedClient] = []
    with writing(asked.folder):
        asked.folder.mkdir(parents=True, exist_ok=True)
    with new_workspace() as here:
        if asked.install:
            lacking = dict.fromkeys(s.vendor for s in scenarios)
            drivers = {s.driver: s.profile for s in scenarios}
            wanted = [*map(load_profile, lacking), *filter(None, drivers.values())]
            await install(wanted, here.tools, progress.note)
        async with interruptible(progress.note) as stop, trio.open_nursery() as nursery:
            nursery.start_soon(cancel_at, stop, nursery.cancel_scope)
            for scenario in scenarios:
                progress.note(scenario.name)
                try:
                    with plain_errors():
                        watched.append(await _watch(scenario, here, asked))
                except CannotMeasure as error:
                    watched.append(
                        WatchedClient(scenario.name, scenario.text, reason=error.message)
                    )
            nursery.cancel_scope.cancel()
        return ClientsWatched(tuple(watched), stop.is_set())


def write_page(found: ClientsWatched, asked: ClientsSettings) -> Page:
    """The page of all scenarios that the folder holds, those of before included.

    It is also written if one was watched. Raises UsageError.
    """
    if not found.is_measured:
        return clients_page(asked.typed, f"{datetime.now(UTC):%Y-%m-%d}", found.clients)
    place = asked.folder / CLIENTS_FOLDER
    seen = {one.name for one in found.clients if one.endings}
    absent = {one.name: (one.name, one.text, one.reason) for one in found.clients}
    earlier = {one[0]: one for one in absent_in(place)}
    notes = tuple(one for name, one in {**earlier, **absent}.items() if name not in seen)
    replace_file(place / LAB_FILE, encode_lab_notes(LabNotes(asked.typed, notes, _circumstances())))
    page = page_again(asked.folder)
    replace_file(asked.folder / PAGE_FILE, page_for_folder(page).encode())
    return page


def page_again(folder: Path) -> Page:
    """The page of the clients whose facts are kept in ``folder``. Raises UsageError."""
    place = folder / CLIENTS_FOLDER
    notes = read_lab_notes(place) or LabNotes("")
    kept = {s: place / s.name / FACTS_FILE for s in SCENARIOS}
    facts = {s: RecordedFacts(file) for s, file in kept.items() if file.exists()}
    absent = {name: WatchedClient(name, text, reason=why) for name, text, why in notes.absent}
    found = {s.name: _again(s, facts[s]) for s in facts}
    clients = [found.get(s.name) or absent.get(s.name) for s in SCENARIOS]
    day = max((one.header.started[:10] for one in facts.values()), default="")
    seen = [client for client in clients if client is not None]
    return clients_page(notes.command, day, seen, notes.circumstances)


def _circumstances() -> str:
    """What decides with the client which of two ends is first."""
    return f"The machine's load was {machine_load(15)} (15 minutes)."


def _again(scenario: Scenario, facts: RecordedFacts) -> WatchedClient:
    """What a scenario's facts tell."""
    said = next((fact for fact in facts.read() if isinstance(fact, ClientFact)), ClientFact(""))
    run = RunInJudgement()
    trials = [(fact, run.judge(fact)) for fact in facts.read() if isinstance(fact, TrialFact)]
    return _watched(scenario, said, trials)


def _watched(
    scenario: Scenario, said: ClientFact, trials: Sequence[tuple[TrialFact, JudgedTrial]]
) -> WatchedClient:
    ended = (
        Watched(ending_of(fact.trace.segments), judged.judgement.resets, "")
        for fact, judged in trials
    )
    endings = tuple(tally(ended))
    return WatchedClient(
        scenario.name, scenario.text, said.parties, endings=endings, last_words=said.said
    )


async def _watch(scenario: Scenario, here: Workspace, asked: ClientsSettings) -> WatchedClient:
    """One scenario against its server, its facts in a folder of its own. Raises CannotMeasure."""
    reason = missing(scenario, here.tools)
    if reason is not None:
        raise CannotMeasure(reason)
    place = asked.folder if asked.captures else here.scratch
    async with running(load_profile(scenario.vendor), here) as server:
        target = Target(scenario.name, server.host, server.port, scenario.vendor, "")
        header = FactsHeader(TOOL, target, stamp(datetime.now(UTC)))
        file = place / f"clients-{scenario.name}.pcapng"
        seen = await watch(scenario, server, asked.trials, file, here.tools)
        said = ClientFact(await _parties(scenario, server, here), seen[-1].said)
    folder = asked.folder / CLIENTS_FOLDER / scenario.name
    return _watched(scenario, said, _recorded(scenario, seen, said, header, folder, asked))


def _recorded(  # noqa: PLR0917 - what is written down of a scenario
    scenario: Scenario,
    seen: Sequence[Seen],
    said: ClientFact,
    header: FactsHeader,
    folder: Path,
    asked: ClientsSettings,
) -> list[tuple[TrialFact, JudgedTrial]]:
    """Write down what was seen, and judge it."""
    run, trials = RunInJudgement(), []
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with closing(FactsFile.create(folder / FACTS_FILE, header)) as facts:
        facts.append(said)
        for number, one in enumerate(seen):
            fact = TrialFact(Trial(scenario.name, "", number), bounded(one.trace), Load(1, 1))
            facts.append(fact)
            trials.append((fact, run.judge(fact)))
    lines = (encode_trial(trial_line(judged)) for _, judged in trials)
    replace_file(folder / TRIALS_FILE, b"".join(lines))
    if asked.summary_only:
        keep_facts(folder, folder)
    return trials


async def _parties(scenario: Scenario, server: Started, here: Workspace) -> str:
    client = (await version(scenario, here.tools)).partition(" (x86_64")[0]
    return f"{client}, {server.profile.title} {server.version or ''}".rstrip()
