"""CPU seconds of commands that have next to nothing to do: what starting costs.

``make bench`` prints it; nothing is asserted. `tests/cli/test_start.py` holds what is imported.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bench.fuzz_readers import pcap
from tests.bench.processor import cpu_of
from tlsprobe.packets import frames

ROUNDS = 7

PASTED = """\
12:00:00.000001 IP 10.0.0.1.40000 > 10.0.0.2.443: Flags [S], seq 100, win 64240, length 0
12:00:00.000101 IP 10.0.0.2.443 > 10.0.0.1.40000: Flags [R.], seq 0, ack 101, win 0, length 0
"""


SYN = bytes.fromhex(
    "45000028 00000000 40060000 0a000001 0a0000029c4001bb 00000064 00000000 5002faf0 00000000"
)
RST = bytes.fromhex(
    "45000028 00010000 40060000 0a000002 0a00000101bb9c40 00000000 00000065 5014faf0 00000000"
)
"""The same as raw IP packets."""


def test_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # installed, all is compiled
    pasted, captured = tmp_path / "pasted.txt", tmp_path / "two.pcap"
    pasted.write_text(PASTED)
    captured.write_bytes(pcap("<", frames.RAW, SYN, RST))
    tlsprobe = [sys.executable, "-m", "tlsprobe"]
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "tlsprobe --help": [*tlsprobe, "--help"],
        "tlsprobe run --help": [*tlsprobe, "run", "--help"],
        "tlsprobe explain, two lines pasted": [*tlsprobe, "explain", str(pasted)],
        "tlsprobe explain, two packets": [*tlsprobe, "explain", str(captured)],
    }
    lines = [f"{cpu_of(command, ROUNDS):.2f} s CPU  {name}" for name, command in commands.items()]
    with capsys.disabled():
        print("\n" + "\n".join(lines))
