"""The servers beside those of the demo, each there to break a rule, seen by a plain client."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from tests.patient_servers import patient_servers
from tests.reference.test_behaviours import PONG, connected
from tests.servers import GENEROUS_S
from tlsprobe.reference.behaviours import BEHAVIOURS, DEMO

OTHERS = tuple(name for name in BEHAVIOURS if name not in DEMO)
LISTENING = tuple(name for name in OTHERS if BEHAVIOURS[name].manner.listens)
NOTIFIES = {
    *("grave", "canceling", "answering", "terse", "growing", "erring", "indiscreet"),
    *("replying", "repeating", "insisting", "stiff", "remembering"),
}
FAILS = {"failing", "failing-open"}


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    with patient_servers(*OTHERS) as found:
        yield found


def test_the_demo_keeps_its_nine() -> None:
    assert (
        *("polite", "silent", "hasty", "rude", "aborting"),
        *("lingering", "mute", "truncating", "half-closing"),
    ) == DEMO


@pytest.mark.slow
@pytest.mark.parametrize("name", LISTENING)
def test_every_server_answers_and_ends(name: str, ports: dict[str, int]) -> None:
    """In TLS 1.3: a forged record is decrypted by OpenSSL like its own, and read the same way."""
    with connected(ports[name]) as client:
        client.say(b"ping\n")
        assert client.exactly(len(PONG)) == PONG
        client.say(b"bye\n")
        if name in FAILS:
            with pytest.raises(ssl.SSLError, match="ALERT"):
                client.read()
        elif name in NOTIFIES:
            assert client.read() == b""
        elif name == "canceling-only":
            with pytest.raises(EOFError):
                client.read()
        else:
            assert name == "erring-open"
            client.sock.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.read()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_fatal_alert_and_no_end(version: str, ports: dict[str, int]) -> None:
    with connected(ports["failing-open"], version) as client:
        client.say(b"bye\n")
        with pytest.raises(ssl.SSLError, match="ALERT"):
            client.read()
        client.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.pull()


def test_answering_answers_behind_the_alert(ports: dict[str, int]) -> None:
    with connected(ports["answering"]) as client:
        client.say(b"", notify=True)
        client.push()
        client.sock.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))  # whatever it is
        assert client.exactly(len(PONG)) == PONG


def test_replying_answers_the_alert_itself(ports: dict[str, int]) -> None:
    with connected(ports["replying"]) as client:
        client.say(b"", notify=True)
        client.push()
        assert client.exactly(15) == b"what was that?\n"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_repeating_sends_two_alerts(version: str, ports: dict[str, int]) -> None:
    with connected(ports["repeating"], version) as client:
        client.say(b"bye\n")
        assert client.read() == b""
        client.sock.settimeout(GENEROUS_S)
        left = client.incoming.read()
        while chunk := client.sock.recv(4096):
            left += chunk
        assert left[0] in {21, 23}, "one more record behind the first alert"


def test_an_alert_is_made_by_hand_in_tls_1_2_too(ports: dict[str, int]) -> None:
    with connected(ports["canceling"], "1.2") as client:
        client.say(b"bye\n")
        assert client.read() == b""


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_premature_ends_behind_the_handshake(version: str, ports: dict[str, int]) -> None:
    with connected(ports["premature"], version) as client:
        assert client.read() == b""
        while client.pull():
            pass


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_premature_reset_resets_behind_the_handshake(version: str, ports: dict[str, int]) -> None:
    """The handshake may be whole by then or not."""
    with pytest.raises(ConnectionResetError), connected(ports["premature-reset"], version) as one:
        while one.pull():
            pass
