"""What a command imports before it does its work. How long that takes, `tests/bench` measures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.bench_start import SYN
from tests.bench.fuzz_readers import pcap
from tlsprobe.cli.verbs import VERBS, load
from tlsprobe.packets import frames

HEAVY = frozenset({"trio", "OpenSSL", "hypothesis", "scapy", "cryptography", "pydantic"})

RESET = """\
12:00:00.000001 IP 10.0.0.1.40000 > 10.0.0.2.443: Flags [S], seq 100, win 64240, length 0
12:00:00.000101 IP 10.0.0.2.443 > 10.0.0.1.40000: Flags [R.], seq 0, ack 101, win 0, length 0
"""


def imported(*arguments: str, status: int = 0) -> set[str]:
    """The libraries that a command line imports, by the names of their packages."""
    command = [sys.executable, "-X", "importtime", "-m", "tlsprobe", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == status, ran.stderr
    lines = [line for line in ran.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.slow
def test_the_list_of_verbs_imports_none_of_what_they_need() -> None:
    assert not imported("--help") & (HEAVY | {"msgspec", "h2"})


@pytest.mark.slow
def test_explaining_a_capture_starts_neither_an_event_loop_nor_tls(tmp_path: Path) -> None:
    pasted = tmp_path / "pasted.txt"
    pasted.write_text(RESET)
    assert not imported("explain", str(pasted), status=1) & HEAVY


@pytest.mark.slow
@pytest.mark.parametrize("words", [["rules"], ["sequences"]])
def test_looking_something_up_starts_neither_an_event_loop_nor_tls(words: list[str]) -> None:
    assert not imported(*words) & HEAVY


@pytest.mark.parametrize("name", VERBS)
def test_the_list_says_of_a_verb_what_its_own_help_begins_with(name: str) -> None:
    first = load(name).help.partition("\n\n")[0]
    assert " ".join(first.split()) == VERBS[name].help


@pytest.mark.slow
def test_a_capture_file_is_explained_without_what_reads_text_or_judges_runs(tmp_path: Path) -> None:
    captured = tmp_path / "one.pcap"
    captured.write_bytes(pcap("<", frames.RAW, SYN))
    asked = "import sys; from tlsprobe.cli import main; sys.argv = ['tlsprobe', 'explain', %r]\n"
    rest = "try: main()\nexcept SystemExit: print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", asked % str(captured) + rest]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    brought = set(ran.stderr.split())
    assert "tlsprobe.explain.explainer" in brought
    rooms = {
        "model.run",
        "model.facts",
        "judge.rules",
        "captures.text_lines",
        "captures.pasted_text",
    }
    assert not brought & {f"tlsprobe.{room}" for room in rooms}
