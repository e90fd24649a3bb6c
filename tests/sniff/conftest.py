"""What the tests of the wire share: that nothing is left over."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest


def children() -> set[str]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {child for task in tasks for child in task.read_text().split()}


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """The test must end with the descriptors and child processes that it began with."""
    descriptors, processes = set(os.listdir("/proc/self/fd")), children()  # noqa: PTH208
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208
    assert children() <= processes
