"""Spreads the tests over processes that are forked once all tests are collected.

A plugin for pytest, ``-p tests.forks --forks 5``. pytest-xdist has each of its processes import and
collect everything, some seven seconds of processor time each; here a process more costs nothing, so
there can be more of them than processors, as many tests mostly wait. Whoever is free takes the next
file: what the tests of a file share is made once.
"""

from __future__ import annotations

import gc
import io
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from math import ceil
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

import pytest
from _pytest.capture import CaptureManager
from _pytest.runner import CallInfo
from _pytest.terminal import TerminalReporter

NUMBER = 4
"""Bytes of the number of a file, in the pipe that all take their next one from."""

MOST = 8

CPU_QUOTAS = (Path("/sys/fs/cgroup/cpu.max"), Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"))
"""Where a container reads how much of its processors it may use: cgroup v2, and v1."""


def processors() -> int:
    """How many we may use: a container may see sixty-four, and be stopped if it uses them."""
    return min(len(os.sched_getaffinity(0)), *map(allowed, CPU_QUOTAS))


def allowed(quota: Path) -> int:
    """How many processors a quota amounts to; more than there are where it sets no limit."""
    try:
        microseconds, *period = quota.read_text().split()
        period = period or [quota.with_name("cpu.cfs_period_us").read_text()]
        share = int(microseconds) / int(period[0])
    except (OSError, ValueError):
        return sys.maxsize
    return ceil(share) if share > 0 else sys.maxsize


def wanted(words: str) -> int:
    """How many processes: a number, or two for each processor, since many tests only wait."""
    return min(2 * processors(), MOST) if words == "auto" else int(words)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--forks``."""
    parser.addoption("--forks", type=wanted, default=0, help="how many processes, or auto")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run all tests in forks, unless there is nothing to run or nobody asked for forks."""
    option = session.config.option
    if option.forks < 1 or option.collectonly or session.testsfailed:
        return None
    _spread(session, option.forks)
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)
    return True


def _spread(session: pytest.Session, count: int) -> None:
    """Fork, hear of all tests, and wait until every fork has ended, whatever happens."""
    files = [list(items) for _, items in groupby(session.items, key=lambda item: item.path)]
    orders, giving = os.pipe()
    os.write(giving, b"".join(n.to_bytes(NUMBER, "big") for n in range(len(files))))
    os.close(giving)
    session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    gc.freeze()  # or each process would look through all tests again and again
    forks: list[_Fork] = []
    while len(forks) < min(count, len(files)):
        forks.append(_Fork(session, files, orders, forks))
    _reporter(session.config).showfspath = False  # they would be mixed
    heard = {fork.told: fork for fork in forks}
    try:
        while heard:
            for told in wait(heard):
                assert isinstance(told, Connection)
                if not heard[told].hear(session):
                    del heard[told]
            if session.shouldfail or session.shouldstop:
                _drain(orders)
    finally:
        _drain(orders)
        for fork in forks:
            fork.told.close()
            os.waitpid(fork.pid, 0)
        os.close(orders)


def _drain(orders: int) -> None:
    """Nobody gets another file."""
    while os.read(orders, 1 << 16):
        pass


def _reporter(config: pytest.Config) -> TerminalReporter:
    found: TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
    assert found is not None
    return found


class _Fork:
    """A process that runs tests, as its parent sees it."""

    def __init__(
        self,
        session: pytest.Session,
        files: list[list[pytest.Item]],
        orders: int,
        before: list[_Fork],
    ) -> None:
        self.told, telling = Pipe(duplex=False)
        self.pid = os.fork()
        if self.pid == 0:
            for fork in (self, *before):  # or none would notice that the parent has ended
                fork.told.close()
            _live(session, files, orders, telling, len(before))
        telling.close()
        self.current = "before its first test"

    def hear(self, session: pytest.Session) -> bool:
        """Take in the next thing that it tells; False when it will not tell more."""
        hook, config = session.config.hook, session.config
        try:
            told = self.told.recv()
        except EOFError:
            told = _Died("its process died")
        match told:
            case str():
                self.current = told
            case dict():
                report = hook.pytest_report_from_serializable(config=config, data=told)
                hook.pytest_runtest_logreport(report=report)
            case _Died():
                hook.pytest_runtest_logreport(report=_lost(self.current, told.why))
        return not (told is None or isinstance(told, _Died))


class _Died:
    """A fork ended, and not because there was no test left."""

    def __init__(self, why: str) -> None:
        self.why = why


def _lost(nodeid: str, why: str) -> pytest.TestReport:
    words = f"{why}: what follows in this file was not run"
    where = (nodeid.partition("::")[0], None, nodeid)
    return pytest.TestReport(nodeid, where, {}, "failed", words, "call")


# --- In the fork ----------------------------------------------------------------------------------


class _Relay:
    """Tells the parent what pytest reports."""

    def __init__(self, config: pytest.Config, telling: Connection) -> None:
        self._config = config
        self._telling = telling

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._telling.send(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        hook = self._config.hook
        self._telling.send(hook.pytest_report_to_serializable(config=self._config, report=report))


def _live(
    session: pytest.Session,
    files: list[list[pytest.Item]],
    orders: int,
    telling: Connection,
    number: int,
) -> None:
    """Run files until none is left; does not return."""
    ran: list[pytest.Item] = []
    try:
        _settle(session.config, number)
        session.config.pluginmanager.register(_Relay(session.config, telling))
        try:
            _run(session, (files[n] for n in _numbers(orders)), ran)
        finally:
            _end(session, ran)
        telling.send(None)
    except KeyboardInterrupt:
        pass
    except BaseException:
        with suppress(OSError):  # the parent has ended
            telling.send(_Died(traceback.format_exc()))
    finally:
        os._exit(0)


def _settle(config: pytest.Config, number: int) -> None:
    """What a process has for itself: its place for files, what it captures."""
    place: Any = config._tmp_path_factory  # type: ignore[attr-defined]
    place._basetemp = place.getbasetemp() / f"fork{number}"
    place._basetemp.mkdir(mode=0o700)
    capturing = config.pluginmanager.get_plugin("capturemanager")
    assert isinstance(capturing, CaptureManager)
    capturing.stop_global_capturing()
    capturing.start_global_capturing()
    capturing.suspend_global_capture()
    _reporter(config)._tw._file = io.StringIO()


def _numbers(orders: int) -> Iterator[int]:
    while number := os.read(orders, NUMBER):
        yield int.from_bytes(number, "big")


def _run(
    session: pytest.Session, files: Iterator[list[pytest.Item]], ran: list[pytest.Item]
) -> None:
    """Run files, and note each test. Behind each file all is torn down but the session."""
    between: Any = session
    for items in files:
        for item, following in zip(items, [*items[1:], between], strict=True):
            ran.append(item)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail or session.shouldstop:
                return


def _end(session: pytest.Session, ran: list[pytest.Item]) -> None:
    """Tear down what the session shares; what goes wrong there is an error of the last test."""
    call = CallInfo.from_call(lambda: session._setupstate.teardown_exact(None), "teardown")
    if call.excinfo is not None:
        report = ran[-1].ihook.pytest_runtest_makereport(item=ran[-1], call=call)
        ran[-1].ihook.pytest_runtest_logreport(report=report)
