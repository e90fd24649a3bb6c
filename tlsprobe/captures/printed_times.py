"""Times as packet lists print them: seconds, times of day, dates in several orders and languages.

Source: Wireshark's epan/column-utils.c (``-t`` of tshark) and epan/to_str.c, ``abs_time_to_str``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from tlsprobe.captures.printed_values import clock_time, nanoseconds

_ZONE = (
    r"(?:Z|[+-]\d\d:?\d\d)?(?: (?:[+-]\d{4}|UTC|GMT|BST|WES?T|CES?T|EES?T|MSK|[IJK]ST|[ECMP][SD]T)"
    r"(?= |$))?"
)
_CLOCK = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d):(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?" + _ZONE
)
_MONTH = r"[^\W\d_]{1,9}\.?|\d{1,2}[月월]"
_DATE = (
    r"(?:(?P<year>\d{4})(?:[-/.](?P<month>\d\d)[-/.](?P<day>\d\d)|/(?P<of_year>\d{3}))[ T,]{1,2}"
    rf"|(?P<name>{_MONTH}) {{1,2}}(?P<of_month>\d{{1,2}}), {{0,2}}(?P<in_year>\d{{4}}) {{1,2}}"
    rf"|(?P<first>\d{{1,2}})\.? (?P<called>{_MONTH}),? (?P<then>\d{{4}}),? {{1,2}})?"
)
TIME = re.compile(
    rf"(?:(?P<clock>{_DATE}{_CLOCK})|(?P<seconds>-?\d{{1,10}}[.,]\d{{1,9}})(?: ?s)?|\*REF\*)"
    r"(?= |$)"
)
"""A time that a column holds, with what `time_of_match` needs of it."""

# How the names of months begin, as systems abbreviate them in the languages of most of them.
_MONTHS = (
    ("jan", "ene", "gen", "janv", "sty", "янв"),
    ("feb", "fév", "févr", "fev", "lut", "фев"),
    ("mar", "mär", "mrz", "mrt", "maa", "мар"),
    ("apr", "avr", "abr", "kwi", "апр"),
    ("may", "mai", "mag", "mei", "maj", "май", "мая"),
    ("jun", "juin", "giu", "cze", "июн"),
    ("jul", "juil", "lug", "lip", "июл"),
    ("aug", "aoû", "ago", "sie", "авг"),
    ("sep", "set", "wrz", "сен"),
    ("oct", "okt", "out", "ott", "paź", "окт"),
    ("nov", "lis", "ноя"),
    ("dec", "dez", "déc", "dic", "gru", "дек"),
)


def time_of(text: str) -> tuple[str | None, int]:
    """What the time in a cell counts from, as `time_of_match` says it; None if it is no time."""
    found = TIME.fullmatch(text)
    return time_of_match(found) if found else (None, 0)


def time_of_match(found: re.Match[str]) -> tuple[str | None, int]:
    """What a time counts from, and the time in nanoseconds.

    "epoch", "day" (midnight) or "start" (the first frame, or the frame before); None for a frame
    that is the reference itself, and for what no clock shows.
    """
    if found["seconds"]:
        whole, _, fraction = found["seconds"].replace(",", ".").partition(".")
        if whole.startswith("-"):
            return "start", 0
        return ("epoch" if len(whole) == 10 else "start"), nanoseconds(whole, fraction)
    if not found["clock"]:
        return None, 0
    fraction = found["fraction"] or "0"
    return clock_time(found["hour"], found["minute"], found["second"], fraction, _date(found))


def _date(found: re.Match[str]) -> datetime | None:
    try:
        if found["of_year"]:
            first = datetime(int(found["year"]), 1, 1, tzinfo=UTC)
            return first + timedelta(days=int(found["of_year"]) - 1)
        if found["year"]:
            parts = [int(found[name]) for name in ("year", "month", "day")]
        elif found["name"] or found["called"]:
            month = _month(found["name"] or found["called"])
            day = int(found["of_month"] or found["first"])
            parts = [int(found["in_year"] or found["then"]), month, day]
        else:
            return None
        return datetime(parts[0], parts[1], parts[2], tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _month(name: str) -> int:
    """The month of a name, or of a number behind which stands "month"; 0 if it is none."""
    if name[:-1].isdigit():
        return int(name[:-1])
    word = name.rstrip(".").casefold()
    for number, begins in enumerate(_MONTHS, 1):
        if word in begins or any(word.startswith(begin) for begin in begins):
            return number
    return 0
