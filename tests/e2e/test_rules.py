"""Every rule, on the wire: a reference server that keeps it, and one that breaks it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import pytest
import trio

from tests.e2e.probing import SPOILED, was_slow
from tlsprobe.campaign.settings import Settings, Watcher
from tlsprobe.campaign.trials import measure
from tlsprobe.catalogue import catalogue
from tlsprobe.drive.script import Patience
from tlsprobe.facts.file import FactsInMemory
from tlsprobe.judge.rules import RULES
from tlsprobe.model.facts import TrialFact
from tlsprobe.model.judgement import Result, RuleResult
from tlsprobe.model.load import Load
from tlsprobe.model.run import JudgedTrial
from tlsprobe.model.target import Login, Target, TlsVersion
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import make_conversation
from tlsprobe.reference.behaviours import BEHAVIOURS
from tlsprobe.reference.server import running

pytestmark = pytest.mark.packet_socket

PASS, FAIL, WARN, INFO = Result.PASS, Result.FAIL, Result.WARN, Result.INFO
HTTP, HTTP2 = "reference-http", "reference-http2"
PATIENCE = Patience(server=3.0, idle=4.0, tail=0.05)
AT_ONCE = 6
"""Campaigns side by side: each has a sniffer, which takes its time to start."""


@dataclass(frozen=True)
class Row:
    """Who keeps a rule, who breaks it and how badly, and the sequence that shows it.

    ``named`` is the protocol that the judge is told where it differs from the one spoken: what a
    rule of PostgreSQL asks of its goodbye can be seen with any goodbye.
    """

    keeper: str
    breaker: str
    sequence: str
    broken: Result
    tls: str = "1.3"
    profile: str = "reference"
    named: str = ""


Campaign = tuple[str, str, str]
"""A reference server, the profile it is probed with, and the protocol's name."""

Measured = dict[Campaign, list[JudgedTrial]]

LOADS: list[Load | None] = []
"""The load of this machine while all was measured."""

TABLE = {
    "TLS12-NOTIFY": Row("polite", "silent", "terminate", FAIL, "1.2"),
    "TLS12-ANSWER": Row("polite", "silent", "close-notify-fin", FAIL, "1.2"),
    "TLS13-NOTIFY": Row("polite", "silent", "close-notify-fin", FAIL),
    "TLS13-HALF-CLOSE": Row("polite", "truncating", "half-close", INFO),
    "TLS13-IGNORE-AFTER": Row("replying", "answering", "request-after-close-notify", FAIL),
    "TLS12-IGNORE-AFTER": Row("replying", "answering", "request-after-close-notify", FAIL, "1.2"),
    "TLS12-AFTER-OWN-ALERT": Row("polite", "repeating", "terminate", FAIL, "1.2"),
    "TLS13-AFTER-OWN-ALERT": Row("polite", "repeating", "terminate", FAIL),
    "TLS13-WARNING-LEVEL": Row("polite", "grave", "terminate", FAIL),
    "TLS13-CANCELED": Row("canceling", "canceling-only", "terminate", WARN),
    "TLS-FATAL-CLOSES": Row("polite", "mute", "fatal-alert", FAIL),
    "TLS13-AFTER-FATAL": Row("polite", "insisting", "fatal-alert", FAIL),
    "TLS12-AFTER-FATAL": Row("polite", "insisting", "fatal-alert", WARN, "1.2"),
    "TLS-BAD-RECORD": Row("polite", "mute", "corrupt-alert", FAIL),
    "TLS13-KEY-UPDATE": Row("polite", "stiff", "key-update-close-notify", FAIL),
    "TLS12-FORGET": Row("polite", "remembering", "resume-id-after-fatal-alert", FAIL, "1.2"),
    "TLS-TRUNCATION": Row("polite", "aborting", "fin-only", INFO),
    "HTTP-CLOSE": Row("polite", "mute", "terminate", FAIL, profile=HTTP),
    "HTTP-CLOSE-HEADER": Row("polite", "terse", "terminate", WARN, profile=HTTP),
    "HTTP-LINGER": Row("polite", "rude", "request-after-goodbye", INFO, profile=HTTP),
    "HTTP-BODY": Row("polite", "mute", "upload-refused", FAIL, profile=HTTP),
    "HTTP-IDLE-GRACEFUL": Row("polite", "silent", "idle-expiry", WARN, profile=HTTP),
    "HTTP-TLS-ALERT": Row("polite", "silent", "terminate", FAIL, profile=HTTP),
    "HTTP-TLS-INCOMPLETE": Row(
        "polite", "aborting", "close-notify-fin-coalesced", WARN, profile=HTTP
    ),
    "H2-GOAWAY": Row("polite", "silent", "idle-expiry", WARN, profile=HTTP2),
    "H2-LAST-ID": Row("polite", "growing", "idle-expiry", FAIL, profile=HTTP2),
    "H2-ERROR-CLOSES": Row("erring", "erring-open", "terminate", FAIL, profile=HTTP2),
    "LDAP-ALERT": Row("polite", "mute", "close-notify-only", FAIL, named="ldap"),
    "PG-TERMINATE": Row("polite", "mute", "terminate", WARN, named="postgres"),
    "WS-CLOSE": Row("polite", "mute", "terminate", FAIL, profile=HTTP, named="websocket"),
    "SMTP-221": Row("polite", "mute", "terminate", FAIL, profile=HTTP, named="smtp"),
    "IMAP-BYE": Row("polite", "mute", "terminate", FAIL, profile=HTTP, named="imap"),
    "MQTT-DISCONNECT": Row("polite", "mute", "terminate", WARN, named="mqtt"),
    "INTEROP-RESET-BEFORE-FIN": Row("polite", "rude", "terminate-close-notify", WARN),
    "INTEROP-RESET-AFTER-FIN": Row("polite", "half-closing", "terminate-close-notify", INFO),
    "INTEROP-DATA-LOST": Row("polite", "truncating", "half-close", WARN),
    "INTEROP-LEAK": Row("polite", "mute", "fin-before-request", WARN),
    "INTEROP-PLAINTEXT": Row("polite", "indiscreet", "terminate", WARN),
    "INTEROP-IDLE-RACE": Row("polite", "rude", "idle-expiry-request", WARN),
}

KEPT_ONLY = {
    "TCP-RST-ON-UNREAD": ("rude", "terminate-close-notify"),  # the kernel sees to it
    "TLS-RESUME": ("polite", "resume-after-fin"),  # a permission
    "TCP-RST-FORM": ("rude", "terminate-close-notify"),  # no kernel gets its numbers wrong
    "TCP-CHALLENGE": ("polite", "reset-ahead"),  # the kernel sees to it
    "SELF-NOTIFY": ("polite", "terminate"),  # broken only by a driver that lies
}
"""Rules that no server here can break: who keeps them. Stories in tests/judge break them."""

SAYS_NOTHING = "mute", "close-notify-only"
DECIDED = {rule for entry in catalogue().values() for rule in entry.decides}
"""The rules that some sequence claims to decide; the others are decided by what happens."""

ELSEWHERE = {
    "INTEROP-PATH": "decided over a cell by a connection of its own: tests/judge",
    "INTEROP-CUT-OFF": "told of our own path, and broken by nobody: tests/e2e/test_wire.py",
    "TLS13-EARLY": "told of a server that takes early data, which none of ours does: tests/judge",
    "TLS12-RENEGOTIATE": "told of TLS 1.2, and broken by nobody: tests/judge",
    "FTPS-DATA": "told of FTP servers, and broken by nobody: tests/e2e/test_ftps_data.py",
    "H2-TWO-STAGES": "asked of servers that are told to drain: tests/judge",
    "STOP-IN-FLIGHT": "asked of servers that are told to stop: tests/e2e/test_shutdown.py",
    "STOP-RACE": "the same",
    "STOP-ENDS": "the same",
    "LIMIT-ANNOUNCED": "asked of servers that have a limit: tests/e2e/test_limits.py",
    "LIMIT-RACE": "the same",
    "LIMIT-STALL": "the same",
    "INTEROP-IDLE-SILENT": "broken by what lies between, not by a server: tests/judge",
}


def asked() -> dict[Campaign, set[tuple[str, str]]]:
    """What has to be measured: by campaign, the sequences and TLS versions."""
    wanted: dict[Campaign, set[tuple[str, str]]] = defaultdict(set)
    for row in TABLE.values():
        for server in (row.keeper, row.breaker):
            wanted[server, row.profile, row.named].add((row.sequence, row.tls))
    for server, sequence in KEPT_ONLY.values():
        wanted[server, "reference", ""].add((sequence, "1.3"))
    server, sequence = SAYS_NOTHING
    wanted[server, "reference", ""] |= {(sequence, "1.2"), (sequence, "1.3")}
    return wanted


async def probe(
    campaign: Campaign, port: int, cells: set[tuple[str, str]], judged: list[JudgedTrial]
) -> None:
    """One server in one protocol, every sequence once."""
    server, name, named = campaign
    profile = load_profile(name)
    target = Target(server, "127.0.0.1", port, profile.name, named or profile.protocol)
    converse = make_conversation(profile, target.host, Login(), port)
    settings = Settings(
        trials=1,
        patience=PATIENCE,
        capture="packet",
        require_capture=True,
        tls=tuple(TlsVersion(tls) for tls in sorted({tls for _, tls in cells})),
    )
    chosen = [catalogue()[sequence].sequence for sequence in sorted({s for s, _ in cells})]
    facts = FactsInMemory()
    done = await measure(target, converse, chosen, settings, Watcher(), trio.Event(), facts)
    LOADS.extend(fact.load for fact in facts.read() if isinstance(fact, TrialFact))
    judged += done.judged.trials  # the controls have had their say


async def all_campaigns() -> Measured:
    found: Measured = {campaign: [] for campaign in asked()}
    limit = trio.CapacityLimiter(AT_ONCE)

    async def one(campaign: Campaign, port: int, cells: set[tuple[str, str]]) -> None:
        async with limit:
            await probe(campaign, port, cells, found[campaign])

    async with running(tuple(BEHAVIOURS)) as ports, trio.open_nursery() as nursery:
        for campaign, cells in asked().items():
            nursery.start_soon(one, campaign, ports[campaign[0]], cells)
    return found


@pytest.fixture(scope="module")
def measured() -> Measured:
    return trio.run(all_campaigns)


def said(
    measured: Measured,
    campaign: Campaign,
    cell: tuple[str, str],
    rule: str,
) -> RuleResult | None:
    """What the rule says of the one trial of this cell; None if the machine was too slow for it."""
    (trial,) = (t for t in measured[campaign] if (t.trial.sequence, t.trial.tls) == cell)
    if is_spoiled(trial, measured):
        return None
    assert trial.failure is None
    assert trial.judgement.conclusive
    found = next((r for r in trial.judgement.results if r.rule == rule), None)
    assert found is not None, f"{campaign}, {cell}: nothing is said of {rule}"
    return found


def is_spoiled(trial: JudgedTrial, measured: Measured) -> bool:
    """Whether this machine was too slow for a trial, each time that it was driven."""
    if trial.judgement.doubt not in SPOILED:
        return False
    timings = (t.judgement.timing_us for trials in measured.values() for t in trials)
    assert was_slow(timings, LOADS), trial
    return True


def test_every_rule_is_shown_or_excused() -> None:
    assert TABLE.keys() | KEPT_ONLY.keys() | ELSEWHERE.keys() == RULES.keys()
    assert len(TABLE) + len(KEPT_ONLY) + len(ELSEWHERE) == len(RULES)


@pytest.mark.parametrize("rule", TABLE)
def test_a_server_keeps_it_and_another_breaks_it(rule: str, measured: Measured) -> None:
    row = TABLE[rule]
    for server, expected in ((row.keeper, PASS), (row.breaker, row.broken)):
        campaign = server, row.profile, row.named
        found = said(measured, campaign, (row.sequence, row.tls), rule)
        assert found is None or found.result is expected, (server, found)


@pytest.mark.parametrize("rule", KEPT_ONLY)
def test_what_no_server_breaks_is_kept(rule: str, measured: Measured) -> None:
    server, sequence = KEPT_ONLY[rule]
    found = said(measured, (server, "reference", ""), (sequence, "1.3"), rule)
    assert found is None or found.result is PASS, found


@pytest.mark.parametrize("rule", sorted(TABLE.keys() & DECIDED))
def test_the_sequence_says_that_it_decides_the_rule(rule: str) -> None:
    assert rule in catalogue()[TABLE[rule].sequence].decides


def test_the_version_decides(measured: Measured) -> None:
    """To say nothing to our alert breaks a rule of TLS 1.2, and none of TLS 1.3."""
    server, sequence = SAYS_NOTHING
    expected = {"1.2": {"TLS12-ANSWER"}, "1.3": set[str]()}
    for trial in measured[server, "reference", ""]:
        if trial.trial.sequence == sequence and not is_spoiled(trial, measured):
            broken = {r.rule for r in trial.judgement.results if r.result is FAIL}
            assert broken == expected[trial.trial.tls]
