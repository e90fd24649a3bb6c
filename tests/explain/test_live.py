"""The live explainer over recorded frames: what it says is what `explain` says of a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.data.make_troubles import TROUBLES
from tlsprobe.captures.pcap import Reader
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.explain import explain
from tlsprobe.explain import explainer as explainer_module
from tlsprobe.explain.live import LINGER_NS, PATIENCE_NS, SETTLED_NS, LiveExplainer
from tlsprobe.explain.wanted import Filter
from tlsprobe.model.explanation import ExplainedFlow, Explanation
from tlsprobe.model.kernel import KernelReset
from tlsprobe.report.explain import Row, overview_of
from tlsprobe.sniff.protocol import Arrival

CORPUS = Path(__file__).parents[1] / "data/corpus"
RESET = CORPUS / "postgres-terminate-close-notify-4.pcapng"
CAPTURES = sorted([*CORPUS.glob("*.pcapng"), *TROUBLES.glob("*.pcapng")])
S = 10**9
RST = 4


def arrivals_of(path: Path) -> tuple[int, list[Arrival]]:
    reader = Reader(path.name)
    frames = reader.feed(path.read_bytes())
    return reader.interfaces[0].link, [(f.time_ns, f.length, f.data) for f in frames]


def reset_alone() -> tuple[int, list[Arrival]]:
    """The frames of the one connection that was reset."""
    link, arrivals = arrivals_of(RESET)
    (port,) = {data[36:38] for _, _, data in arrivals if data[47] & RST}
    return link, [one for one in arrivals if port in {one[2][34:36], one[2][36:38]}]


def explainer_for(link: int, wanted: Filter | None = None, held: int = 100_000) -> LiveExplainer:
    explainer = LiveExplainer(wanted or Filter(), {}, held=held)
    explainer.link = link
    return explainer


def watched(path: Path, step: int = 7) -> tuple[list[ExplainedFlow], Explanation]:
    """What is said while the frames come, a few at a time, and in the end."""
    link, arrivals = arrivals_of(path)
    explainer = explainer_for(link)
    told: list[ExplainedFlow] = []
    for at in range(0, len(arrivals), step):
        explainer.file(arrivals[at : at + step])
        told += explainer.sweep(arrivals[min(at + step, len(arrivals)) - 1][0])
    told += explainer.finish(arrivals[-1][0])
    return told, explainer.explanation("lo", (), None)


def in_words(flows: Iterable[ExplainedFlow]) -> list[tuple[object, ...]]:
    return sorted(
        (
            *(flow.client, flow.server, flow.signature, flow.tls or ""),
            tuple((r.reset.packet, r.reset.cause, r.reset.confidence) for r in flow.resets),
            tuple((t.kind, t.side, t.packets) for t in flow.troubles),
        )
        for flow in flows
    )


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_it_says_what_is_said_of_the_file(path: Path) -> None:
    told, found = watched(path)
    with open_capture_file(path) as reading:
        expected = explain(reading)
    assert in_words(found.flows) == in_words(expected.flows)
    assert in_words(tuple(told)) == in_words(tuple(f for f in expected.flows if f.resets))
    assert (found.quiet, found.unlooked) == (expected.quiet, expected.unlooked)
    assert (found.source.packets, found.found) == (expected.source.packets, expected.found)


# --- when ---------------------------------------------------------------------------------------


def test_a_reset_is_told_once_and_when_it_is_quiet() -> None:
    link, arrivals = reset_alone()
    explainer = explainer_for(link)
    explainer.file(arrivals)
    last = arrivals[-1][0]
    assert not list(explainer.sweep(last + SETTLED_NS - 1))
    assert len(list(explainer.sweep(last + SETTLED_NS))) == 1
    assert not list(explainer.sweep(last + LINGER_NS))
    assert not list(explainer.finish(last + LINGER_NS))


def test_a_connection_that_never_becomes_quiet_is_told_all_the_same() -> None:
    link, arrivals = reset_alone()
    explainer = explainer_for(link)
    (time_ns, length, rst) = arrivals[-1]
    explainer.file(arrivals)
    told, now = 0, time_ns
    while now <= time_ns + PATIENCE_NS + SETTLED_NS:
        now += SETTLED_NS // 2
        explainer.file([(now, length, rst)])
        told += len(list(explainer.sweep(now)))
    assert told == 1
    list(explainer.finish(now))
    assert "more RSTs came on connections whose resets had been shown" in str(
        explainer.explanation("lo", (), None).source.notes
    )


def test_what_is_not_asked_for_is_not_told() -> None:
    link, arrivals = reset_alone()
    explainer = explainer_for(link, Filter(port=1))
    explainer.file(arrivals)
    assert not list(explainer.finish(arrivals[-1][0]))
    assert not explainer.explanation("lo", (), None).found


# --- what else is known -------------------------------------------------------------------------


def test_after_a_loss_nothing_is_sure() -> None:
    link, arrivals = reset_alone()
    explainer = explainer_for(link)
    explainer.file(arrivals)
    explainer.lost()
    (flow,) = explainer.finish(arrivals[-1][0])
    assert not flow.complete
    assert all(told.reset.confidence != "high" for told in flow.resets)


@pytest.mark.parametrize(
    ("reason", "cause", "confidence"),
    [
        ("TCP_ABORT_ON_CLOSE", "unread-data-at-close", "high"),
        ("TCP_STATE", "deliberate-abort", "high"),
        ("TCP_KEEPALIVE_TIMEOUT", "keepalive-timeout", "medium"),
    ],
)
def test_the_kernel_has_the_say(reason: str, cause: str, confidence: str) -> None:
    link, arrivals = reset_alone()
    explainer = explainer_for(link)
    (before,) = told_by(explainer_for(link), arrivals)
    explainer.hear([word_about(before, reason)])
    (flow,) = told_by(explainer, arrivals)
    (told,) = flow.resets
    assert (told.reset.cause, told.reset.confidence) == (cause, confidence)
    assert told.kernel is not None
    assert reason in told.reset.evidence[0]


def test_the_kernel_speaks_of_other_connections_too() -> None:
    link, arrivals = reset_alone()
    (before,) = told_by(explainer_for(link), arrivals)
    word = word_about(before, "TCP_STATE")
    explainer = explainer_for(link)
    late = word.time_ns + S
    explainer.hear([KernelReset(late, word.src, word.dst, word.state, word.reason)])
    (flow,) = told_by(explainer, arrivals)
    assert flow.resets[0].kernel is None


def told_by(explainer: LiveExplainer, arrivals: list[Arrival]) -> list[ExplainedFlow]:
    explainer.file(arrivals)
    return list(explainer.finish(arrivals[-1][0]))


def word_about(flow: ExplainedFlow, reason: str) -> KernelReset:
    ends = [end.rpartition(":") for end in (flow.server, flow.client)]
    (server, client) = ((host, int(port)) for host, _, port in ends)
    time_ns = flow.resets[0].reset.time_ns + 20_000
    return KernelReset(time_ns, server, client, "TCP_CLOSE", reason)


# --- memory -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_flood_is_bounded_and_what_is_forgotten_is_counted() -> None:
    """Connections that only begin: the quietest are let go, and said to be."""
    link, arrivals = reset_alone()
    syn = arrivals[0][2]
    explainer = explainer_for(link, held=500)
    for number in range(2000):
        frame = syn[:34] + number.to_bytes(2, "big") + syn[36:]
        explainer.file([(arrivals[0][0] + number, len(frame), frame)])
        list(explainer.sweep(arrivals[0][0] + number))
        assert explainer.open <= 500
    list(explainer.finish(arrivals[0][0] + S))
    found = explainer.explanation("lo", (), None)
    assert found.quiet == 2000
    assert any("open connections were forgotten" in note for note in found.source.notes)


def test_beyond_the_room_for_resets_they_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The overview is true of more connections than are kept."""
    link, arrivals = reset_alone()
    client = next(data[34:36] for _, _, data in arrivals if data[47] & 2)
    monkeypatch.setattr(explainer_module, "MOST_FLOWS", 2)
    explainer = explainer_for(link)
    for port in range(50_000, 50_005):
        new = port.to_bytes(2, "big")
        for time_ns, length, data in arrivals:
            at = 34 if data[34:36] == client else 36
            frame = data[:at] + new + data[at + 2 :]
            explainer.file([(time_ns, length, frame)])
    assert len(list(explainer.finish(arrivals[-1][0] + S))) == 5
    found = explainer.explanation("lo", (), None)
    assert (len([flow for flow in found.flows if flow.resets]), found.not_shown) == (2, 3)
    rows = overview_of(found.flows, found.tallies)
    alone = watched_alone(link, arrivals)
    assert [(row.cause, row.side, row.connections) for row in rows] == [
        (row.cause, row.side, 5) for row in alone
    ]


def watched_alone(link: int, arrivals: list[Arrival]) -> list[Row]:
    explainer = explainer_for(link)
    explainer.file(arrivals)
    list(explainer.finish(arrivals[-1][0] + S))
    return overview_of(explainer.explanation("lo", (), None).flows)
