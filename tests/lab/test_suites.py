"""Packages of another suite, from an archive that the test makes, unpacked and run."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path

import pytest
import trio

from tests.lab.mirror import BASE, OPENSSL, Package, archive
from tests.lab.vendors import vendor
from tests.servers import GENEROUS_S
from tlsprobe.errors import CannotMeasure
from tlsprobe.lab.availability import Presence, availability
from tlsprobe.lab.choice import listed
from tlsprobe.lab.install import install
from tlsprobe.lab.suites import SUITES, Suite, codename_of, lines_for, sources_of
from tlsprobe.lab.vendor import running
from tlsprobe.lab.versions import folder_size, remove, versions_of
from tlsprobe.lab.workspace import new_workspace
from tlsprobe.model.profile import Profile

LAB = """
program = ["openssl"]
packages = ["test-server"]
start = ["@program@", "s_server", "-rev", "-quiet", "-accept", "@host@:@port@",
         "-cert", "@cert@", "-key", "@key@"]
as_user = true
version = ["@program@", "version"]
tls_version = ["@program@", "version"]
tls_pattern = '(OpenSSL \\S+)'
[lab.versions]
"old" = { debian = "old" }
"9.9" = { debian = "old" }
"none" = { debian = "none" }
"lacking" = { debian = "lacking" }
"""
SERVER = Package("test-server", "2:4.5~rc1-6", more="Depends: openssl (>= 1:3.9)\n")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Profile]:
    """The versions of a vendor, by their names, with an archive that has them."""
    config = archive(
        tmp_path / "archive", {"old": [BASE, OPENSSL, SERVER], "lacking": [BASE, OPENSSL]}
    )
    monkeypatch.setenv("APT_CONFIG", str(config))
    return {one.name.partition("@")[2]: one for one in versions_of(vendor(tmp_path, LAB))}


def test_other_suites_come_from_the_mirror_of_the_machine() -> None:
    told = (
        "mirror/debian/\tbookworm\tmain\nmirror/debian/\tbookworm\tmain\n"
        "mirror/security/\tbookworm-security\tmain\nelsewhere/\tcloud\tmain\nnot a row\n"
    )
    lines = lines_for("trixie", sources_of(told), "bookworm")
    assert [line.partition("mirror/")[2] for line in lines] == [
        "debian/ trixie main",
        "security/ trixie-security main",
    ]
    assert codename_of('ID=debian\nVERSION_CODENAME="bookworm"\n') == "bookworm"
    with pytest.raises(CannotMeasure, match="not configured for an archive of sid"):
        lines_for("trixie", sources_of(told), "sid")


@pytest.mark.slow
def test_a_version_is_unpacked_with_what_it_depends_on_and_nothing_is_run(
    mine: dict[str, Profile], tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    old = mine["old"]
    assert availability(old, tools).words == "unpack test-server of Debian old"
    assert trio.run(install, [old], tools, lambda _: None) == {}
    root = tools / old.name / "root"
    assert availability(old, tools).presence is Presence.HERE
    status = (root / "var/lib/dpkg/status").read_text(encoding="utf-8")
    assert "Package: test-server\nStatus: install ok installed\nVersion: 2:4.5~rc1-6" in status
    assert (root / "usr/bin/openssl").exists()
    assert folder_size(tools / old.name) > 1000
    assert (tools / SUITES / "old").is_dir()


@pytest.mark.slow
def test_why_a_version_cannot_be_had(mine: dict[str, Profile], tmp_path: Path) -> None:
    wanted = [mine["none"], mine["lacking"]]
    failures = trio.run(install, wanted, tmp_path / "tools", lambda _: None)
    assert "mirror gives no Debian 'none'" in failures["mine@none"]
    assert "Unable to locate package test-server" in failures["mine@lacking"]


@pytest.mark.skipif(os.geteuid() != 0, reason="a root of its own needs root")
@pytest.mark.slow
def test_a_server_runs_in_its_root_and_keeps_its_number(
    mine: dict[str, Profile], tmp_path: Path
) -> None:
    old = mine["old"]

    async def start() -> None:
        with new_workspace(tmp_path / "tools") as here:
            assert await install([old], here.tools, lambda _: None) == {}
            async with running(old, here) as found:
                root = here.tools / old.name / "root"
                assert Path(f"/proc/{found.pid}/root").readlink() == root
                assert Path(f"/proc/{found.pid}/comm").read_text(encoding="ascii") == "openssl\n"
                assert found.tls_library is not None
                context = ssl.create_default_context(cafile=here.pki / "ca.crt")
                address = (found.host, found.port)
                with (
                    socket.create_connection(address, timeout=GENEROUS_S) as plain,
                    context.wrap_socket(plain, server_hostname="tlsprobe.test") as secured,
                ):
                    secured.sendall(b"ping\n")
                    assert secured.recv(100) == b"gnip\n"

    trio.run(start)


@pytest.mark.skipif(os.geteuid() != 0, reason="a root of its own needs root")
@pytest.mark.slow
def test_a_suite_that_has_moved_on_is_not_taken_for_the_named_version(
    mine: dict[str, Profile], tmp_path: Path
) -> None:
    failures = trio.run(install, [mine["9.9"]], tmp_path / "tools", lambda _: None)
    assert "Debian old has version" in failures["mine@9.9"]
    assert not (tmp_path / "tools" / "mine@9.9").exists()


@pytest.mark.slow
def test_what_is_removed_gives_its_space_back(
    mine: dict[str, Profile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tools = tmp_path / "tlsprobe" / "lab"
    trio.run(Suite("old", tools).unpack, ["test-server"], tools / "mine@old" / "root")
    (found,) = trio.run(listed, [mine["old"]])
    assert found.size == folder_size(tools / "mine@old") > 0
    assert remove([mine["old"]], tools) > found.size
    assert folder_size(tools) == 0
