"""The packet library: only what a socket takes of it, and all of it where that does not do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from tests.servers import GENEROUS_S

pytestmark = pytest.mark.packet_socket

OPENED = """
    import json, sys
    from tlsprobe.sniff import packet_socket

    BEFORE

    with packet_socket.open_packet_socket("lo") as listening:
        family = listening.ins.family.name
    scapy = sorted(name for name in sys.modules if name.startswith("scapy"))
    print(json.dumps([family, "cryptography" in sys.modules, scapy]))
"""


def opened(before: str = "") -> tuple[str, bool, set[str]]:
    """The socket's family, whether cryptography was imported, and what of the library."""
    code = textwrap.dedent(OPENED).replace("BEFORE", before)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-P", "-c", code],
        env={**os.environ, "XDG_CACHE_HOME": os.devnull, "XDG_CONFIG_HOME": os.devnull},
        capture_output=True,
        text=True,
        timeout=GENEROUS_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    family, cryptography, modules = json.loads(ran.stdout)
    return family, cryptography, set(modules)


def test_a_socket_takes_little_of_the_library() -> None:
    family, cryptography, modules = opened()
    assert (family, cryptography) == ("AF_PACKET", False)
    assert not {"scapy.libs.manuf", "scapy.libs.extcap", "scapy.layers"} & modules


def test_what_does_not_go_in_pieces_is_imported_whole() -> None:
    broken = "packet_socket._unexecuted = lambda name, **given: 1 / 0"
    family, cryptography, modules = opened(broken)
    assert (family, cryptography) == ("AF_PACKET", True)
    assert "scapy.libs.extcap" in modules


def test_an_interface_that_is_not_there_is_an_error_of_the_system() -> None:
    code = "from tlsprobe.sniff.packet_socket import open_packet_socket as o; o('no-such-0')"
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
    )
    assert "OSError: [Errno 19] No such device" in ran.stderr
