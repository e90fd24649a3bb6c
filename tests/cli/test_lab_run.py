"""What the lab asks of a vendor: which columns, which sequences, how long it waits."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from tests.lab.vendors import vendor
from tlsprobe.cli.lab_run import Lab, Options, _columns, _left, _sequences
from tlsprobe.cli.progress import ProgressView
from tlsprobe.lab.workspace import Workspace
from tlsprobe.model.profile import Profile
from tlsprobe.model.target import TlsVersion
from tlsprobe.profiles import load_profile
from tlsprobe.protocols.http2 import Http2Settings

START = 'start = ["server"]\n'


def options(tmp_path: Path, patience: float | None = None) -> Options:
    both = (TlsVersion.TLS12, TlsVersion.TLS13)
    return Options(tmp_path, 2, both, (), 1, patience, None, summary_only=False, expect=None)


def names(profile: Profile, asked: tuple[str, ...] = (), *, has_idle: bool = True) -> list[str]:
    column = next(iter(_columns(profile)))
    return [sequence.name for sequence in _sequences(column, asked, has_idle)]


def test_a_vendor_may_be_probed_in_several_protocols() -> None:
    own, other = _columns(load_profile("nginx"))
    assert (own.name, own.title, own.profile.protocol) == ("nginx", "nginx", "http1")
    assert (other.name, other.title, other.profile.protocol) == (
        *("nginx-http2", "nginx (HTTP/2)", "http2"),
    )
    assert isinstance(other.profile.settings, Http2Settings)
    assert other.profile.settings.large == "/large"


def test_the_lab_s_own_words_go_before_the_profile_s(tmp_path: Path) -> None:
    lab = 'title = "Mine, in the lab"\nalpn = ["x"]\nprotocol = { request = "hello" }\n'
    (column,) = _columns(vendor(tmp_path, START + lab))
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
    here = Workspace(tmp_path, tmp_path, tmp_path)
    desk = ProgressView(Console(), quiet=True)
    patience = Lab(options(tmp_path), here, desk, None)._patience(idle, None)
    assert (patience.server, patience.idle) == (server, limit)
    assert Lab(options(tmp_path), here, desk, None)._patience(idle, 0.5).server == 0.5
    asked = Lab(options(tmp_path, patience=9.0), here, desk, None)
    assert asked._patience(idle, 0.5).server == 9.0


def test_the_time_left_is_told_once_something_was_done() -> None:
    assert _left(10, 0, 4) == ""
    assert _left(10, 1, 4) == ", about 30 s left"
    assert _left(60, 1, 4) == ", about 3 min left"
