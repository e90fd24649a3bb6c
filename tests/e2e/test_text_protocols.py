"""Protocols of lines against the servers that Debian ships, each by its profile alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.probing import (
    SPOILED,
    Ran,
    at,
    causes_in,
    fell_as_they_are_told,
    probe,
    results_in,
)
from tests.servers import Pki
from tests.servers_text import (
    ENVIRONMENT,
    Starter,
    TextServer,
    running_dovecot,
    running_exim,
    running_nats,
    running_redis,
    running_vsftpd,
)
from tlsprobe.model.judgement import Reader, Result

pytestmark = pytest.mark.packet_socket

TRIALS = 3
VERSIONS = ("1.2", "1.3")
CLIENT_FIRST = ("close-notify-fin",)
GOODBYES = ("terminate", "terminate-close-notify", "server-close-reply")
UNKNOWN = r'request; send "BYE\r\n"; drain'
"""What makes NATS, which has no goodbye, close first."""

ENDED = {"clean", "no-close-notify", "reset-after-fin", "reset-before-fin", "data-lost"}
"""Outcomes of a trial that was taken to its end, and whose end was seen."""


@dataclass(frozen=True)
class Case:
    """A way to talk to a server: by which profile, as a user or a stranger."""

    start: Starter
    profile: str
    sequences: tuple[str, ...] = CLIENT_FIRST + GOODBYES
    as_user: bool = True

    def __str__(self) -> str:
        return self.profile if self.as_user else f"{self.profile}-stranger"


CASES = (
    Case(running_redis, "redis"),
    Case(running_nats, "nats", (*CLIENT_FIRST, UNKNOWN, "idle-before-handshake-hello")),
    Case(running_exim, "smtp"),
    Case(running_exim, "smtps"),
    Case(running_dovecot, "imap"),
    Case(running_dovecot, "imap", as_user=False),
    Case(running_dovecot, "imaps"),
    Case(running_dovecot, "pop3"),
    Case(running_dovecot, "pop3s"),
    Case(running_vsftpd, "ftp"),
)

Server = Callable[[Starter], TextServer]
Probed = Callable[[str], Ran]


@pytest.fixture(scope="module")
def server(pki: Pki) -> Iterator[Server]:
    """Starts each kind of server once, when it is first wanted."""
    started: dict[Starter, TextServer] = {}
    with ExitStack() as until_the_end:

        def start(starter: Starter) -> TextServer:
            if starter not in started:
                started[starter] = until_the_end.enter_context(starter(pki))
            return started[starter]

        yield start


@pytest.fixture(scope="module")
def probed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Probed:
    """Probes a case once; asked again it gives the same run."""
    runs: dict[str, Ran] = {}

    def ran(name: str) -> Ran:
        if name not in runs:
            (case,) = (case for case in CASES if str(case) == name)
            runs[name] = probe_case(case, server(case.start), tmp_path_factory.mktemp(name))
        return runs[name]

    return ran


def probe_case(case: Case, server: TextServer, folder: Path) -> Ran:
    asked = [word for sequence in case.sequences for word in ("--sequence", sequence)]
    return probe(
        at(server.hosts[-1], server.ports[case.profile]),
        *("--profile", case.profile, "--trials", str(TRIALS), "--fail-on", "never", *asked),
        *(server.login if case.as_user else ()),
        cwd=folder,
        env=ENVIRONMENT,
    )


@pytest.mark.parametrize("name", [str(case) for case in CASES])
def test_every_trial_is_taken_to_its_end(probed: Probed, name: str) -> None:
    ran = probed(name)
    assert ran.code == 0, ran.err
    (case,) = (case for case in CASES if str(case) == name)
    assert len(ran.asked) == len(case.sequences) * len(VERSIONS)
    for cell in ran.asked:
        assert sum(cell.outcomes.values()) == cell.trials == TRIALS, (cell.sequence, cell.reason)
        assert cell.path_alive is True or (cell.path_alive is None and ran.slow)
        timely = ran.timely(cell.sequence, cell.tls)
        assert {trial.outcome for trial in timely} <= ENDED, cell
        assert set(results_in(timely, "SELF-NOTIFY")) <= {Result.PASS}
        assert all(trial.conclusive for trial in timely)
    assert ran.run.capture.dropped == 0


@pytest.mark.parametrize("name", [str(c) for c in CASES if c.sequences[-1] in GOODBYES])
@pytest.mark.parametrize("tls", VERSIONS)
def test_the_goodbye_alone_is_answered_and_never_reset(probed: Probed, name: str, tls: str) -> None:
    timely = probed(name).timely("terminate", tls)
    expected = "no-close-notify" if name == "ftp" else "clean"
    assert {trial.outcome for trial in timely} <= {expected}
    assert causes_in(timely) == {}
    assert set(results_in(timely, "INTEROP-DATA-LOST")) <= {Result.PASS}
    assert {trial.axes.reader for trial in timely} <= {Reader.EOF}


@pytest.mark.parametrize("tls", VERSIONS)
def test_redis_leaves_our_alert_unanswered_and_unread(probed: Probed, tls: str) -> None:
    """It answers close_notify with a bare FIN, and one behind QUIT with a reset."""
    ran = probed("redis")
    assert set(ran.outcomes("close-notify-fin", tls)) <= {"no-close-notify"}
    behind = ran.timely("terminate-close-notify", tls)
    fell_as_they_are_told(behind)
    assert set(results_in(behind, "INTEROP-DATA-LOST")) <= {Result.PASS}


@pytest.mark.parametrize("tls", VERSIONS)
def test_nats_answers_our_alert(probed: Probed, tls: str) -> None:
    ran = probed("nats")
    assert set(ran.outcomes("close-notify-fin", tls)) <= {"clean"}
    assert {cell.verdict for cell in ran.asked} <= {"pass", "inconclusive"}
    unanswered = [cell for cell in ran.asked if cell.verdict == "inconclusive"]
    assert all(cell.left_out.keys() & SPOILED for cell in unanswered), unanswered


@pytest.mark.parametrize("tls", VERSIONS)
def test_a_server_may_end_it_before_we_ask_for_tls(probed: Probed, tls: str) -> None:
    assert set(probed("nats").outcomes("idle-before-handshake-hello", tls)) <= {"no-close-notify"}


@pytest.mark.parametrize("name", ["smtp", "smtps"])
@pytest.mark.parametrize("tls", VERSIONS)
def test_exim_notifies_after_quit_only(probed: Probed, name: str, tls: str) -> None:
    """To an end without QUIT it says 421 and closes, with no alert (Debian's, with GnuTLS)."""
    unannounced = probed(name).timely("close-notify-fin", tls)
    assert {trial.outcome for trial in unannounced} <= {"no-close-notify"}
    assert all(" d" in trial.signature for trial in unannounced)
    assert set(probed(name).outcomes("terminate-close-notify", tls)) <= {"clean"}


@pytest.mark.parametrize("name", ["imap", "imaps", "pop3", "pop3s"])
@pytest.mark.parametrize("tls", VERSIONS)
def test_dovecot_forgets_its_answer_when_our_alert_follows_the_goodbye(
    probed: Probed, name: str, tls: str
) -> None:
    """For a user the login process is a proxy, and our alert makes it drop what is on the way."""
    ran = probed(name)
    assert set(ran.outcomes("close-notify-fin", tls)) <= {"clean"}
    behind = ran.timely("terminate-close-notify", tls)
    assert {trial.outcome for trial in behind} <= {"data-lost", "clean"}  # which of them is quicker
    assert causes_in(behind) == {}


def test_answers_that_dovecot_forgets_are_found(probed: Probed) -> None:
    """Not of every connection, if the login process is stopped until the answer has come to it."""
    names = ("imap", "imaps", "pop3", "pop3s")
    ran = [probed(name).timely("terminate-close-notify", v) for name in names for v in VERSIONS]
    assert any(trial.outcome == "data-lost" for timely in ran for trial in timely)


@pytest.mark.parametrize("tls", VERSIONS)
def test_dovecot_answers_a_stranger_whose_alert_follows_the_goodbye(
    probed: Probed, tls: str
) -> None:
    assert set(probed("imap-stranger").outcomes("terminate-close-notify", tls)) <= {"clean"}


@pytest.mark.parametrize("tls", VERSIONS)
def test_vsftpd_never_notifies(probed: Probed, tls: str) -> None:
    """Not even after its own goodbye; an alert behind QUIT is left unread after its FIN."""
    rule = f"TLS{tls.replace('.', '')}-NOTIFY"
    ran = probed("ftp")
    assert set(results_in(ran.timely("terminate", tls), rule)) <= {Result.FAIL}
    behind = ran.timely("terminate-close-notify", tls)
    assert {trial.outcome for trial in behind} <= {"reset-after-fin"}
    assert causes_in(behind).keys() <= {"unread-data-after-fin", "data-after-close"}


@pytest.mark.parametrize(
    ("start", "profile", "told"),
    [
        (running_redis, "redis", "the server refused 'PING': -NOAUTH"),
        (running_nats, "nats", "the server refused 'PING': -ERR 'Authorization Violation'"),
    ],
)
def test_a_missing_password_is_told_in_the_servers_words(
    server: Server, start: Starter, profile: str, told: str, tmp_path: Path
) -> None:
    running = server(start)
    ran = probe(at(running.hosts[0], running.ports[profile]), "--profile", profile, cwd=tmp_path)
    assert ran.code == 3
    assert told in ran.err
    assert "hint:" in ran.err
    assert "--password-env" in ran.err


def test_a_wrong_password_is_told_and_not_shown(server: Server, tmp_path: Path) -> None:
    running = server(running_dovecot)
    ran = probe(
        at(running.hosts[0], running.ports["imaps"]),
        *("--profile", "imaps", *running.login),
        cwd=tmp_path,
        env={"TLSPROBE_TEST_PASSWORD": "guessed"},
    )
    assert ran.code == 3
    assert "a2 NO [AUTHENTICATIONFAILED]" in ran.err
    assert "guessed" not in ran.err


def test_half_a_login_is_a_mistake(server: Server, tmp_path: Path) -> None:
    running = server(running_dovecot)
    asked = ("--profile", "pop3", "--user", "somebody")
    ran = probe(at(running.hosts[0], running.ports["pop3"]), *asked, cwd=tmp_path)
    assert ran.code == 2
    assert "--password-env" in ran.err
