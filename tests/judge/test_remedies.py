"""Whom a reset hurts and what helps: by cause, side, bytes, protocol and server."""

from __future__ import annotations

from itertools import product

import pytest

from tlsprobe.judge.families import FAMILIES, family_of
from tlsprobe.judge.remedies import Situation, remedy_of
from tlsprobe.model.causes import Cause, Party
from tlsprobe.model.judgement import Provoked
from tlsprobe.model.trace import Side

NGINX = family_of("nginx/1.22.1")
EVERY = [
    Situation(*row)
    for row in product(
        Cause,
        Side,
        (None, *Provoked),
        (False, True),
        ("", "http1", "postgres"),
        (None, *FAMILIES),
    )
]
SETTINGS = {
    setting: family.name
    for family in FAMILIES
    for setting in (family.idle, family.lingers, family.resets, family.heeds_abort)
    if setting
}


def told(situation: Situation) -> str:
    remedy = remedy_of(situation)
    return " ".join((remedy.hurts, *remedy.sentences))


def test_every_situation_has_whole_sentences() -> None:
    for remedy in {remedy_of(situation) for situation in EVERY}:
        assert remedy.advice
        for sentence in (remedy.hurts, *remedy.sentences):
            assert sentence.endswith(".")
            assert sentence[0].isupper()


def test_a_setting_is_named_of_the_server_at_hand_alone() -> None:
    for situation in EVERY:
        words = told(situation)
        own = situation.family.name if situation.family else None
        for setting, family in SETTINGS.items():
            if f"'{setting}'" in words:
                assert family == own, words


def test_the_client_is_told_about_what_the_client_did() -> None:
    """697 resets that clients had sent were met with advice to the server."""
    for situation in EVERY:
        if situation.side is Side.CLIENT:
            parties = {advice.party for advice in remedy_of(situation).advice}
            assert Party.SERVER not in parties


@pytest.mark.parametrize("cause", [Cause.DATA_AFTER_CLOSE, Cause.UNREAD_AFTER_FIN])
def test_a_lost_request_is_not_called_harmless(cause: Cause) -> None:
    lost = Situation(cause, Side.SERVER, Provoked.DATA, after_idle=True, protocol="http1")
    words = told(lost)
    assert "No reader" not in words
    assert "502" in words
    assert "below the server's" in words
    alert = Situation(cause, Side.SERVER, Provoked.CLOSE_NOTIFY, after_idle=True)
    assert "502" not in told(alert)
    assert remedy_of(alert).hurts.startswith("No reader")


def test_what_a_proxy_answers_is_told_of_http_alone() -> None:
    lost = Situation(Cause.DATA_AFTER_CLOSE, Side.SERVER, Provoked.DATA, protocol="postgres")
    assert "502" not in told(lost)


@pytest.mark.parametrize("provoked", [Provoked.CLOSE_NOTIFY, Provoked.DATA])
def test_lingering_is_not_advised_where_it_does_not_help(provoked: Provoked) -> None:
    """nginx's lingering_close does nothing for connections that idled out: see results."""
    cause = Cause.DATA_AFTER_CLOSE
    asked = Situation(cause, Side.SERVER, provoked, after_idle=False, family=NGINX)
    idle = Situation(cause, Side.SERVER, provoked, after_idle=True, family=NGINX)
    assert "lingering_close always" in told(asked)
    assert "lingering_close" not in told(idle)


@pytest.mark.parametrize("cause", [Cause.DATA_AFTER_CLOSE, Cause.UNREAD_AT_CLOSE])
def test_nobody_misses_what_came_behind_its_senders_own_end(cause: Cause) -> None:
    behind = Situation(cause, Side.SERVER, Provoked.BEHIND_END, protocol="http1")
    assert "502" not in told(behind)
    assert "nothing after its own close_notify" in told(behind)


def test_the_late_alert_of_a_server_hurts_nobody() -> None:
    late = Situation(Cause.DATA_AFTER_CLOSE, Side.CLIENT, Provoked.CLOSE_NOTIFY)
    assert remedy_of(late).hurts.startswith("Nobody: the server's close_notify")
    cut = Situation(Cause.DATA_AFTER_CLOSE, Side.CLIENT, Provoked.DATA)
    assert "lost" in remedy_of(cut).hurts


def test_a_connection_that_never_was_is_lost_by_nobody() -> None:
    scan = Situation(Cause.NO_STATE, Side.CLIENT, Provoked.SYN)
    assert remedy_of(scan).hurts.startswith("Nobody")


def test_an_alert_that_a_reset_may_erase() -> None:
    refused = Situation(Cause.UNREAD_AT_CLOSE, Side.SERVER, Provoked.HANDSHAKE)
    assert "alert" in remedy_of(refused).hurts


@pytest.mark.parametrize(
    ("says", "name"),
    [
        ("nginx/1.22.1", "nginx"),
        ("openresty", "nginx"),
        ("APISIX/3.16.0", "nginx"),
        ("Apache/2.4.71 (Debian) OpenSSL/3.0.19", "Apache"),
        ("Apache", "Apache"),
        ("envoy", "Envoy"),
        ("istio-envoy", "Envoy"),
        ("Caddy", "Caddy"),
        ("Apache-Coyote/1.1", None),
        ("ATS/9.2.0", None),
        ("220 mail.example ESMTP Postfix", None),
        ("", None),
    ],
)
def test_a_server_is_what_it_says(says: str, name: str | None) -> None:
    family = family_of(says)
    assert (family.name if family else None) == name


def test_a_reset_on_a_connection_that_is_passed_on_is_for_the_forwarder_to_mend() -> None:
    for family in (None, NGINX):
        reset = Situation(Cause.UNREAD_AT_CLOSE, Side.SERVER, Provoked.DATA, family=family)
        assert Party.SERVER in {one.party for one in remedy_of(reset).advice}
    passed_on = family_of("nginx/1.22.1", passed_on=True)
    for provoked in (None, *Provoked):
        for cause in Cause:
            said = remedy_of(Situation(cause, Side.SERVER, provoked, family=passed_on))
            assert Party.SERVER not in {one.party for one in said.advice}
            assert said.advice
