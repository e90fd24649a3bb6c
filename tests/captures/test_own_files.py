"""Files of tlsprobe's own, given to `explain`, are called what they are."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

from tlsprobe.captures.reader import open_capture_file
from tlsprobe.captures.reading import CaptureUnreadable

HEADER = b'{"tool":{"name":"tlsprobe"},"target":{},"schema":"tlsprobe.facts/1"}\n{"kind":"trial"}\n'


def refusal(source: Path | io.BytesIO) -> CaptureUnreadable:
    with pytest.raises(CaptureUnreadable) as caught:
        open_capture_file(source)
    return caught.value


def test_facts_are_to_be_judged(tmp_path: Path) -> None:
    file = tmp_path / "facts.jsonl.gz"
    file.write_bytes(gzip.compress(HEADER))
    for source in (file, tmp_path):
        error = refusal(source)
        assert f"`tlsprobe judge {tmp_path}`" in str(error.hint)
        assert f"`tlsprobe matrix {tmp_path}`" in str(error.hint)
    assert "the facts of a run" in refusal(file).message


def test_facts_from_a_pipe_have_no_folder() -> None:
    assert "`tlsprobe judge DIR`" in str(refusal(io.BytesIO(HEADER)).hint)


def test_a_document_is_named() -> None:
    error = refusal(io.BytesIO(b'{\n  "schema": "tlsprobe.explain/1",\n  "resets": []\n}\n'))
    assert "a document of tlsprobe's (explain)" in error.message


def test_a_packet_that_speaks_of_a_schema_is_a_packet() -> None:
    line = "10:00:00.0 IP 192.0.2.1.1 > 192.0.2.2.2: Flags [R], seq 1, win 0, length 0"
    with open_capture_file(io.BytesIO(f'{line}\n"schema": "tlsprobe.facts/1"'.encode())) as reading:
        assert len(list(reading.packets())) == 1
    with pytest.raises(CaptureUnreadable, match="none of its 2 lines is a packet"):
        open_capture_file(io.BytesIO(b"nothing\nhere\n"))
    with pytest.raises(CaptureUnreadable, match="its one line is no packet"):
        open_capture_file(io.BytesIO(b"nothing\n"))
