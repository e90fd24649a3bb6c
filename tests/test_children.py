from __future__ import annotations

import os
import signal

import pytest

from tests.children import child


def test_a_block_that_fails_leaves_no_process() -> None:
    with pytest.raises(ZeroDivisionError), child(["sleep", "1000"]) as process:
        _ = 1 // 0
    assert process.returncode == -signal.SIGKILL


def test_with_its_session_goes_whatever_it_has_started() -> None:
    """The pipe that they all hold comes to its end."""
    reads, writes = os.pipe()
    with (
        pytest.raises(ZeroDivisionError),
        child(["sh", "-c", "sleep 1000 & wait"], stdout=writes, start_new_session=True),
    ):
        os.close(writes)
        _ = 1 // 0
    assert os.read(reads, 1) == b""
    os.close(reads)
