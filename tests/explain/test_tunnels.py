"""The captures of the corpus in tunnels: the same diagnosis, and the tunnel's name."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from tests.explain.test_corpus import CAPTURES, explained
from tests.packets import wrapping
from tests.packets.wrapping import FRAMES, NAMES, takes, tunnel_of
from tlsprobe.captures.pcap import CapturedFrame, Reader
from tlsprobe.captures.pcapng_writer import Writer
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.explain import Filter, explain
from tlsprobe.model.explanation import ExplainedFlow, Explanation
from tlsprobe.packets import frames
from tlsprobe.report.explain_document import explanation_document
from tlsprobe.report.formats import renderer
from tlsprobe.report.pages.explain import explain_page


def captured(path: Path) -> list[CapturedFrame]:
    return Reader().feed(path.read_bytes())


def packet_in(frame: CapturedFrame) -> bytes:
    assert frame.link == frames.ETHERNET
    return frame.data[14:]


def rewritten(path: Path, *wraps: str, beside: bool = False) -> bytes:
    """The capture with each packet in these tunnels, ``beside``: and once more without them."""
    out = io.BytesIO()
    writer = Writer(out, frames.ETHERNET, "mirror0")
    for frame in captured(path):
        packet = packet_in(frame)
        for wrap in wraps:
            if takes(wrap, packet):
                packet = tunnel_of(wrap).wrap(packet)
        data = wrapping.ethernet(packet)
        writer.packet(frame.time_ns, data, len(data))
        if beside:
            writer.packet(frame.time_ns + 9000, frame.data, frame.length)
    writer.finish(0)
    return out.getvalue()


def told(data: bytes) -> Explanation:
    with open_capture_file(io.BytesIO(data)) as reading:
        return explain(reading, Filter(quiet=True))


def without_tunnels(flows: tuple[ExplainedFlow, ...]) -> list[ExplainedFlow]:
    return [replace(flow, tunnels=()) for flow in flows]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_in_any_tunnel_the_diagnosis_is_the_same(name: str) -> None:
    for path in CAPTURES[:: max(1, len(CAPTURES) // 12)]:
        if not takes(name, packet_in(captured(path)[0])):
            continue
        found = told(rewritten(path, name))
        assert without_tunnels(found.flows) == list(explained(path).flows), path.stem
        assert {flow.tunnels for flow in found.flows} == {(tunnel_of(name).name,)}


@pytest.mark.slow
def test_all_captures_in_two_tunnels() -> None:
    name = f"VXLAN 42 {wrapping.BETWEEN_4}, inside GRE key 7 {wrapping.BETWEEN_4}"
    for path in CAPTURES:
        found = told(rewritten(path, "vxlan", "gre-key"))
        assert without_tunnels(found.flows) == list(explained(path).flows), path.stem
        assert {flow.tunnels for flow in found.flows} == {(name,)}


def causes(flows: tuple[ExplainedFlow, ...]) -> list[tuple[object, ...]]:
    return [(flow.client, flow.signature, *(t.reset.cause for t in flow.resets)) for flow in flows]


@pytest.mark.slow
def test_a_mirror_beside_the_plain_packets_changes_nothing() -> None:
    for path in CAPTURES:
        found = told(rewritten(path, "vxlan", beside=True))
        assert causes(found.flows) == causes(explained(path).flows), path.stem


@pytest.mark.parametrize("stem", ["postgres-terminate-6", "rude-close-notify-fin-4"])
def test_the_tunnel_is_named_in_every_format(stem: str) -> None:
    path = next(path for path in CAPTURES if path.stem == stem)
    found = told(rewritten(path, "geneve"))
    name = f"Geneve 42 {wrapping.BETWEEN_4}"
    assert explanation_document(found).flows[0].tunnels == (name,)
    assert name in renderer("markdown")(explain_page(found), diagrams=True)


@pytest.mark.parametrize("frame", sorted(FRAMES))
def test_in_any_ethernet_frame(frame: str) -> None:
    path = CAPTURES[0]
    out = io.BytesIO()
    writer = Writer(out, frames.ETHERNET, "wire0")
    for one in captured(path):
        data = FRAMES[frame].wrap(packet_in(one))
        writer.packet(one.time_ns, data, len(data))
    writer.finish(0)
    found = told(out.getvalue())
    assert without_tunnels(found.flows) == list(explained(path).flows)
