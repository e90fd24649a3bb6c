"""What tshark prints of a capture is explained as the capture itself is.

Text tells less: no hop limits, no records, and no numbers where TCP is not the topmost protocol. So
a cause may be another one in text, if either names the other as an alternative; never where the
text's is said with high confidence.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.explain.test_corpus import CAPTURES, explained
from tests.servers import need_server
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.explain import Filter, explain
from tlsprobe.model.explanation import Explanation
from tlsprobe.model.judgement import Confidence, Reset

pytestmark = pytest.mark.server("tshark")

WITH_PORTS = (
    'gui.column.format:"No.","%m","Time","%t","Source","%s","Port","%uS","Destination","%d",'
    '"Port","%uD","Protocol","%p","Length","%L","Info","%i"'
)
COLUMNS = ("No.", "Time", "Source", "Destination", "Protocol", "Length", "Info")
FIELDS = [word for column in COLUMNS for word in ("-e", f"_ws.col.{column}")]
CSV = ["-T", "fields", "-E", "header=y", "-E", "separator=,", "-E", "quote=d", *FIELDS]


NUMBERS = [
    *("frame.number", "frame.time_epoch", "ip.src", "ipv6.src", "tcp.srcport", "ip.dst"),
    *("ipv6.dst", "tcp.dstport", "tcp.stream", "tcp.flags.str", "tcp.seq_raw", "tcp.ack_raw"),
    *("tcp.len", "tcp.window_size_value", "tls.record.content_type", "tls.alert_message.desc"),
]
WITH_TIMES = WITH_PORTS.replace('"Source"', '"Delta","%Tt","Absolute","%Yt","Source"')
WITH_STREAM = WITH_PORTS.replace('"Source"', '"Stream","%Cus:tcp.stream:0:R","Source"')


def fields(how: str, *names: str) -> list[str]:
    asked = [word for name in names for word in ("-e", name)]
    options = [word for option in how.split() for word in ("-E", option)]
    return ["-T", "fields", *options, *asked]


def as_it_is(text: str) -> str:
    return text


def as_table(text: str) -> str:
    """As people turn the cells of CSV into Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in csv.reader(text.splitlines()))


def quoted(text: str) -> str:
    return "".join(f"> {line}\r\n" for line in text.splitlines())


def by_a_terminal(text: str) -> str:
    lines = text.splitlines()
    return "\n".join(line[at : at + 80] for line in lines for at in range(0, len(line), 80))


def by_a_mailer(text: str) -> str:
    lines = text.splitlines()
    return quoted("\n".join(textwrap.fill(line, 76, break_on_hyphens=False) for line in lines))


def compact(text: str) -> str:
    """As ``jq -c`` prints it, all on one line."""
    return json.dumps(json.loads(text, object_pairs_hook=dict), separators=(",", ":"))


def on_a_web_page(text: str) -> str:
    rows = (line.replace("\t", "</td><td>") for line in html.escape(text).splitlines())
    return "\n".join(f"<tr><td>{row}</td></tr>" for row in rows)


def in_german(text: str) -> str:
    return re.sub(r"(\d{4})-(\d\d)-(\d\d) ", r"\3. Nov. \1 ", text)


PRINTED: list[tuple[list[str], Callable[[str], str]]] = [
    ([], as_it_is),
    (["-o", WITH_PORTS], as_it_is),
    (["-o", WITH_PORTS, "-t", "ad"], quoted),
    (["-o", WITH_PORTS, "-t", "e", "-o", "tcp.relative_sequence_numbers:FALSE"], as_it_is),
    (["-o", WITH_PORTS, "-t", "d"], as_it_is),
    (CSV, as_it_is),
    (CSV, as_table),
    (["-V"], as_it_is),
    (["-T", "pdml"], as_it_is),
    (["-T", "json"], as_it_is),
    (["-T", "ek"], as_it_is),
    (fields("header=y", *NUMBERS), as_it_is),
    (fields("header=y separator=;", *NUMBERS), as_it_is),
    (fields("header=y separator=, quote=d occurrence=l", *NUMBERS), as_it_is),
    (fields("header=y separator=|", *NUMBERS, "_ws.col.Info"), as_it_is),
    (["-T", "json", *fields("", *NUMBERS)[2:]], as_it_is),
    (["-T", "ek", *fields("", *NUMBERS)[2:]], as_it_is),
    (["-T", "json"], compact),
    (["-T", "json", "-x"], as_it_is),
    (["-T", "psml", "-o", WITH_PORTS], as_it_is),
    (["-T", "tabs", "-o", WITH_PORTS], on_a_web_page),
    (["-o", WITH_TIMES, "-t", "r"], as_it_is),
    (["-o", WITH_STREAM], as_it_is),
    (["-o", WITH_PORTS, "-t", "adoy"], as_it_is),
    (["-o", WITH_PORTS, "-t", "ud"], in_german),
    (["-o", WITH_PORTS], by_a_terminal),
    (["-o", WITH_PORTS], by_a_mailer),
]


def printed(capture: Path, options: list[str], form: Callable[[str], str]) -> Explanation:
    asked = [str(need_server("tshark")), "-n", "-r", str(capture), *options]
    text = subprocess.run(asked, capture_output=True, check=True, text=True).stdout
    with open_capture_file(io.BytesIO(form(text).encode())) as reading:
        assert reading.kind == "text"
        return explain(reading, Filter(quiet=True))


def resets(explanation: Explanation) -> dict[int, Reset]:
    return {told.reset.packet: told.reset for flow in explanation.flows for told in flow.resets}


@pytest.mark.parametrize("place", range(len(CAPTURES)))
def test_what_is_printed_is_explained_as_its_capture(place: int) -> None:
    """Each capture in one format, each format from three captures or more."""
    capture = CAPTURES[place]
    whole = explained(capture)
    options, form = PRINTED[place % len(PRINTED)]
    text = printed(capture, options, form)
    assert text.source.packets == whole.source.packets
    expected, found = resets(whole), resets(text)
    assert found.keys() == expected.keys()
    for number, reset in found.items():
        other = expected[number]
        assert reset.side is other.side
        if text.source.skipped:
            # Where hosts alone do not tell who sent a line, it is counted, and nothing is sure.
            assert reset.confidence is not Confidence.HIGH or reset.cause is other.cause
        elif reset.cause is not other.cause:
            assert reset.confidence is not Confidence.HIGH
            named = {*reset.alternatives, *other.alternatives}
            assert {reset.cause, other.cause} & named
    assert text.source.skipped == 0 or "one address" in (text.source.first_skipped or "")
