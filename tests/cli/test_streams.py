"""What is printed where a disk is full, a stream closed, or GitHub's runner obeys our lines."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.cli.streams import _Guarded, disarmed

COMMANDS = (
    "::error::x",
    "  ::add-mask::x",
    "a\n\t::stop-commands::x\nb",
    "so it says ##[add-mask]x",
    "\u2003::error::x",
    "\v::error::x",
)
"""What the runner takes for a command: a line that begins so behind blanks, or holds the older."""

HARMLESS = ("1::2", "[::1]:443", "a ::error::x", "# [x", "## heading", "##", "", "\n")


def obeyed(text: str) -> bool:
    """Whether the runner would find a command: it trims lines, and looks everywhere for ``##[``."""
    return any(line.strip().startswith("::") or "##[" in line for line in text.split("\n"))


def as_written(parts: list[str]) -> str:
    held = io.BytesIO()
    stream = _Guarded(held, encoding="utf-8", newline="\n")
    for part in parts:
        assert stream.write(part) == len(part)
    stream.flush()
    return held.getvalue().decode()


@pytest.mark.parametrize("text", COMMANDS)
def test_no_line_is_a_command(text: str) -> None:
    assert obeyed(text)
    assert not obeyed(disarmed(text))
    assert as_written([text]) == disarmed(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_command_stays_as_it_is(text: str) -> None:
    assert disarmed(text) == text == as_written([text])


@given(st.lists(st.text("a: \n", min_size=1, max_size=5), max_size=8))
def test_a_line_that_is_written_in_parts_is_no_command_either(parts: list[str]) -> None:
    whole = as_written(parts)
    split = any(one.endswith(":") and two.startswith(":") for one, two in pairwise(parts))
    assert split or not obeyed(whole)
    assert whole.replace("\\x3a", ":") == "".join(parts)


def ran(command: str, *, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    line = command.replace("tlsprobe", f"{sys.executable} -m tlsprobe")
    return subprocess.run(
        ["bash", "-c", line],
        cwd=cwd,
        env=os.environ | more,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_full_disk_behind_standard_output_is_an_error_in_a_line(tmp_path: Path) -> None:
    done = ran("tlsprobe rules > /dev/full", cwd=tmp_path)
    said = "error: cannot write to standard output: No space left on device"
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, said)
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr


@pytest.mark.slow
def test_notes_that_nobody_can_take_are_lost_alone(tmp_path: Path) -> None:
    done = ran("tlsprobe explain nowhere.pcap 2> /dev/full", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_leads_nowhere(closed: str, tmp_path: Path) -> None:
    done = ran(f"tlsprobe rules {closed}", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_closed_stream_gives_its_number_to_no_file_of_ours(tmp_path: Path) -> None:
    held = Path(__file__).parents[1] / "data" / "judged" / "rude"
    done = ran(f"tlsprobe matrix --out m.txt {held} >&- 2>&-", cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "m.txt").read_text().startswith("How ")


@pytest.mark.slow
def test_in_github_actions_a_file_cannot_give_the_runner_commands(tmp_path: Path) -> None:
    name = "x\n::error::pwned"
    done = ran(f"tlsprobe explain '{name}'", cwd=tmp_path, GITHUB_ACTIONS="true")
    assert done.returncode == 2
    assert "pwned" in done.stderr
    assert not obeyed(done.stderr)
