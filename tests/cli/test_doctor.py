"""The doctor's word is kept: what it says can capture does capture."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import servers
from tests.cli.in_process import tlsprobe
from tests.servers import GENEROUS_S
from tlsprobe.cli.doctor import capture_tool

TOOLS = ("dumpcap", "tcpdump")


def consulted(*before: str, code: int = 0) -> str:
    """What ``tlsprobe doctor`` says, started behind these words, and exits with this code."""
    ran = subprocess.run(
        [*before, sys.executable, "-W", "error", "-m", "tlsprobe", "doctor"],
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=GENEROUS_S,
        check=False,
    )
    assert (ran.stderr, ran.returncode) == ("", code)
    return ran.stdout


def line_about(name: str, text: str) -> str:
    (line,) = (line for line in text.splitlines() if f"  {name}: " in line)
    return line.strip()


def fake_tool(folder: Path, script: str, mode: int = 0o755) -> None:
    tool = folder / "faketool"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(mode)


@pytest.mark.root
@pytest.mark.parametrize("name", TOOLS)
def test_a_program_that_may_capture_is_a_yes(name: str) -> None:
    servers.need_server(name)
    assert line_about(name, consulted()).startswith("yes")


@pytest.mark.root
@pytest.mark.parametrize("name", TOOLS)
def test_a_program_that_may_not_capture_is_a_no(name: str) -> None:
    """Run by root without a capability: the file may be run, the interface not be opened."""
    path = servers.need_server(name)
    text = consulted("setpriv", "--inh-caps=-all", "--bounding-set=-all", "--", code=1)
    line = line_about(name, text)
    assert line.startswith("no")
    assert f"{path} is installed but cannot capture: " in line
    assert "cap_set_proc" not in line
    assert line_about("packet socket", text).startswith("no")
    assert "Without a capture, 'run' still tells" in text


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'faketool: no, not you' >&2; echo advice >&2; exit 1", "capture: no, not you"),
        ("exit 7", "capture: exit code 7"),
        ("printf 'a\\033b\\n' >&2; exit 1", r"capture: a\x1bb"),
    ],
)
def test_a_refusal_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    fake_tool(tmp_path, script)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    check = capture_tool("faketool", "fake-package", "the mend")
    assert (check.there, check.hint) == (False, "the mend")
    assert check.said.endswith(said)


def test_a_program_that_may_not_be_started_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tool(tmp_path, "exit 0", mode=0o644)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    check = capture_tool("faketool", "fake-package", "the mend")
    assert (check.there, check.hint) == (False, "the mend")
    assert "cannot be started (Permission denied)" in check.said


def test_a_program_that_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tool(tmp_path, "exec sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("tlsprobe.cli.doctor._TRIAL_S", 0.2)
    check = capture_tool("faketool", "fake-package", "the mend")
    assert not check.there
    assert "no answer within 0.2 s" in check.said


def test_a_program_that_is_missing_names_its_package() -> None:
    check = capture_tool("no-such-tool", "its-package", "the mend")
    assert (check.there, check.hint) == (False, "apt-get install its-package")


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["doctor", "rules", "sequences", "profiles"])
def test_no_line_ends_in_blanks(verb: str, tmp_path: Path) -> None:
    ran = tlsprobe(verb, cwd=tmp_path)
    assert ran.out
    assert [line for line in ran.out.splitlines() if line != line.rstrip()] == []
