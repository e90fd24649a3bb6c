"""What an input is recognised as, and what is said of one that cannot be read."""

from __future__ import annotations

import gzip
import io
import os
import struct
import threading
from pathlib import Path

import pytest

from tests.captures.files import (
    CLOSED,
    EXPECTED,
    brief,
    pcap,
    pcapng,
    read,
)
from tlsprobe.captures import reader as captures
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.captures.reading import CaptureUnreadable
from tlsprobe.errors import UsageError

GZIPPED_RUBBISH = gzip.compress(bytes(5000), mtime=0)


def test_a_pipe_is_spooled(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writing = threading.Thread(target=fifo.write_bytes, args=(pcapng(*CLOSED),))
    writing.start()
    with open_capture_file(fifo) as reading:
        assert len(reading.summary().halves) == 2
        assert brief(list(reading.packets())) == EXPECTED
    writing.join()


def test_a_stream_without_end_is_read_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pcap(CLOSED)
    monkeypatch.setattr(captures, "SPOOL_LIMIT", len(data) - 10)
    ends = os.pipe()
    with os.fdopen(ends[0], "rb") as end, os.fdopen(ends[1], "wb") as other:
        other.write(data)
        other.flush()
        with open_capture_file(end) as reading:
            assert brief(list(reading.packets())) == EXPECTED[:4]
            assert reading.truncated is not None


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = os.pipe()
    with os.fdopen(ends[0], "rb") as end, os.fdopen(ends[1], "wb") as other:
        other.write(pcap(CLOSED))
        other.close()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(end))
        with open_capture_file("-") as reading:
            assert reading.name == "standard input"
            assert brief(list(reading.packets())) == EXPECTED


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "it is empty"),
        (gzip.compress(b"", mtime=0), "it is empty"),
        (GZIPPED_RUBBISH, "neither pcap, pcapng nor text"),
        (b"\x1f\x8b\x08\x00rubbish", "gzip data"),
        (bytes(100), "neither pcap, pcapng nor text"),
        (b"\xfd7zXZ\0rest", "xz data"),
        (b"BZh9rest", "bzip2 data"),
        (b"\x28\xb5\x2f\xfdrest", "zstd data"),
        (pcap([])[:20], "ends in the middle"),
        (pcap([]) + struct.pack("<IIII", 0, 0, 1 << 31, 0), "a packet of 2147483648 bytes"),
        (pcapng()[:4] + bytes(50), "without a byte order"),
        (pcap([bytes(60)], link=127), r"link type 127 \(802.11 with radiotap\)"),
        (pcap([bytes(60)], link=9999), "link type 9999, which"),
        (b"snoop\0\0\0" + bytes(40), "neither"),
    ],
)
def test_what_cannot_be_read_at_all(data: bytes, what: str) -> None:
    with pytest.raises(CaptureUnreadable, match=what) as caught:
        read(data)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize("path", ["/nonexistent/file.pcap", "/", "\0"])
def test_a_path_that_is_no_file(path: str) -> None:
    with pytest.raises(CaptureUnreadable):
        open_capture_file(path)


def test_of_a_folder_a_capture_in_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").touch()
    with pytest.raises(CaptureUnreadable) as nothing:
        open_capture_file(tmp_path)
    assert nothing.value.hint == "name a file"
    (tmp_path / "capture.pcapng").touch()
    with pytest.raises(CaptureUnreadable) as caught:
        open_capture_file(tmp_path)
    assert caught.value.hint == f"name a capture in it: {tmp_path / 'capture.pcapng'}"
