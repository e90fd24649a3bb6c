"""What is asked of a fleet: which addresses it may touch."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsprobe.campaign.settings import Settings
from tlsprobe.fleet.asked import FleetSettings, addresses_of, networks, target_settings, why_not
from tlsprobe.model.fleet import FleetTarget


def asked(allow: tuple[str, ...] = (), deny: tuple[str, ...] = ()) -> FleetSettings:
    nets = (networks("--allow", allow), networks("--deny", deny))
    return FleetSettings(Path(), Settings(), {}, 1, 9, allow=nets[0], deny=nets[1])


def refusal(address: str, settings: FleetSettings) -> str:
    return why_not(addresses_of(target_settings(FleetTarget(address), settings)), settings)


@pytest.mark.parametrize("denied", ["127.0.0.0/8", "::ffff:127.0.0.0/104"])
@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "127.1:1", "[::ffff:127.0.0.1]:1", "0.0.0.0:1", "[::ffff:0:0]:1"]
)
def test_a_denied_address_is_refused_however_it_is_spelled(address: str, denied: str) -> None:
    assert (
        refusal(address, asked(deny=(denied,))) == "127.0.0.1 is in 127.0.0.0/8, which --deny names"
    )
    assert refusal(address, asked(allow=(denied,))) == ""


def test_the_unspecified_address_is_the_loopback() -> None:
    assert "--deny" in refusal("[::]:1", asked(deny=("::1/128",)))


def test_an_address_of_ipv4_is_in_no_network_of_ipv6() -> None:
    assert "--allow" in refusal("[::ffff:127.0.0.1]:1", asked(allow=("::/0",)))
    assert refusal("[::1]:1", asked(allow=("::/0",))) == ""
