"""Facts files: whole after any cut, gone on with, and bounded whatever is in them.

ARCHITECTURE.md, "Facts, knowledge, judgement": a process that is killed loses the trial that it was
writing and nothing before it.
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.facts.strategies import FACTS, HEADER
from tests.judge.playbook import C, S, play
from tlsprobe.errors import UsageError
from tlsprobe.facts import file as facts_file
from tlsprobe.facts.codec import encode_fact, encode_header
from tlsprobe.facts.file import FACTS_FILE, FactsFile, FactsInMemory, RecordedFacts
from tlsprobe.model.facts import Fact, PathFact, TrialFact
from tlsprobe.model.load import Load
from tlsprobe.model.run import Trial

TRACE = play(C.goodbye(), C.notify(), S.notify(), S.rst(active=True))
TRIALS = tuple(TrialFact(Trial("terminate", "1.3", n), TRACE, Load(1, 1)) for n in range(6))
SHORT = tuple(PathFact("terminate", "1.3", alive=bool(n % 2)) for n in range(3))


def write(path: Path, facts: Iterable[Fact], close: bool = True) -> FactsFile:
    file = FactsFile.create(path, HEADER)
    for fact in facts:
        file.append(fact)
    if close:
        file.close()
    return file


def read(path: Path) -> list[Fact]:
    return list(RecordedFacts(path).read())


def is_prefix(part: list[Fact], whole: Iterable[Fact]) -> bool:
    return part == list(whole)[: len(part)]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / FACTS_FILE
    write(path, (*TRIALS, *SHORT))
    assert RecordedFacts(path).header == HEADER
    assert read(path) == [*TRIALS, *SHORT]


def test_zcat_and_jq_read_it(tmp_path: Path) -> None:
    path = tmp_path / FACTS_FILE
    write(path, SHORT)
    header, *lines = gzip.decompress(path.read_bytes()).splitlines()
    assert json.loads(header)["schema"] == "tlsprobe.facts/1"
    assert [json.loads(line)["path"]["alive"] for line in lines] == [False, True, False]


def test_every_fact_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    path = tmp_path / FACTS_FILE
    file = write(path, (), close=False)
    for count, fact in enumerate(TRIALS, 1):
        file.append(fact)
        assert read(path) == list(TRIALS[:count])
    file.close()


@given(st.lists(FACTS, max_size=4), st.data())
def test_a_cut_anywhere_costs_the_unfinished_line_alone(
    tmp_path_factory: pytest.TempPathFactory, facts: list[Fact], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / FACTS_FILE
    file = write(path, (), close=False)
    ends = [path.stat().st_size]
    for fact in facts:
        file.append(fact)
        ends.append(path.stat().st_size)
    file.close()
    whole = path.read_bytes()
    cut = data.draw(st.integers(ends[0], len(whole)))
    path.write_bytes(whole[:cut])
    found = read(path)
    assert is_prefix(found, facts)
    assert len(found) >= sum(end <= cut for end in ends) - 1


@pytest.mark.slow
def test_a_cut_at_every_byte_yields_a_prefix(tmp_path: Path) -> None:
    path = tmp_path / FACTS_FILE
    write(path, TRIALS[:2])
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        try:
            assert is_prefix(read(path), TRIALS)
        except UsageError as error:
            assert "holds no facts" in error.message  # cut inside the header


def test_going_on_keeps_the_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / FACTS_FILE
    write(path, TRIALS[:3])
    path.write_bytes(path.read_bytes()[:-20])
    file = FactsFile.resume(path)
    kept = read(path)
    assert kept == list(TRIALS[:2])
    for fact in TRIALS[2:]:
        file.append(fact)
    file.close()
    assert read(path) == list(TRIALS)
    assert len(gzip.decompress(path.read_bytes()).splitlines()) == 1 + len(TRIALS)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_whole_facts(tmp_path: Path) -> None:
    path = tmp_path / FACTS_FILE
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.facts.test_file import TRIALS, write\n"
        f"file = write(Path({str(path)!r}), (), close=False)\n"
        "while True:\n"
        "    for fact in TRIALS:\n"
        "        file.append(fact)\n"
        "    print(flush=True)\n"
    )
    for rounds in range(1, 6):
        writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        for _ in range(rounds):
            writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        found = read(path)
        assert len(found) >= rounds * len(TRIALS)
        assert all(fact == TRIALS[place % len(TRIALS)] for place, fact in enumerate(found))


# --- what is not as it should be -----------------------------------------------------------------


def test_a_folder_measured_before_facts_were_kept_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file") as caught:
        RecordedFacts(tmp_path / FACTS_FILE)
    assert "before facts were kept" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "holds no facts"),
        (b"plain text, whatever it says", "no gzip file"),
        (gzip.compress(b""), "holds no facts"),
        (gzip.compress(b"{}\n"), "no facts file"),
        (gzip.compress(b'{"half": '), "holds no facts"),
        (gzip.compress(encode_header(HEADER).replace(b"facts/1", b"facts/9")), "facts/9"),
    ],
)
def test_what_is_no_facts_file_is_refused(tmp_path: Path, data: bytes, complaint: str) -> None:
    path = tmp_path / FACTS_FILE
    path.write_bytes(data)
    with pytest.raises(UsageError, match=complaint) as caught:
        RecordedFacts(path)
    assert str(path) in caught.value.message


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / FACTS_FILE
    lines = encode_header(HEADER), encode_fact(SHORT[0]), b"{}\n", encode_fact(SHORT[1])
    path.write_bytes(gzip.compress(b"".join(lines)))
    with pytest.raises(UsageError, match="line 3"):
        read(path)


def test_a_damaged_stream_is_refused(tmp_path: Path) -> None:
    path = tmp_path / FACTS_FILE
    write(path, SHORT)
    data = bytearray(path.read_bytes())
    data[-6] ^= 0xFF  # in the checksum
    path.write_bytes(bytes(data))
    with pytest.raises(UsageError, match="damaged"):
        read(path)


@pytest.mark.parametrize("newline", [b"", b"\n"])
def test_a_bomb_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, newline: bytes
) -> None:
    monkeypatch.setattr(facts_file, "MOST_LINE", 2**20)
    monkeypatch.setattr(facts_file, "MOST_FACTS", 1000)
    path = tmp_path / FACTS_FILE
    stream = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = stream.compress(encode_header(HEADER))
    line = encode_fact(SHORT[0]) if newline else b" " * 1000
    for _ in range(4000):
        bomb += stream.compress(line)
    path.write_bytes(bomb + stream.flush())
    with pytest.raises(UsageError, match="more than"):
        read(path)


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        FactsFile.create(tmp_path / "missing" / FACTS_FILE, HEADER)


def test_memory_keeps_facts_too() -> None:
    store = FactsInMemory(SHORT[:1])
    store.append(SHORT[1])
    assert list(store.read()) == list(store.read()) == list(SHORT[:2])
