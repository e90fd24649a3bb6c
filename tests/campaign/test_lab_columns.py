"""What the lab asks of a vendor: which columns, which sequences, how long it waits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.vendors import vendor
from tlsprobe.campaign.lab import _left
from tlsprobe.campaign.lab_columns import columns_of, patience_with, shipped_columns
from tlsprobe.model.profile import Profile
from tlsprobe.profiles import load_profile
from tlsprobe.protocols.http2 import Http2Settings

START = 'start = ["server"]\n'


def names(profile: Profile, asked: tuple[str, ...] = (), *, has_idle: bool = True) -> list[str]:
    column = replace(next(columns_of(profile)), has_idle=has_idle)
    return [sequence.name for sequence in column.steps(asked)]


def test_a_vendor_may_be_probed_in_several_protocols() -> None:
    own, other = columns_of(load_profile("nginx"))
    assert (own.name, own.title, own.profile.protocol) == ("nginx", "nginx", "http1")
    assert (other.name, other.title, other.profile.protocol) == (
        *("nginx-http2", "nginx (HTTP/2)", "http2"),
    )
    assert isinstance(other.profile.settings, Http2Settings)
    assert other.profile.settings.large == "/large"


def test_the_lab_s_own_words_go_before_the_profile_s(tmp_path: Path) -> None:
    lab = 'title = "Mine, in the lab"\nalpn = ["x"]\nprotocol = { request = "hello" }\n'
    (column,) = columns_of(vendor(tmp_path, START + lab))
    assert (column.name, column.title, column.profile.alpn) == ("mine", "Mine, in the lab", ("x",))
    assert getattr(column.profile.settings, "request", None) == b"hello"


def test_all_that_applies_is_run_unless_the_lab_says_otherwise(tmp_path: Path) -> None:
    everything = names(vendor(tmp_path, START))
    assert {"close-notify-fin", "idle-expiry", "fin-after-hello"} <= set(everything)
    assert not {"terminate", "half-close-large"} & set(everything)
    assert names(load_profile("postgres"), has_idle=True) != []
    assert names(vendor(tmp_path, START + 'sequences = ["fin-only"]\n')) == ["fin-only"]
    both = ("fin-only", "fin-only", "terminate")
    assert names(vendor(tmp_path, START), both) == ["fin-only"]


def test_who_names_no_signals_can_be_told_to_stop(tmp_path: Path) -> None:
    told = names(vendor(tmp_path, START), ("shutdown",))
    assert told
    assert all(name.startswith("stop-") for name in told)
    assert set(told) < set(names(load_profile("nginx"), ("shutdown",)))


def test_of_limits_those_are_asked_that_the_server_has_in_the_protocol(tmp_path: Path) -> None:
    everything = names(
        vendor(tmp_path, START + 'protocol = { large = "all of it" }\n'), ("limits",)
    )
    assert {"limit-requests", "limit-age", "limit-stall"} <= set(everything)
    own, other = columns_of(load_profile("apache"))
    asked = {
        name: [s.name for s in column.steps(["limits"])]
        for name, column in (("h1", own), ("h2", other))
    }
    assert asked["h2"] == ["limit-stall"]
    assert "limit-requests-send" in asked["h1"]
    assert "limit-age" not in asked["h1"]


@pytest.mark.slow
def test_the_limits_of_a_server_are_named_by_protocols_that_it_is_probed_in() -> None:
    for profile in shipped_columns().values():
        spoken = {column.profile.protocol for column in columns_of(profile)}
        assert profile.lab is not None
        assert set(profile.lab.limits or ()) <= spoken, profile.name


def test_who_never_ends_an_idle_connection_is_not_waited_for(tmp_path: Path) -> None:
    profile = vendor(tmp_path, START)
    without = names(profile, has_idle=False)
    assert without
    assert not any(name.startswith("idle") for name in without)
    assert names(profile, ("idle-expiry",), has_idle=False) == []


@pytest.mark.parametrize(
    ("idle", "server", "limit"), [(0, 2.0, 3.0), (1, 0.8, 4.5), (2, 1.6, 6.0), (30, 2.0, 48.0)]
)
def test_the_patience_ends_before_the_idle_timeout(
    tmp_path: Path, idle: int, server: float, limit: float
) -> None:
    profile = vendor(tmp_path, f"{START}idle = {idle}\n")
    patience = patience_with(profile)
    assert (patience.server, patience.idle) == (server, limit)
    assert patience_with(profile, asked=9.0).server == 9.0
    assert patience_with(profile, idle_limit=7.0).idle == 7.0
    known = vendor(tmp_path, f"{START}idle = {idle}\npatience = 0.5\n")
    assert patience_with(known).server == 0.5
    assert patience_with(known, asked=9.0).server == 9.0


def test_the_time_left_is_told_once_something_was_done() -> None:
    assert _left(10, 0, 4) == ""
    assert _left(10, 1, 4) == ", about 30 s left"
    assert _left(60, 1, 4) == ", about 3 min left"
