"""What is quoted of a capture program that failed: the reason, whole words of it, and no advice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tlsprobe.sniff.backends import DumpcapBackend, Where, reason_of
from tlsprobe.sniff.route import Interface

DUMPCAP = """Capturing on 'Loopback: lo'
dumpcap: You do not have permission to capture on device "lo".
(socket: Operation not permitted)

Please check to make sure you have sufficient permissions.

On Debian and Debian derivatives such as Ubuntu
    sudo dpkg-reconfigure wireshark-common
"""
CRASH = """Traceback (most recent call last):
  File "/x/sniffer_process.py", line 3, in <module>
    import scapy
ModuleNotFoundError: No module named 'scapy'
"""


@contextmanager
def dumpcap_that_said(words: bytes) -> Iterator[DumpcapBackend]:
    backend = DumpcapBackend(Where(Interface("lo", loopback=True, link=1), "127.0.0.1", 9))
    try:
        os.write(backend._errors.fileno(), words)
        yield backend
    finally:
        backend._errors.close()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (DUMPCAP, 'dumpcap: You do not have permission to capture on device "lo".'),
        ("tcpdump: listening on lo, link-type X\ntcpdump: lo: gone\n", "tcpdump: lo: gone"),
        ("Capturing on 'lo'\nFile: -\nPackets captured: 3\n3 packets captured\n", ""),
        ("dumpcap: cap_set_proc() fail return: no\n\ndumpcap: no\n", "dumpcap: no"),
        (CRASH, "ModuleNotFoundError: No module named 'scapy'"),
        ("Traceback (most recent call last):\n  cut", "Traceback (most recent call last):"),
        ("", ""),
    ],
)
def test_the_reason_is_found(said: str, reason: str) -> None:
    assert reason_of(said.splitlines()) == reason


def test_a_long_reason_is_cut_between_words() -> None:
    words = [f"word{n}" for n in range(60)]
    reason = reason_of([" ".join(words)])
    assert 140 < len(reason) <= 160
    *kept, dots = reason.split()
    assert dots == "..."
    assert kept == words[: len(kept)]


def test_a_reason_without_blanks_is_cut_all_the_same() -> None:
    assert len(reason_of(["x" * 500])) == 160


def test_a_fallbacks_note_is_one_short_sentence() -> None:
    with dumpcap_that_said(DUMPCAP.encode()) as backend:
        assert backend._last_words("it ended at once") == (
            'it ended at once (dumpcap: You do not have permission to capture on device "lo".)'
        )


def test_what_it_wrote_is_made_harmless_and_only_the_end_is_read() -> None:
    with dumpcap_that_said(b"no\x1b[31m\xff\n") as backend:
        assert backend._error_text() == "no [31m\\xff"
    with dumpcap_that_said(b"early words\n" * 2000 + b"Capturing on 'lo'\n") as backend:
        assert backend._error_text() == "early words"


def test_the_drops_are_still_found_behind_other_words() -> None:
    said = b"Capturing on 'lo'\nPackets received/dropped on interface 'lo': 8/5 (pcap:5) (0%)\n"
    with dumpcap_that_said(said) as backend:
        found = backend._drops.search("\n".join(backend._error_lines()))
        assert found is not None
        assert found.group(1) == "5"
        assert backend._error_text() == ""
