"""What an unknown server speaks, seen by asking it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from tlsprobe.campaign.guess_protocol import guess, recognised
from tlsprobe.campaign.settings import RunSettings, Settings, TargetSettings
from tlsprobe.drive.script import Patience
from tlsprobe.model.target import Target, TlsVersion
from tlsprobe.profiles import load_profile
from tlsprobe.reference.server import running

SETTINGS = Settings(tls=tuple(TlsVersion), patience=Patience(server=30.0))


def unknown(port: int) -> Target:
    return Target(f"127.0.0.1:{port}", "127.0.0.1", port, "raw", "raw")


def asked(port: int, profile: str = "raw") -> RunSettings:
    named = profile != "raw"
    one = TargetSettings(unknown(port), load_profile(profile), SETTINGS, is_guessed=not named)
    return RunSettings((one,), command=("--target", "x"))


@pytest.mark.slow
def test_a_server_that_answers_a_get_speaks_http() -> None:
    async def main() -> None:
        async with running(("polite",)) as ports:
            said: list[str] = []
            found = await recognised(asked(ports["polite"]), said.append)
        (one,) = found.targets
        target = one.target
        assert (one.profile.name, target.profile, target.protocol) == ("https", "https", "http1")
        assert found.command == ("--target", "x", "--profile", "https"), "resumed without a look"
        assert len(said) == 1
        assert one.how.spent == 2, "a connection in each TLS version"

    trio.run(main)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["premature", "premature-reset"])
def test_a_server_that_answers_none_is_probed_for_its_tls(name: str) -> None:
    async def main() -> None:
        async with running((name,)) as ports:
            found = await recognised(asked(ports[name]), lambda _: None)
        (before,), (after,) = asked(ports[name]).targets, found.targets
        assert after == replace(before, how=replace(SETTINGS, spent=2))

    trio.run(main)


def test_a_profile_that_was_given_is_not_doubted() -> None:
    given = asked(1, "redis")
    assert trio.run(recognised, given, lambda _: None) == given


def test_where_nothing_listens_nothing_speaks_http() -> None:
    assert not trio.run(guess, unknown(1), SETTINGS).speaks_http
