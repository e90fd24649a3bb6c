"""Whose settings a remedy may name: those of the server that closes, not of one behind it."""

from __future__ import annotations

import pytest

from tlsprobe.judge.families import family_of
from tlsprobe.profiles import list_profiles

PROXIES = {
    *("envoy-tcp", "haproxy", "haproxy-tcp", "hitch", "nghttpx", "pgbouncer", "socat", "squid"),
    *("stunnel", "traefik", "trafficserver"),
}


@pytest.mark.parametrize("says", ["nginx/1.26.3", "openresty", "APISIX/3.16.0"])
def test_a_server_is_of_the_family_that_it_names(says: str) -> None:
    found = family_of(says, "https")
    assert found is not None
    assert found.name == "nginx"


@pytest.mark.parametrize("says", ["", "something/1.0", "Python/3.11 aiohttp"])
def test_what_is_unknown_is_of_none(says: str) -> None:
    assert family_of(says) is None


def test_behind_a_proxy_another_server_names_itself() -> None:
    """A proxy that passes the ``Server`` header on is not given the settings of its backend."""
    passing_on = {name for name in list_profiles() if family_of("nginx/1.26.3", name) is None}
    assert passing_on == PROXIES


@pytest.mark.parametrize(
    ("ender", "name"), [("haproxy", None), ("stunnel4", None), ("caddy", "Caddy")]
)
def test_who_ends_the_connection_on_this_machine_has_its_own_settings(
    ender: str, name: str | None
) -> None:
    """HAProxy's resets were nginx's, to be mended with ``lingering_close``: it stood behind."""
    found = family_of("nginx/1.22.1", "https", ended_by=ender)
    assert (found.name if found else None) == name
