"""The pytest plugin: probe a server inside a test, and fail with the packets.

Loaded by pytest by itself (entry point ``tlsprobe``). It imports the rest of tlsprobe when a
fixture is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

import tlsprobe

if TYPE_CHECKING:
    from tlsprobe.model.run import Run


class ProbeFixture(Protocol):
    """What ``tlsprobe_run`` is: `tlsprobe.probe_sync`, that keeps its results beside the test's."""

    def __call__(self, target: str, **options: Any) -> Run:
        """Probe a server; the arguments are those of `tlsprobe.probe`."""


class CleanFixture(Protocol):
    """What ``tlsprobe_expect_clean`` is."""

    def __call__(self, target: str | Run, *, fail_on: str = "warn", **options: Any) -> Run:
        """Probe a server, or take a run, and fail if there is a finding that counts."""


@pytest.fixture
def tlsprobe_run(tmp_path_factory: pytest.TempPathFactory) -> ProbeFixture:
    """A function that probes a server and gives the run: `tlsprobe.probe_sync`.

    The results folder is kept as long as pytest keeps the temporary folders of its tests.
    """

    def run(target: str, **options: Any) -> Run:
        options.setdefault("folder", tmp_path_factory.mktemp("tlsprobe") / "run")
        return tlsprobe.probe_sync(target, **options)

    return run


@pytest.fixture
def tlsprobe_expect_clean(tlsprobe_run: ProbeFixture, pytestconfig: pytest.Config) -> CleanFixture:
    """A function that fails the test where a server does what counts as a finding.

    The message shows each behaviour with its ladder. What ``tlsprobe.toml`` in pytest's root folder
    waives does not count.
    """
    config = Path(pytestconfig.rootpath, "tlsprobe.toml")

    def expect_clean(target: str | Run, *, fail_on: str = "warn", **options: Any) -> Run:
        __tracebackhide__ = True
        run = tlsprobe_run(target, **options) if isinstance(target, str) else target
        if config.exists():
            run = tlsprobe.with_waivers(run, config)
        if said := tlsprobe.complaint(run, fail_on):
            pytest.fail(said, pytrace=False)
        return run

    return expect_clean
