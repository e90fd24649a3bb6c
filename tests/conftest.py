"""What all tests share: real servers, started when first wanted, what they need, and skips."""

from __future__ import annotations

import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from math import ceil
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests import servers
from tests.servers import Nginx, Pki, Postgres
from tlsprobe.campaign.garbage import COLLECT_EVERY
from tlsprobe.lab import kernel_reasons

NginxFactory = Callable[..., Nginx]
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


# As the program itself does it. Thousands of collected tests are looked through again and again
# otherwise: that was a third of the time that collecting took.
gc.set_threshold(COLLECT_EVERY)


# Time is never what a property is about, and a busy machine is slow to think of examples. The
# same examples each time: a change is not refused for what another one, long landed, did wrong;
# and so no more of them than it takes to notice a mistake: new ones are what finds the rare kind.
settings.register_profile(
    "tlsprobe",
    deadline=None,
    derandomize=True,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tlsprobe")

# For `make explore`: new examples, and many, to find what the same ones cannot.
settings.register_profile(
    "explore", settings.get_profile("tlsprobe"), derandomize=False, max_examples=2000
)

# For `make check`: a third of the examples, so that the daily loop takes less than a minute.
settings.register_profile("quick", settings.get_profile("tlsprobe"), max_examples=12)


# Inside GitHub Actions tlsprobe annotates by itself; tests say when they want that.
for variable in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
    os.environ.pop(variable, None)


# A shell that starts us in the background has us ignore Ctrl-C, and so would every process that a
# test interrupts: it would never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# --- Many processes -------------------------------------------------------------------------------

HERE = Path(__file__).parent
LONGEST = ("e2e/test_fuzz.py", "e2e/test_fuzz_campaign.py")
WAITING = tuple(HERE / name for name in (*LONGEST, "e2e", "campaign", "docs"))
"""Where tests are that wait more than they work, and take longest; the longest first."""

WORKING_BESIDE = 3
"""So many files of the others come after each of those: there is work while they wait."""

CPU_QUOTAS = (Path("/sys/fs/cgroup/cpu.max"), Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"))
"""Where a container reads how much of its processors it may use: cgroup v2, and v1."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that wait early, with others between them, which work."""
    files = list(dict.fromkeys(item.path for item in items))
    found = (file for place in WAITING for file in files if file.is_relative_to(place))
    waiting = list(dict.fromkeys(found))
    others = [file for file in files if file not in set(waiting)]
    turns = {file: turn * (1 + WORKING_BESIDE) for turn, file in enumerate(waiting)}
    turns |= {file: turn + turn // WORKING_BESIDE + 1 for turn, file in enumerate(others)}
    items.sort(key=lambda item: turns[item.path])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Three processes for each processor that we may use, since many tests only wait; else one.

    A container may see sixty-four and be stopped for most of the time when it uses them.
    """
    each = 1 if config.option.numprocesses == "logical" else 3
    return each * min(len(os.sched_getaffinity(0)), *map(allowed, CPU_QUOTAS))


def allowed(quota: Path) -> int:
    """How many processors a quota amounts to; more than there are where it sets no limit."""
    try:
        microseconds, *period = quota.read_text().split()
        period = period or [quota.with_name("cpu.cfs_period_us").read_text()]
        share = int(microseconds) / int(period[0])
    except (OSError, ValueError):
        return sys.maxsize
    return ceil(share) if share > 0 else sys.maxsize


# --- What a test needs ----------------------------------------------------------------------------

NEEDS = {
    "root": servers.need_root,
    "packet_socket": servers.need_packet_socket,
    "kernel_truth": servers.need_kernel_truth,
}
"""By marker, what skips a test that this machine cannot run."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Keeps tests away that this machine cannot run; ``server`` names the binaries it needs."""
    for name, need in NEEDS.items():
        if item.get_closest_marker(name):
            need()
    for marker in item.iter_markers("server"):
        for name in marker.args:
            servers.need_server(name)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes name a test only if they can be read: what is compressed may hold the time of day.

    All processes that share the tests must call them the same.
    """
    is_garbage = isinstance(val, bytes) and not val.decode("latin-1").isprintable()
    return argname if is_garbage else None


# --- Continuous integration -----------------------------------------------------------------------

CI_CANNOT_HAVE = (kernel_reasons.TOO_OLD,)
"""Reasons to skip that nobody can mend by installing something or by being root."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything should be there, a test that stays away would look like one that passed."""
    return _failed_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same of whole modules."""
    return _failed_if_skipped((yield))


def _failed_if_skipped(report: Report) -> Report:
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return report
    assert isinstance(report.longrepr, tuple)
    reason = report.longrepr[2].removeprefix("Skipped: ")
    if reason not in CI_CANNOT_HAVE:
        report.outcome = "failed"
        report.longrepr = f"in CI, as root and after `make test-deps`, nothing is skipped: {reason}"
    return report


# --- Servers --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Certificates of this test session."""
    return servers.make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def postgres(pki: Pki) -> Iterator[Postgres]:
    """A PostgreSQL that asks for client certificates."""
    with servers.running_postgres(pki) as server:
        yield server


@pytest.fixture(scope="session")
def nginx_factory(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxFactory]:
    """Starts nginx with directives of one's own: ``nginx_factory(keepalive_timeout="60s")``.

    Asked twice for the same directives it gives the same server.
    """
    started: dict[tuple[tuple[str, str], ...], Nginx] = {}
    with ExitStack() as until_the_end:

        def start(**directives: str) -> Nginx:
            wanted = tuple(sorted(directives.items()))
            if wanted not in started:
                folder = tmp_path_factory.mktemp("nginx")
                server = servers.running_nginx(folder, pki, directives)
                started[wanted] = until_the_end.enter_context(server)
            return started[wanted]

        yield start


@pytest.fixture(scope="session")
def nginx(nginx_factory: NginxFactory) -> Nginx:
    """An nginx that ends idle connections after a second."""
    return nginx_factory()


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
