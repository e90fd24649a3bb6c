"""A connection that goes on under another name."""

from __future__ import annotations

import pytest

from tlsprobe.judge.causes import wording
from tlsprobe.judge.rewritten import REACH, NatIndex, continued
from tlsprobe.model.knowledge import NatEntry

SERVER = "192.0.2.2:443"
KNOWN = NatEntry("192.0.2.1:40000", SERVER, 2_000_000, 7_000_000)
STRANGER = "192.0.2.1:61001"


@pytest.mark.parametrize(
    ("seq", "ack"),
    [
        pytest.param(2_000_000, 7_000_000, id="the next bytes"),
        pytest.param(1_999_999, 7_000_000, id="a keepalive probe"),
        pytest.param(2_000_000, 7_000_000 - 500, id="a late acknowledgement"),
        pytest.param(2_000_000 - 500, 7_000_000, id="a retransmission"),
    ],
)
def test_who_goes_on_with_both_numbers_is_the_same(seq: int, ack: int) -> None:
    found = continued(STRANGER, SERVER, seq, ack, [KNOWN])
    assert found is not None
    assert found.was == KNOWN
    sentence = wording.rewritten(found)
    assert STRANGER in sentence
    assert KNOWN.client in sentence


@pytest.mark.parametrize(
    ("client", "server", "seq", "ack"),
    [
        pytest.param(STRANGER, SERVER, 2_000_000, 9, id="one number"),
        pytest.param(STRANGER, SERVER, 1_990_000, 6_990_000, id="both only near"),
        pytest.param(STRANGER, SERVER, 2_000_000, 7_000_001 + REACH, id="too far"),
        pytest.param(STRANGER, "192.0.2.3:443", 2_000_000, 7_000_000, id="another server"),
        pytest.param(KNOWN.client, SERVER, 2_000_000, 7_000_000, id="itself"),
    ],
)
def test_others_are_strangers(client: str, server: str, seq: int, ack: int) -> None:
    assert continued(client, server, seq, ack, [KNOWN]) is None


def test_numbers_wrap() -> None:
    known = KNOWN._replace(client_next=2**32 - 1, server_next=2**32 + 5)
    assert continued(STRANGER, SERVER, 2**32 - 2, 5, [known]) is not None


def test_among_many_the_right_one_is_found() -> None:
    others = [NatEntry(f"192.0.2.1:{p}", SERVER, p * 99, p * 77) for p in range(1, 500)]
    found = NatIndex([*others, KNOWN]).continued_by(STRANGER, SERVER, 2_000_000, 7_000_000)
    assert found is not None
    assert found.was is KNOWN
