"""What helps against a breach of a rule: the settings of the server at hand, and of no other."""

from __future__ import annotations

import pytest

from tlsprobe.judge.families import FAMILIES, Family, family_of
from tlsprobe.judge.rule_remedies import remedy_of_rule
from tlsprobe.judge.rules import RULES

NGINX = family_of("nginx/1.22.1")
SETTINGS = [
    setting
    for family in FAMILIES
    for setting in (family.idle, family.lingers, family.resets, family.heeds_abort)
    if setting
]


def advice_of(
    rule: str, family: Family | None, protocol: str = "http1", *, client_ended: bool = True
) -> str:
    remedy = remedy_of_rule(RULES[rule], protocol, family, client_ended=client_ended)
    assert remedy is not None
    return " ".join(remedy.sentences)


def test_what_delivers_behind_a_proxy_is_named_of_nginx_alone() -> None:
    for rule in ("INTEROP-DATA-LOST",):
        assert "proxy_ignore_client_abort on" in advice_of(rule, NGINX)
        for other in (None, family_of("envoy"), family_of("Apache/2.4")):
            assert "proxy_ignore" not in advice_of(rule, other)
        assert "proxy_ignore" not in advice_of(rule, NGINX, "smtp")


def test_what_delivers_to_a_client_that_has_ended_is_no_cure_where_none_had() -> None:
    assert "proxy_ignore" not in advice_of("INTEROP-DATA-LOST", NGINX, client_ended=False)


@pytest.mark.parametrize("rule", RULES)
def test_rules_name_no_setting_of_any_server(rule: str) -> None:
    remedy = RULES[rule].remedy
    words = " ".join(remedy.sentences) if remedy else ""
    assert not [setting for setting in SETTINGS if f"'{setting}'" in words]


@pytest.mark.parametrize("rule", ["INTEROP-DATA-LOST", "INTEROP-LEAK", "INTEROP-IDLE-RACE"])
def test_what_ends_of_tcp_ask_for_is_a_forwarders_where_one_has_the_connection(rule: str) -> None:
    passed_on = family_of("nginx/1.22.1", passed_on=True)
    said = advice_of(rule, passed_on)
    assert "Forwarder: " in said
    assert not any(word in said for word in ("Server: ", "nginx", *SETTINGS))


def test_what_is_said_inside_tls_stays_the_servers() -> None:
    assert advice_of("TLS13-NOTIFY", family_of("nginx", passed_on=True)).startswith("Server: ")


def test_who_passes_on_may_drop_the_alert_and_that_is_said() -> None:
    for rule in ("TLS12-NOTIFY", "TLS13-NOTIFY", "TLS12-ANSWER", "HTTP-TLS-ALERT"):
        assert "probed past this program" in advice_of(rule, family_of("", passed_on=True))
        assert "probed past this program" not in advice_of(rule, NGINX)
    assert "Forwarder" not in advice_of("HTTP-CLOSE", family_of("", passed_on=True))
