"""Counting how often the kernel agrees: each RST once, by side and by what was promised of it."""

from __future__ import annotations

from pathlib import Path

from tests.judge.playbook import C, S, play
from tests.report.kernel import agreement, kernel_page, lines, unprepared, write_page
from tests.report.kernel_counts import Counted, read_counts
from tlsprobe.model.facts import Fact, KernelFact, ReachedFact, TrialFact
from tlsprobe.model.kernel import KernelReset
from tlsprobe.model.load import Load
from tlsprobe.model.run import Trial
from tlsprobe.model.trace import Side, Trace
from tlsprobe.report.render_markdown import render_markdown

UNREAD = play(C.goodbye(), C.notify(), S.notify(), S.rst(active=True))
AFTER_FIN = play(S.notify() + S.fin(), C.notify(), S.rst())
OURS = play(C.abort())


def facts(trace: Trace, reason: str, state: str = "TCP_CLOSE") -> tuple[Fact, ...]:
    """A run of one trial, and the kernel's word about its RST."""
    (rst,) = (segment for segment in trace.segments if segment.rst)
    client, server = ("192.0.2.1", 40000), ("192.0.2.2", 443)
    src, dst = (server, client) if rst.side is Side.SERVER else (client, server)
    told = KernelFact((KernelReset(rst.time_ns, src, dst, state, reason),))
    reached = ReachedFact("192.0.2.2:443", {})
    return (reached, TrialFact(Trial("some-close", "1.3", 0), trace, Load(1, 1)), told)


def test_a_first_choice_that_the_kernel_confirms_is_right() -> None:
    found = agreement(lambda: facts(AFTER_FIN, "TCP_TIMEWAIT_SOCKET", "TCP_TIME_WAIT"))
    server = found[Side.SERVER]
    assert (server.resets, server.right, server.high, server.high_wrong) == (1, 1, 1, 0)
    assert list(lines("some", found)) == []


def test_an_alternative_is_counted_apart() -> None:
    server = agreement(lambda: facts(UNREAD, "TCP_STATE"))[Side.SERVER]
    assert (server.right, server.by_alternative, server.wrong, server.high) == (0, 1, 0, 0)


def test_what_was_promised_and_is_wrong_is_named() -> None:
    found = agreement(lambda: facts(AFTER_FIN, "TCP_KEEPALIVE_TIMEOUT"))
    server = found[Side.SERVER]
    assert (server.wrong, server.high_wrong) == (1, 1)
    (line,) = lines("some", found)
    assert "data-after-close high (-) kernel TCP_CLOSE TCP_KEEPALIVE_TIMEOUT" in line


def test_each_side_is_counted_for_itself() -> None:
    found = agreement(lambda: facts(OURS, "TCP_STATE"))
    assert (found[Side.CLIENT].right, found[Side.SERVER].resets) == (1, 0)
    page = render_markdown(kernel_page({"some": found}))
    assert "| some | 1 | 1 | 0 | 0 | 1 | 0 |" in page
    assert "None of which the kernel told the reason." in page


def test_what_the_wire_cannot_tell_is_said_in_words() -> None:
    """Unread data and linger 0 at once: the kernel names the first, whatever was meant."""
    fins = play(C.fin(), S.notify(), S.rst(active=True))
    meant = agreement(lambda: facts(fins, "TCP_STATE"))
    for _ in range(3):
        meant[Side.SERVER].add(agreement(lambda: facts(fins, "TCP_STATE"))[Side.SERVER])
    unread = agreement(lambda: facts(fins, "TCP_ABORT_ON_CLOSE"))
    alone = render_markdown(kernel_page({"some": unread}))
    assert "deliberate-abort against TCP_ABORT_ON_CLOSE 1 time" in alone
    assert "not on the wire" not in alone
    unread[Side.SERVER].add(meant[Side.SERVER])
    both = render_markdown(kernel_page({"some": unread}))
    assert "In 4 other connections the kernel confirms" in both
    assert "not on the wire" in both


def test_a_run_without_the_kernels_word_tells_nothing() -> None:
    silent = facts(UNREAD, "TCP_STATE")[:2]
    assert all(found.resets == 0 for found in agreement(lambda: silent).values())


def test_a_server_measured_later_joins_the_page_of_those_before(tmp_path: Path) -> None:
    page = tmp_path / "many.md"
    first = agreement(lambda: facts(UNREAD, "TCP_STATE"))
    write_page(page, {"nginx-http2": Counted("2026-01-01", first)})
    later = agreement(lambda: facts(AFTER_FIN, "TCP_TIMEWAIT_SOCKET", "TCP_TIME_WAIT"))
    write_page(page, {"some-stranger": Counted("2026-02-02", later)})
    written = page.read_text()
    assert "2 runs from 2026-01-01 to 2026-02-02" in written
    assert "| nginx-http2 | 1 | 0 | 1 | 0 | 0 | 0 |" in written
    assert "nginx-http2: unread-data-at-close against TCP_STATE 1 time." in written
    assert "| some-stranger | 1 | 1 | 0 | 0 | 1 | 0 |" in written
    assert "for 1 of these servers, which nobody had probed before: some-stranger." in written
    again = agreement(lambda: facts(UNREAD, "TCP_ABORT_ON_CLOSE"))
    write_page(page, {"nginx-http2": Counted("2026-03-03", again)})
    kept = read_counts(page.with_suffix(".json"))
    assert [kept[name].day for name in kept] == ["2026-03-03", "2026-02-02"]
    assert kept["nginx-http2"].sides[Side.SERVER].right == 1


def test_a_server_that_was_asked_in_several_ways_is_known() -> None:
    asked = ["vsftpd-ftps-upload", "nginx-http2", "envoy", "a-stranger"]
    assert unprepared(asked) == ["a-stranger"]
