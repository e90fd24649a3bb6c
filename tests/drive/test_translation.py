"""What the kernel's NAT makes of a connection, read from its own messages."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tlsprobe.drive import translation as module
from tlsprobe.drive.translation import Translated, question, read_answer, translation

CLIENT, SERVER, REAL = ("127.0.0.1", 50_000), ("127.0.0.1", 7443), ("10.0.0.2", 8443)


def turned_into_an_answer(asked: bytes) -> bytes:
    """The kernel's answer for a connection whose packets have the ends of the question."""
    original = asked[20:]
    reply = struct.pack("=HH", len(original), 2 | 0x8000) + original[4:]
    body = asked[16:20] + original + reply
    return struct.pack("=IHHII", 16 + len(body), 1 << 8, 0, 1, 0) + body


def test_the_ends_that_the_servers_packets_have_are_read() -> None:
    # The reply's sender is the server as it is, and its receiver our end as the server sees it.
    answer = turned_into_an_answer(question(REAL, ("10.0.0.1", 50_000)))
    assert read_answer(answer) == Translated(client=("10.0.0.1", 50_000), server=REAL)


def test_addresses_of_ipv6_are_read() -> None:
    answer = turned_into_an_answer(question(("fd00::2", 8443), ("::1", 50_000)))
    assert read_answer(answer) == Translated(client=("::1", 50_000), server=("fd00::2", 8443))


def test_an_error_and_an_answer_that_lacks_something_tell_nothing() -> None:
    refused = struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -1)
    empty = struct.pack("=IHHIII", 20, 1 << 8, 0, 1, 0, 0)
    assert read_answer(refused) is read_answer(empty) is None


def test_nobody_is_asked_where_the_kernel_tracks_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for text in ("0\n", None):
        count = tmp_path / f"count {text}"
        if text is not None:
            count.write_text(text)
        monkeypatch.setattr(module, "_TRACKED", count)
        monkeypatch.setattr(module, "question", None)
        assert translation(CLIENT, SERVER) is None
