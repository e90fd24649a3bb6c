"""What is shown while a long capture is read."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.captures.files import CLOSED, pcap
from tlsprobe.captures import frame_reading
from tlsprobe.captures.reader import Captures
from tlsprobe.cli import reading_view
from tlsprobe.cli.reading_view import ReadingView


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(reading_view, "LONG", 100)
    monkeypatch.setattr(frame_reading, "LARGE_CHUNK", 1 << 20)
    file = tmp_path / "long.pcap"
    file.write_bytes(pcap(CLOSED * 8_000))
    assert file.stat().st_size > 2 << 20
    return str(file)


def shown(file: str, stream: io.StringIO) -> str:
    view = ReadingView(file, stream)
    for reading in Captures(file, view.watch):
        with reading:
            reading.summary()
            for _ in reading.packets():
                pass
        view.clear()
    return stream.getvalue()


@pytest.mark.slow
def test_both_passes_of_a_long_file_are_shown_and_taken_away(capture: str) -> None:
    text = shown(capture, Terminal())
    assert "pass 1 of 2: 100 %" in text
    assert "pass 2 of 2: 100 %" in text
    assert text.endswith("\r\x1b[K")


@pytest.mark.slow
def test_nothing_is_shown_elsewhere(capture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not shown(capture, io.StringIO())
    monkeypatch.setattr(reading_view, "LONG", 1 << 40)
    assert not shown(capture, Terminal())
    assert not ReadingView("-", Terminal())._is_seen
