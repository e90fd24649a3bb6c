"""Which vendors ``tlsprobe lab`` deals with."""

from __future__ import annotations

import pytest

from tlsprobe.errors import UsageError
from tlsprobe.lab import choice
from tlsprobe.lab.choice import chosen
from tlsprobe.model.profile import Profile
from tlsprobe.profiles import load_profile


def test_of_all_a_broken_profile_keeps_nobody_from_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(name: str) -> Profile:
        if name == "redis":
            raise UsageError("the profile has a mistake")
        return load_profile(name)

    monkeypatch.setattr(choice, "load_profile", load)
    found = chosen(None)
    names = {profile.name for profile in found.profiles}
    assert {"nginx", "port-forward-newest"} <= names
    assert not {"redis", "raw"} & names
    assert list(found.broken) == ["redis"]
    with pytest.raises(UsageError):
        chosen(["nginx", "redis"])


def test_tunnels_are_no_servers_to_run() -> None:
    names = {profile.name for profile in chosen(None, tunnels=False).profiles}
    assert "nginx" in names
    assert not any(name.startswith("port-forward") for name in names)
    assert [p.name for p in chosen(["redis", "nginx", "redis"]).profiles] == ["redis", "nginx"]


def test_what_is_no_vendor_is_said_to_be_none() -> None:
    with pytest.raises(UsageError, match="'raw' is no vendor"):
        chosen(["nginx", "raw"])
