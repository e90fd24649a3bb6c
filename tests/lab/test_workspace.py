"""The lab's scratch folders: gone after it, and after one that was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import child
from tlsprobe.lab.workspace import new_workspace

WORKING = """
import time
from tlsprobe.lab.workspace import new_workspace
with new_workspace() as workspace:
    print(workspace.scratch, flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_killed_lab_s_folder_goes_with_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    elsewhere = tmp_path / "precious"
    elsewhere.mkdir()
    (tmp_path / "tlsprobe-lab-link").symlink_to(elsewhere)
    with child([sys.executable, "-c", WORKING], stdout=subprocess.PIPE) as lab:
        assert lab.stdout is not None
        scratch = Path(lab.stdout.readline().decode().strip())
        with new_workspace():
            assert scratch.exists(), "a lab that lives keeps its own"
        lab.send_signal(signal.SIGKILL)
    with new_workspace() as workspace:
        assert workspace.scratch.exists()
        assert not scratch.exists()
    assert {entry.name for entry in tmp_path.iterdir()} == {"precious", "tlsprobe-lab-link"}
