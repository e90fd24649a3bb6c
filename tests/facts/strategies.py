"""Facts of every shape, sensible or not: whatever is written must come back."""

from __future__ import annotations

from hypothesis import strategies as st

from tlsprobe.model.facts import (
    ClientFact,
    EndFact,
    Fact,
    FactsHeader,
    KernelFact,
    PathFact,
    PlanFact,
    PlannedCell,
    ReachedFact,
    RunFact,
    TrialFact,
)
from tlsprobe.model.far_side import FarFact, Renaming, ResetNumbers
from tlsprobe.model.kernel import KernelReset
from tlsprobe.model.load import Load
from tlsprobe.model.run import CaptureFacts, HostFacts, ServerFacts, Tool, Trial
from tlsprobe.model.target import Target
from tlsprobe.model.trace import (
    Coverage,
    Drive,
    DriverEvent,
    EventKind,
    Gap,
    Mark,
    Record,
    RecordKind,
    Remark,
    RemarkKind,
    Segment,
    Side,
    Stage,
    Trace,
)

HEADER = FactsHeader(
    Tool("tlsprobe", "0"), Target("t", "127.0.0.1", 443, "raw", "raw"), "2026-01-01T00:00:00.000Z"
)

TEXT = st.text(max_size=12)
TIMES = st.integers(0, 2**63 - 1)
NUMBERS = st.integers(-1, 2**48)
SIDES = st.sampled_from(Side)
ENDPOINTS = st.tuples(TEXT, st.integers(0, 65535))


def maybe(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | values


SEGMENTS = st.builds(
    Segment,
    number=st.integers(1, 2**31),
    time_ns=TIMES,
    side=SIDES,
    flags=st.integers(0, 255),
    start=NUMBERS,
    length=st.integers(0, 65535),
    ack=maybe(NUMBERS),
    window=st.integers(0, 2**30),
    ttl=maybe(st.integers(0, 255)),
    ip_id=maybe(st.integers(0, 65535)),
    timestamps=st.booleans(),
    df=maybe(st.booleans()),
    window_scale=maybe(st.integers(0, 14)),
    options=maybe(st.binary(max_size=40)),
    payload=st.binary(max_size=20),
)
RECORDS = st.builds(
    Record,
    side=SIDES,
    start=NUMBERS,
    end=NUMBERS,
    kind=st.sampled_from(RecordKind),
    time_ns=TIMES,
    alert=maybe(st.tuples(st.integers(0, 255), st.integers(0, 255))),
)
EVENTS = st.builds(DriverEvent, time_ns=TIMES, kind=st.sampled_from(EventKind), detail=TEXT)
REMARKS = st.builds(
    Remark,
    kind=st.sampled_from(RemarkKind),
    text=TEXT,
    last_stream=maybe(st.integers(0, 2**31)),
    error=maybe(st.integers(0, 2**32)),
)
DRIVES = st.builds(
    Drive,
    client=maybe(ENDPOINTS),
    server=ENDPOINTS,
    stage=st.sampled_from(Stage),
    records=st.lists(RECORDS, max_size=4).map(tuple),
    events=st.lists(EVENTS, max_size=4).map(tuple),
    tls=maybe(TEXT),
    cipher=maybe(TEXT),
    alpn=maybe(TEXT),
    mark=maybe(st.builds(Mark, TIMES, NUMBERS, NUMBERS)),
    failure=maybe(TEXT),
    hint=maybe(TEXT),
    refused=st.booleans(),
    owed=st.integers(0, 9),
    answered=st.integers(0, 9),
    cut_short=st.booleans(),
    answered_to=NUMBERS,
    remarks=st.lists(REMARKS, max_size=2).map(tuple),
)
TRACES = st.builds(
    Trace,
    drive=DRIVES,
    segments=st.lists(SEGMENTS, max_size=4).map(tuple),
    coverage=st.sampled_from(Coverage),
    protocol=TEXT,
    left_out=st.integers(0, 9),
    gap=st.none() | st.sampled_from(Gap),
)
LOADS = st.builds(Load, st.integers(0, 99), st.integers(0, 99))
TRIALS = st.builds(
    TrialFact, trial=st.builds(Trial, TEXT, TEXT, st.integers(0, 99)), trace=TRACES, load=LOADS
)
CELLS = st.builds(PlannedCell, TEXT, TEXT, TEXT, st.integers(0, 99), TEXT)
ENDS = st.tuples(st.just("192.0.2.1"), st.integers(0, 65535))
RESETS = st.builds(ResetNumbers, NUMBERS, maybe(NUMBERS))
RENAMINGS = st.builds(Renaming, TEXT, TEXT, st.integers(1, 99), maybe(st.integers(1, 99)))
OTHERS = (
    st.builds(PlanFact, st.lists(CELLS, max_size=3).map(tuple))
    | st.builds(ReachedFact, TEXT, st.dictionaries(TEXT, TEXT, max_size=2), TEXT)
    | st.builds(PathFact, TEXT, TEXT, st.booleans())
    | st.builds(
        FarFact,
        TEXT,
        TIMES,
        st.lists(RESETS, max_size=2).map(tuple),
        st.lists(RESETS, max_size=2).map(tuple),
        maybe(RENAMINGS),
        st.integers(0, 9),
    )
    | st.builds(
        KernelFact,
        st.lists(st.builds(KernelReset, TIMES, ENDS, ENDS, TEXT, TEXT), max_size=2).map(tuple),
        st.integers(0, 9),
    )
    | st.builds(
        EndFact,
        st.builds(CaptureFacts, TEXT, TEXT, st.integers(0), maybe(st.integers(0))),
        st.booleans(),
        st.lists(TEXT, max_size=2).map(tuple),
    )
    | st.builds(
        RunFact,
        TEXT,
        st.builds(HostFacts, TEXT, TEXT, TEXT, TEXT),
        st.builds(Target, TEXT, TEXT, st.integers(0, 65535), TEXT, TEXT),
        st.builds(CaptureFacts, TEXT, TEXT, st.integers(0), maybe(st.integers(0))),
        notes=st.lists(TEXT, max_size=2).map(tuple),
        seed=maybe(st.integers(0, 99)),
        server=maybe(st.builds(ServerFacts, TEXT, TEXT, maybe(TEXT), idle_s=maybe(st.just(0.5)))),
        typed=TEXT,
    )
    | st.builds(ClientFact, TEXT, TEXT)
)
FACTS: st.SearchStrategy[Fact] = TRIALS | OTHERS
