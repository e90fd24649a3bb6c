"""What the tests of the wire share: who may open packet sockets, and that nothing is left over."""

import os
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest


def why_no_packet_socket() -> str | None:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()
    except OSError as error:
        return f"packet sockets are not permitted here: {error.strerror}"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    needing = [
        item for item in items if here in item.path.parents and item.get_closest_marker("root")
    ]
    if needing and (reason := why_no_packet_socket()):
        for item in needing:
            item.add_marker(pytest.mark.skip(reason=reason))


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
