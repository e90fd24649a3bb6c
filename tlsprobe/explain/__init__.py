"""From a capture that somebody else made to the cause of every RST in it, and to other trouble.

Two passes: a quick one over everything, which finds the connections worth a close look (`choice`),
and a second over these alone. What the close look finds is put into the terms of our own driver
(`trace`) and judged by the code that judges runs, with the confidence that a bystander has
(`explainer`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from tlsprobe.captures.reader import Captures
from tlsprobe.captures.reading import CaptureUnreadable, Reading
from tlsprobe.errors import UsageError
from tlsprobe.explain.choice import Choice, choose, key_of_packet, span_of
from tlsprobe.explain.explainer import MOST_FLOWS, MOST_RESETS, Explainer
from tlsprobe.explain.plain_http import PlainHttp
from tlsprobe.explain.wanted import Filter, Window
from tlsprobe.flows.connection import Connection
from tlsprobe.flows.tracker import HELD, connections
from tlsprobe.model.explanation import ExplainedFlow, Explanation, InputFacts
from tlsprobe.packets.packet import reverse
from tlsprobe.records.key_log import read_key_log

__all__ = ["MOST_FLOWS", "MOST_RESETS", "Explanation", "Filter", "explain", "explain_all"]

EVERYTHING = Filter()
"""Every connection, of which those with nothing amiss are only counted."""

_EMPTY = "were the interface and the filter of the capture the right ones?"

_EARLIEST_NS = 10**6
"""Packets of an input without times are numbered in nanoseconds."""


def explain(
    reading: Reading, wanted: Filter = EVERYTHING, key_logs: Iterable[bytes] = ()
) -> Explanation:
    """Explain a capture.

    Raises CaptureUnreadable when there is nothing to read in it, UsageError when there is no such
    packet as is asked for.
    """
    only = _only(reading, wanted)
    if reading.kind == "text":
        return _explain_text(reading, wanted, key_logs, only)
    summary = reading.summary()
    if not reading.total:
        raise CaptureUnreadable(f"{reading.name}: it holds no packet", _EMPTY)
    choice = choose(summary, wanted, only[0] if only else None)
    key_log = read_key_log([*key_logs, *reading.secrets])
    plain_http, lossy = PlainHttp(), bool(reading.lost)
    explainer = Explainer(choice, wanted, key_log, reading.carried, plain_http, lossy=lossy)
    if choice.keys:
        packets = plain_http.watch(reading.stretches(choice.keys.__contains__))
        for connection in connections(packets, keep_bodies=bool(key_log)):
            if _is_meant(connection, wanted, choice.window, only):
                explainer.take(connection)
    return _concluded(reading, choice, explainer, span_of(choice.summary))


def explain_all(
    captures: Captures,
    wanted: Filter = EVERYTHING,
    key_logs: Sequence[bytes] = (),
    done: Callable[[], None] = lambda: None,
) -> list[Explanation]:
    """Explain every capture of an input, and call ``done`` behind each.

    What cannot be read of an archive is added to ``captures.passed_over``. Raises CaptureUnreadable
    where nothing can be, UsageError as `explain`.
    """
    found: list[Explanation] = []
    for reading in captures:
        try:
            found.append(explain(reading, wanted, key_logs))
        except CaptureUnreadable as error:
            if not captures.is_archive:
                raise
            captures.passed_over.append(error)
        finally:
            done()
            reading.close()
    if not found:
        raise captures.passed_over[0]
    return found


def _only(reading: Reading, wanted: Filter) -> tuple[bytes, int] | None:
    """Of the packet that is asked for, the connection's key and the time."""
    if wanted.packet is None:
        return None
    found = key_of_packet(reading, wanted.packet)
    if found is None:
        hint = f"it has {reading.total} packets, counted from 1"
        raise UsageError(f"packet {wanted.packet} of {reading.name} is none of TCP", hint)
    return found


def _is_meant(
    connection: Connection, wanted: Filter, window: Window, only: tuple[bytes, int] | None
) -> bool:
    if not window.meets(connection.first_ns, connection.last_ns):
        return False
    if only is None:
        return wanted.takes(connection.ends)
    ends = {connection.key, reverse(connection.key)}
    return only[0] in ends and connection.first_ns <= only[1] <= connection.last_ns


def _explain_text(
    reading: Reading, wanted: Filter, key_logs: Iterable[bytes], only: tuple[bytes, int] | None
) -> Explanation:
    """A text is read once: what it says of all connections is known when its end is reached."""
    kept: list[Connection] = []
    quiet = held = not_shown = 0
    first_ns = last_ns = None
    choice = Choice()
    for connection in connections(reading.packets(), text=True):
        choice.others.note(connection)
        first_ns = min(connection.first_ns, first_ns or connection.first_ns)
        last_ns = max(connection.last_ns, last_ns or connection.last_ns)
        if held + connection.held <= 2 * HELD:
            held += connection.held
            kept.append(connection)
        elif connection.rsts:
            not_shown += 1
        else:
            quiet += 1
    span = (first_ns, last_ns) if first_ns is not None and last_ns is not None else None
    window = Window.of(wanted, first_ns)
    choice = Choice(
        quiet=quiet, unlooked=quiet, window=window, others=choice.others, until_ns=last_ns or 0
    )
    lossy = bool(reading.skipped or reading.disordered or reading.lacking)
    explainer = Explainer(
        choice, wanted, read_key_log(key_logs), reading.carried, PlainHttp(), lossy=lossy
    )
    explainer.not_shown = not_shown
    for connection in kept:
        # What was not read, or stands elsewhere, may be what provoked its RST.
        connection.doubtful |= lossy
        if _is_meant(connection, wanted, window, only):
            explainer.take(connection)
    return _concluded(reading, choice, explainer, span)


def _concluded(
    reading: Reading, choice: Choice, explainer: Explainer, span: tuple[int, int] | None
) -> Explanation:
    source = _source(reading, choice.summary.forgotten // 2, span)
    return Explanation(
        source=replace(source, notes=(*source.notes, *explainer.notes)),
        flows=tuple(sorted(explainer.flows, key=_first_reset)),
        quiet=explainer.quiet,
        not_shown=explainer.not_shown,
        passed=explainer.passed,
        unlooked=explainer.unlooked,
    )


def _first_reset(flow: ExplainedFlow) -> tuple[bool, int]:
    packets = [told.reset.packet for told in flow.resets]
    return not packets, min(packets, default=0)


def _source(reading: Reading, forgotten: int, span: tuple[int, int] | None) -> InputFacts:
    notes = list(reading.notes)
    if forgotten:
        notes.append(
            f"{forgotten} more connections than fit into memory: whether those were reset, too, is"
            " not shown; --host and --port ask for fewer"
        )
    timed = span is not None and span[1] >= _EARLIEST_NS
    return InputFacts(
        name=reading.name,
        kind=reading.kind,
        packets=reading.total,
        skipped=reading.skipped,
        other=reading.other,
        first_skipped=reading.first_skipped,
        truncated=reading.truncated,
        notes=tuple(notes),
        first_ns=span[0] if span and timed else None,
        last_ns=span[1] if span and timed else None,
    )
