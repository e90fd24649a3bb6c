"""Notices for GitLab: a code quality report, as its merge requests show it.

A list of JSON objects; of each, GitLab reads the description, the name of the check, a fingerprint
by which it knows it from one pipeline to the next, a severity and a place in the repository.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from tlsprobe.model.behaviour import Harm
from tlsprobe.report.ci.notice import NOWHERE, Notice, Since, Weight
from tlsprobe.report.escape import printable

_BY_HARM = {str(Harm.BREAKS): "critical", str(Harm.MAY_BREAK): "major"}


@dataclass(frozen=True, slots=True)
class _Lines:
    begin: int


@dataclass(frozen=True, slots=True)
class _Location:
    path: str
    lines: _Lines


@dataclass(frozen=True, slots=True)
class _Issue:
    description: str
    check_name: str
    fingerprint: str
    severity: str
    location: _Location


def render_gitlab(notices: Iterable[Notice]) -> bytes:
    """The report. What is waived, or gone since the baseline, is left out."""
    told = (one for one in notices if not one.waived and one.since is not Since.GONE)
    return msgspec.json.format(msgspec.json.encode([_issue(one) for one in told])) + b"\n"


def _issue(notice: Notice) -> _Issue:
    place = notice.place or NOWHERE
    named = notice.title.startswith(notice.target)
    title = notice.title if named else f"{notice.target}: {notice.title}"
    lines = (title, *notice.lines)
    return _Issue(
        "\n".join(map(printable, lines)),
        printable(notice.about.name),
        notice.fingerprint,
        _severity(notice),
        _Location(printable(place.file), _Lines(place.line)),
    )


def _severity(notice: Notice) -> str:
    """``blocker``, ``critical``, ``major``, ``minor`` or ``info``."""
    if notice.harm in _BY_HARM:
        return _BY_HARM[notice.harm]
    return {Weight.ERROR: "major", Weight.WARNING: "minor"}.get(notice.weight, "info")
