"""Every rule of the judge: a story that keeps it, one that breaks it, one it says nothing about.

ARCHITECTURE.md, "What a side may do": what a rule says is broken, a side did.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pytest

from tests.judge.playbook import C, Note, S, gives_up, play, shaped, silence, step, told
from tests.judge.scenarios import (
    BARE_FIN,
    FAIL,
    HALF_CLOSE,
    INFO,
    LAST_REQUEST,
    NGINX,
    ORDERLY,
    PASS,
    POSTGRES,
    SERVER_DROPS,
    SERVER_LEADS,
    WARN,
    driven,
    goaway,
    result,
    results,
    with_close_notify,
)
from tlsprobe.judge.rules import RULES
from tlsprobe.judge.rules.http import ANY_STREAM
from tlsprobe.model.judgement import Level, Result
from tlsprobe.model.knowledge import Knowledge
from tlsprobe.model.trace import (
    By,
    Coverage,
    EventKind,
    PathDid,
    RecordKind,
    Remark,
    RemarkKind,
    Side,
    Trace,
)
from tlsprobe.profiles import list_profiles, load_profile
from tlsprobe.protocols import PROTOCOLS, protocol_of


@dataclass(frozen=True)
class Row:
    """``breaks`` None: behaviour that would break the rule does not exist."""

    keeps: Trace
    breaks: Trace | None
    broken: Result
    elsewhere: Trace


FATAL_NOTIFY = S.alert(0, level=2, kind=RecordKind.CLOSE_NOTIFY)
UPLOAD = C.request(100_000)
LAST_ANSWERED = play(*LAST_REQUEST, S.notify() + S.fin(), protocol="http1")
CLOSE_ANNOUNCED = Remark(RemarkKind.CLOSE_ANNOUNCED, "connection: close")
H2_DRAINED = play(told(), C.request(), step("send"), S.notify() + S.fin(), protocol="http2")
"""A server that was told to drain, and a second stream of ours, number 3, that crossed that."""
H2_IDLE = play(silence(60), S.notify() + S.fin(), protocol="http2")

FAILED = (silence(0.02), C.alert(80), step("alert"))
"""A server that was quiet, and our fatal alert."""
RESUMED = Note(EventKind.RESUMED, By.ID)
NOT_RESUMED = Note(EventKind.NOT_RESUMED, By.ID)
RENEGOTIATES = (C.handshake(), step("renegotiate"))
ASKED_FOR_KEYS = (C.key_update(), step("key_update request"), C.request())

USED_UP = play(step("exhaust"), C.request(), S.response(), S.fin(), protocol="http1")
"""A connection that the server ends behind some request."""
UNREAD = play(
    *(C.request(), step("send"), S.partial(), step("stall"), silence(5), S.notify() + S.fin()),
    protocol="http1",
)
"""A response of which our side reads nothing for long."""

TAKEN = Remark(RemarkKind.VERDICT, "226 Transfer complete.")

TABLE = {
    "TLS12-NOTIFY": Row(
        keeps=play(*SERVER_LEADS, tls="1.2"),
        breaks=play(*SERVER_DROPS, tls="1.2"),
        broken=FAIL,
        elsewhere=play(*SERVER_DROPS, tls="1.3"),
    ),
    "TLS12-ANSWER": Row(
        keeps=play(*ORDERLY, tls="1.2"),
        breaks=play(*BARE_FIN, tls="1.2"),
        broken=FAIL,
        elsewhere=play(*SERVER_LEADS, tls="1.2"),
    ),
    "TLS13-NOTIFY": Row(
        keeps=play(*ORDERLY),
        breaks=play(*BARE_FIN),
        broken=FAIL,
        elsewhere=play(*BARE_FIN, tls="1.2"),
    ),
    "TLS13-HALF-CLOSE": Row(
        keeps=play(HALF_CLOSE, S.response(), S.notify() + S.fin()),
        breaks=play(HALF_CLOSE, S.partial(), S.notify() + S.fin()),
        broken=INFO,
        elsewhere=play(*ORDERLY),
    ),
    "TLS13-IGNORE-AFTER": Row(
        keeps=play(C.notify(), C.request(), S.notify() + S.fin()),
        breaks=play(C.notify(), C.request(), S.response()),
        broken=FAIL,
        elsewhere=play(*ORDERLY),
    ),
    "TLS12-IGNORE-AFTER": Row(
        keeps=play(C.notify(), C.request(), S.notify() + S.fin(), tls="1.2"),
        breaks=play(C.notify(), C.request(), S.response(), tls="1.2"),
        broken=FAIL,
        elsewhere=play(*ORDERLY, tls="1.2"),
    ),
    "TLS12-AFTER-OWN-ALERT": Row(
        keeps=play(*ORDERLY, tls="1.2"),
        breaks=play(C.notify(), S.notify(), S.data(), S.fin(), tls="1.2"),
        broken=FAIL,
        elsewhere=play(*SERVER_DROPS, tls="1.2"),
    ),
    "TLS13-AFTER-OWN-ALERT": Row(
        keeps=play(*ORDERLY),
        breaks=play(C.notify(), S.notify(), S.notify(), S.fin()),
        broken=FAIL,
        elsewhere=play(*SERVER_DROPS),
    ),
    "TLS13-WARNING-LEVEL": Row(
        keeps=play(*ORDERLY),
        breaks=play(C.notify(), FATAL_NOTIFY + S.fin()),
        broken=FAIL,
        elsewhere=play(C.notify(), FATAL_NOTIFY + S.fin(), tls="1.2"),
    ),
    "TLS13-CANCELED": Row(
        keeps=play(S.alert(90, level=1), S.notify() + S.fin()),
        breaks=play(S.alert(90, level=1), S.fin()),
        broken=WARN,
        elsewhere=play(S.alert(90, level=1), S.fin(), tls="1.2"),
    ),
    "TLS-FATAL-CLOSES": Row(
        keeps=play(S.alert(80), S.fin()),
        breaks=play(S.alert(80)),
        broken=FAIL,
        elsewhere=play(S.alert(90, level=1), S.fin()),
    ),
    "TLS13-AFTER-FATAL": Row(
        keeps=play(*FAILED, S.notify() + S.fin()),
        breaks=play(*FAILED, S.data(), S.notify() + S.fin()),
        broken=FAIL,
        elsewhere=play(*ORDERLY),
    ),
    "TLS12-AFTER-FATAL": Row(
        keeps=play(*FAILED, S.fin(), tls="1.2"),
        breaks=play(*FAILED, S.data(), S.fin(), tls="1.2"),
        broken=WARN,
        elsewhere=play(silence(0.02), C.alert(100, level=1), step("alert"), S.data(), tls="1.2"),
    ),
    "TLS-BAD-RECORD": Row(
        keeps=play(C.malformed(), step("alert corrupt"), S.alert(20), S.fin()),
        breaks=play(C.malformed(), step("alert corrupt")),
        broken=FAIL,
        elsewhere=play(C.alert(80), step("alert"), S.fin()),
    ),
    "TLS13-KEY-UPDATE": Row(
        keeps=play(*ASKED_FOR_KEYS, S.key_update() + S.response()),
        breaks=play(*ASKED_FOR_KEYS, S.response()),
        broken=FAIL,
        elsewhere=play(C.key_update(), step("key_update"), C.request(), S.response()),
    ),
    "TLS12-RENEGOTIATE": Row(
        keeps=play(*RENEGOTIATES, S.alert(100, level=1), S.notify() + S.fin(), tls="1.2"),
        breaks=play(*RENEGOTIATES, S.alert(40), S.fin(), tls="1.2"),
        broken=INFO,
        elsewhere=play(*ORDERLY, tls="1.2"),
    ),
    "TLS12-FORGET": Row(
        keeps=play(*FAILED, S.fin(), NOT_RESUMED, tls="1.2"),
        breaks=play(*FAILED, S.fin(), RESUMED, tls="1.2"),
        broken=FAIL,
        elsewhere=play(*ORDERLY, RESUMED, tls="1.2"),
    ),
    "TLS13-EARLY": Row(
        keeps=play(*ORDERLY, Note(EventKind.EARLY_TAKEN, "")),
        breaks=play(*ORDERLY, Note(EventKind.EARLY_REFUSED, "")),
        broken=INFO,
        elsewhere=play(*ORDERLY),
    ),
    "TLS-RESUME": Row(
        keeps=play(*ORDERLY, RESUMED),
        breaks=play(*ORDERLY, NOT_RESUMED),
        broken=INFO,
        elsewhere=play(*ORDERLY),
    ),
    "TLS-TRUNCATION": Row(
        keeps=play(C.fin(), S.notify() + S.fin()),
        breaks=play(C.fin(), S.rst(active=True)),
        broken=INFO,
        elsewhere=play(C.notify(), C.fin(), S.rst(active=True)),
    ),
    "HTTP-CLOSE": Row(
        keeps=play(*LAST_REQUEST, S.notify() + S.fin(), protocol="http1"),
        breaks=play(*LAST_REQUEST, protocol="http1"),
        broken=FAIL,
        elsewhere=play(*SERVER_LEADS, protocol="http1"),
    ),
    "HTTP-CLOSE-HEADER": Row(
        keeps=driven(LAST_ANSWERED, remarks=(CLOSE_ANNOUNCED,)),
        breaks=LAST_ANSWERED,
        broken=WARN,
        elsewhere=play(C.goodbye(asks=True), S.notify() + S.fin(), protocol="http1"),
    ),
    "HTTP-LINGER": Row(
        keeps=play(C.goodbye(asks=True), C.request(), S.response(), S.fin(), protocol="http1"),
        breaks=play(
            C.goodbye(asks=True), C.request(), S.response(), S.rst(active=True), protocol="http1"
        ),
        broken=INFO,
        elsewhere=LAST_ANSWERED,
    ),
    "HTTP-BODY": Row(
        keeps=play(UPLOAD, S.response(), S.notify() + S.fin(), protocol="http1"),
        breaks=play(UPLOAD, S.response().but(ack=500), silence(2), protocol="http1"),
        broken=FAIL,
        elsewhere=play(C.request(), S.response(), protocol="http1"),
    ),
    "HTTP-IDLE-GRACEFUL": Row(
        keeps=play(silence(60), S.notify() + S.fin(), protocol="http1"),
        breaks=play(silence(60), S.fin(), protocol="http1"),
        broken=WARN,
        elsewhere=play(*ORDERLY, protocol="http1"),
    ),
    "HTTP-TLS-ALERT": Row(
        keeps=play(*LAST_REQUEST, S.notify() + S.fin(), protocol="http1"),
        breaks=play(*LAST_REQUEST, S.fin(), protocol="http1"),
        broken=FAIL,
        elsewhere=play(*SERVER_DROPS, protocol="postgres"),
    ),
    "HTTP-TLS-INCOMPLETE": Row(
        keeps=play(C.notify() + C.fin(), S.notify() + S.fin(), protocol="http1"),
        breaks=play(C.notify() + C.fin(), S.rst(active=True), protocol="http1"),
        broken=WARN,
        elsewhere=play(C.fin(), S.rst(active=True), protocol="http1"),
    ),
    "H2-GOAWAY": Row(
        keeps=driven(H2_IDLE, remarks=(goaway(1),)),
        breaks=H2_IDLE,
        broken=WARN,
        elsewhere=play(*ORDERLY, protocol="http2"),
    ),
    "H2-LAST-ID": Row(
        keeps=driven(H2_IDLE, remarks=(goaway(7), goaway(1))),
        breaks=driven(H2_IDLE, remarks=(goaway(1), goaway(3))),
        broken=FAIL,
        elsewhere=driven(H2_IDLE, remarks=(goaway(1),)),
    ),
    "H2-TWO-STAGES": Row(
        keeps=driven(H2_DRAINED, remarks=(goaway(ANY_STREAM), goaway(1))),
        breaks=driven(H2_DRAINED, remarks=(goaway(1),)),
        broken=WARN,
        elsewhere=driven(H2_IDLE, remarks=(goaway(1),)),
    ),
    "H2-ERROR-CLOSES": Row(
        keeps=driven(H2_IDLE, remarks=(goaway(1, 2),)),
        breaks=driven(
            play(C.request(), S.data(), silence(3), gives_up("drain"), protocol="http2"),
            remarks=(goaway(1, 2),),
        ),
        broken=FAIL,
        elsewhere=driven(play(C.request(), protocol="http2"), remarks=(goaway(1),)),
    ),
    "TCP-RST-ON-UNREAD": Row(
        keeps=play(*POSTGRES),
        breaks=None,
        broken=WARN,
        elsewhere=play(*ORDERLY),
    ),
    "TCP-RST-FORM": Row(
        keeps=play(*NGINX),
        breaks=play(S.notify() + S.fin(), C.notify(), S.rst(active=True).but(start=77)),
        broken=INFO,
        elsewhere=play(*ORDERLY),
    ),
    "TCP-CHALLENGE": Row(
        keeps=shaped(
            play(C.abort().but(start=500), S.ack(), *ORDERLY),
            (PathDid.RESET, Side.CLIENT, 0, 100, 8),
        ),
        breaks=shaped(
            play(C.abort().but(start=500), C.notify(), S.rst()),
            (PathDid.RESET, Side.CLIENT, 0, 100, 8),
        ),
        broken=INFO,
        elsewhere=play(*NGINX),
    ),
    "LDAP-ALERT": Row(
        keeps=play(C.notify(), S.notify(), protocol="ldap"),
        breaks=play(C.notify(), protocol="ldap"),
        broken=FAIL,
        elsewhere=play(C.notify(), protocol="raw"),
    ),
    "PG-TERMINATE": Row(
        keeps=play(C.goodbye(), S.notify() + S.fin(), protocol="postgres"),
        breaks=play(C.goodbye(), protocol="postgres"),
        broken=WARN,
        elsewhere=play(*ORDERLY, protocol="postgres"),
    ),
    "WS-CLOSE": Row(
        keeps=play(*LAST_REQUEST, S.notify() + S.fin(), protocol="websocket"),
        breaks=play(C.goodbye(asks=True), S.notify() + S.fin(), protocol="websocket"),
        broken=FAIL,
        elsewhere=play(C.notify(), S.notify() + S.fin(), protocol="websocket"),
    ),
    "FTPS-DATA": Row(
        keeps=driven(play(*ORDERLY, protocol="ftps"), remarks=(TAKEN,)),
        breaks=driven(play(C.fin(), S.fin(), protocol="ftps"), remarks=(TAKEN,)),
        broken=INFO,
        elsewhere=play(*ORDERLY, protocol="ftps"),
    ),
    "SMTP-221": Row(
        keeps=play(*LAST_REQUEST, S.notify() + S.fin(), protocol="smtp"),
        breaks=play(C.goodbye(asks=True), S.notify() + S.fin(), protocol="smtp"),
        broken=FAIL,
        elsewhere=play(C.goodbye(asks=True), S.notify() + S.fin(), protocol="imap"),
    ),
    "IMAP-BYE": Row(
        keeps=play(*LAST_REQUEST, S.notify() + S.fin(), protocol="imap"),
        breaks=play(C.goodbye(asks=True), S.notify() + S.fin(), protocol="imap"),
        broken=FAIL,
        elsewhere=play(C.goodbye(asks=True), S.notify() + S.fin(), protocol="smtp"),
    ),
    "MQTT-DISCONNECT": Row(
        keeps=play(C.goodbye(), S.notify() + S.fin(), protocol="mqtt"),
        breaks=play(C.goodbye(), protocol="mqtt"),
        broken=WARN,
        elsewhere=play(*ORDERLY, protocol="mqtt"),
    ),
    "STOP-IN-FLIGHT": Row(
        keeps=play(C.request(), step("send"), told(), S.response(), S.notify() + S.fin()),
        breaks=play(C.request(), step("send"), told(), S.partial(), S.notify() + S.fin()),
        broken=WARN,
        elsewhere=play(told(), S.notify() + S.fin()),
    ),
    "STOP-RACE": Row(
        keeps=play(told(), C.request(), step("send"), S.response(), S.notify() + S.fin()),
        breaks=play(told(), C.request(), step("send"), S.rst(active=True)),
        broken=WARN,
        elsewhere=play(C.request(), step("send"), S.response(), told(), S.notify() + S.fin()),
    ),
    "STOP-ENDS": Row(
        keeps=play(told("stop SIGTERM"), S.notify() + S.fin()),
        breaks=play(told("stop SIGTERM"), step("drain"), silence(11), gives_up("drain")),
        broken=WARN,
        elsewhere=play(told("reload SIGHUP"), step("drain"), gives_up("drain")),
    ),
    "LIMIT-ANNOUNCED": Row(
        keeps=driven(USED_UP, remarks=(CLOSE_ANNOUNCED,)),
        breaks=USED_UP,
        broken=WARN,
        elsewhere=play(C.request(), step("send"), S.response(), S.fin(), protocol="http1"),
    ),
    "LIMIT-RACE": Row(
        keeps=play(step("exhaust"), C.request(), S.response(), C.request(), S.response(), S.fin()),
        breaks=play(step("exhaust"), C.request(), S.response(), C.request(), S.rst(active=True)),
        broken=WARN,
        elsewhere=USED_UP,
    ),
    "LIMIT-STALL": Row(
        keeps=play(C.request(), step("send"), S.partial(), step("stall"), silence(5), S.fin()),
        breaks=driven(UNREAD, remarks=(Remark(RemarkKind.CLOSE_IMPLIED, "HTTP/1.0"),)),
        broken=WARN,
        elsewhere=play(C.request(), step("send"), S.partial(), S.fin()),
    ),
    "INTEROP-RESET-BEFORE-FIN": Row(
        keeps=play(*ORDERLY),
        breaks=play(*POSTGRES),
        broken=WARN,
        elsewhere=play(C.notify()),
    ),
    "INTEROP-RESET-AFTER-FIN": Row(
        keeps=play(*ORDERLY),
        breaks=play(*NGINX),
        broken=INFO,
        elsewhere=play(*POSTGRES),
    ),
    "INTEROP-DATA-LOST": Row(
        keeps=play(*ORDERLY),
        breaks=play(C.request(), S.partial(), S.notify() + S.fin()),
        broken=WARN,
        elsewhere=play(*ORDERLY, asked=False),
    ),
    "INTEROP-LEAK": Row(
        keeps=play(C.fin(), S.notify() + S.fin()),
        breaks=play(C.notify(), C.fin()),
        broken=WARN,
        elsewhere=play(*NGINX),
    ),
    "INTEROP-PLAINTEXT": Row(
        keeps=play(*ORDERLY),
        breaks=play(C.notify(), S.notify(), S.plain(), S.fin()),
        broken=WARN,
        elsewhere=play(C.notify()),
    ),
    "INTEROP-CUT-OFF": Row(
        keeps=shaped(play(*ORDERLY), (PathDid.MARKED_URGENT, Side.CLIENT, 0, 24, 8)),
        breaks=shaped(
            play(C.notify(), S.rst(active=True)), (PathDid.WINDOW_SHUT, Side.CLIENT, 0, 0, 7)
        ),
        broken=INFO,
        elsewhere=play(*ORDERLY),
    ),
    "INTEROP-IDLE-RACE": Row(
        keeps=play(silence(60), S.notify() + S.fin(), C.request(), S.rst()),
        breaks=play(silence(60), S.notify(), C.request(), S.rst(active=True)),
        broken=WARN,
        elsewhere=play(C.request(), S.notify(), S.rst(active=True)),
    ),
    "INTEROP-IDLE-SILENT": Row(
        keeps=play(silence(60), C.request(), S.response()),
        breaks=play(silence(60), C.request(), S.rst()),
        broken=WARN,
        elsewhere=play(C.request(), S.rst()),
    ),
    "SELF-NOTIFY": Row(
        keeps=play(*ORDERLY),
        breaks=with_close_notify(play(*SERVER_DROPS)),
        broken=Result.ERROR,
        elsewhere=play(*ORDERLY, coverage=Coverage.NONE),
    ),
}
DECIDED_IN_CELLS = {"INTEROP-PATH"}

LEVELS = {
    "TLS12-NOTIFY": Level.MUST,
    "TLS12-ANSWER": Level.MUST,
    "TLS13-NOTIFY": Level.MUST,
    "TLS13-HALF-CLOSE": Level.INFO,
    "TLS13-IGNORE-AFTER": Level.MUST,
    "TLS12-IGNORE-AFTER": Level.MUST,
    "TLS12-AFTER-OWN-ALERT": Level.MUST,
    "TLS13-AFTER-OWN-ALERT": Level.MUST,
    "TLS13-WARNING-LEVEL": Level.MUST,
    "TLS13-CANCELED": Level.SHOULD,
    "TLS-FATAL-CLOSES": Level.MUST,
    "TLS13-AFTER-FATAL": Level.MUST,
    "TLS12-AFTER-FATAL": Level.SHOULD,
    "TLS-BAD-RECORD": Level.MUST,
    "TLS13-KEY-UPDATE": Level.MUST,
    "TLS12-RENEGOTIATE": Level.INFO,
    "TLS12-FORGET": Level.MUST,
    "TLS13-EARLY": Level.INFO,
    "TLS-RESUME": Level.INFO,
    "TLS-TRUNCATION": Level.INFO,
    "HTTP-CLOSE": Level.MUST,
    "HTTP-CLOSE-HEADER": Level.SHOULD,
    "HTTP-LINGER": Level.INFO,
    "HTTP-BODY": Level.MUST,
    "HTTP-IDLE-GRACEFUL": Level.SHOULD,
    "HTTP-TLS-ALERT": Level.MUST,
    "HTTP-TLS-INCOMPLETE": Level.SHOULD,
    "H2-GOAWAY": Level.SHOULD,
    "H2-LAST-ID": Level.MUST,
    "H2-TWO-STAGES": Level.SHOULD,
    "H2-ERROR-CLOSES": Level.MUST,
    "TCP-RST-ON-UNREAD": Level.SHOULD,
    "TCP-RST-FORM": Level.INFO,
    "TCP-CHALLENGE": Level.INFO,
    "LDAP-ALERT": Level.MUST,
    "PG-TERMINATE": Level.SHOULD,
    "WS-CLOSE": Level.MUST,
    "FTPS-DATA": Level.INFO,
    "SMTP-221": Level.MUST,
    "IMAP-BYE": Level.MUST,
    "MQTT-DISCONNECT": Level.SHOULD,
    "STOP-IN-FLIGHT": Level.INTEROP,
    "STOP-RACE": Level.INTEROP,
    "STOP-ENDS": Level.INTEROP,
    "LIMIT-ANNOUNCED": Level.SHOULD,
    "LIMIT-RACE": Level.INTEROP,
    "LIMIT-STALL": Level.INTEROP,
    "INTEROP-RESET-BEFORE-FIN": Level.INTEROP,
    "INTEROP-RESET-AFTER-FIN": Level.INTEROP,
    "INTEROP-DATA-LOST": Level.INTEROP,
    "INTEROP-LEAK": Level.INTEROP,
    "INTEROP-PLAINTEXT": Level.INTEROP,
    "INTEROP-PATH": Level.INTEROP,
    "INTEROP-CUT-OFF": Level.INFO,
    "INTEROP-IDLE-RACE": Level.INTEROP,
    "INTEROP-IDLE-SILENT": Level.INTEROP,
    "SELF-NOTIFY": Level.CHECK,
}
WORST = {
    Level.MUST: FAIL,
    Level.SHOULD: WARN,
    Level.INTEROP: WARN,
    Level.INFO: INFO,
    Level.CHECK: Result.ERROR,
}


def test_every_rule_is_in_the_table() -> None:
    assert TABLE.keys() | DECIDED_IN_CELLS == RULES.keys()


@pytest.mark.parametrize("rule", TABLE)
def test_a_rule_is_kept(rule: str) -> None:
    found = results(TABLE[rule].keeps)[rule]
    assert found.result is PASS, found.text
    assert found.text


@pytest.mark.parametrize("rule", [rule for rule, row in TABLE.items() if row.breaks])
def test_a_rule_is_broken(rule: str) -> None:
    row = TABLE[rule]
    assert row.breaks is not None
    found = results(row.breaks, Knowledge(near=True))[rule]
    assert found.result is row.broken, found.text
    assert found.text


@pytest.mark.parametrize("rule", TABLE)
def test_a_rule_says_nothing_where_it_does_not_apply(rule: str) -> None:
    assert result(rule, TABLE[rule].elsewhere) is Result.NOT_APPLICABLE


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_as_binding_as_its_source_says(rule: str) -> None:
    assert RULES[rule].level is LEVELS[rule]
    assert RULES[rule].id == rule


@pytest.mark.parametrize("rule", TABLE)
def test_a_broken_rule_weighs_no_more_than_its_level(rule: str) -> None:
    order = [INFO, WARN, FAIL, Result.ERROR]
    assert order.index(TABLE[rule].broken) <= order.index(WORST[RULES[rule].level])


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_of_a_protocol_names_one_that_is_spoken(rule: str) -> None:
    """An adapter of the registry, or a profile whose lines are a protocol of their own."""
    assert set(RULES[rule].protocols) <= PROTOCOLS.keys() | scripts()


@cache
def scripts() -> set[str]:
    """The profiles that name a protocol; reading them all takes a moment."""
    profiles = map(load_profile, list_profiles())
    return {profile.name for profile in profiles if protocol_of(profile).named_by_profile}


@pytest.mark.parametrize("rule", RULES)
def test_a_remedy_says_whom_a_breach_hurts_and_what_helps(rule: str) -> None:
    remedy = RULES[rule].remedy
    if remedy is not None:
        assert remedy.advice
        assert all(line.endswith((".", ").")) for line in (remedy.hurts, *remedy.sentences))


def test_a_server_that_has_closed_websocket_and_tls_may_wait_for_our_alert() -> None:
    answered = play(*LAST_REQUEST, S.notify(), gives_up(), protocol="websocket")
    unanswered = play(C.goodbye(asks=True), S.notify(), gives_up(), protocol="websocket")
    open_ = play(*LAST_REQUEST, gives_up(), protocol="websocket")
    found = [result("WS-CLOSE", trace) for trace in (answered, unanswered, open_)]
    assert found == [INFO, FAIL, FAIL]


def test_the_path_is_not_decided_by_a_trace() -> None:
    assert result("INTEROP-PATH", play(*POSTGRES)) is Result.NOT_APPLICABLE


def test_a_trial_that_never_began_is_not_judged() -> None:
    found = results(play(S.fin(), failure="refused our certificate"))
    assert {r.result for r in found.values()} == {Result.NOT_APPLICABLE}


def test_a_server_that_lingers_behind_its_error_is_not_said_to_keep_the_connection() -> None:
    """Go closes a second after its GOAWAY; a wait that was shorter has not seen it do so."""
    story = play(C.request(), S.data(), silence(0.9), gives_up("drain"), protocol="http2")
    assert result("H2-ERROR-CLOSES", driven(story, remarks=(goaway(1, 6),))) is INFO
