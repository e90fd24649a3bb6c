"""Notices as SARIF 2.1.0 (OASIS), which code scanners exchange.

A kind of notice is a rule with its help, a notice a result. A server is no file: it is the logical
location of a result, and the physical one, which forges insist on, is where the target is
configured. Forges take only paths in the repository, and tell results of two runs apart by them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from tlsprobe.report.ci.notice import NOWHERE, About, Notice, Since, Weight
from tlsprobe.report.escape import printable
from tlsprobe.version import VERSION

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"

_STATES = {Since.NEW: "new", Since.SAME: "unchanged", Since.GONE: "absent"}


def render_sarif(notices: Iterable[Notice]) -> bytes:
    """The document, with one run."""
    told = list(notices)
    kinds = {notice.about.name: notice.about for notice in told}
    numbers = {name: number for number, name in enumerate(kinds)}
    driver = {
        "name": "tlsprobe",
        "version": VERSION,
        "semanticVersion": VERSION,
        "rules": [_rule(about) for about in kinds.values()],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "utf16CodeUnits",
        "results": [_result(notice, numbers) for notice in told],
    }
    document = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return msgspec.json.format(msgspec.json.encode(document)) + b"\n"


def _rule(about: About) -> dict[str, Any]:
    title = printable(about.title)
    rule: dict[str, Any] = {
        "id": printable(about.name),
        "shortDescription": {"text": title},
        "fullDescription": {"text": title},
        "help": {"text": "\n".join(map(printable, about.help or (about.title,)))},
    }
    return rule | ({"helpUri": about.url} if about.url else {})


def _result(notice: Notice, numbers: Mapping[str, int]) -> dict[str, Any]:
    text = "\n".join(map(printable, (notice.title, *notice.lines)))
    target = printable(notice.target)
    place = notice.place or NOWHERE
    location = {
        "logicalLocations": [{"name": target, "kind": "resource"}],
        "physicalLocation": {
            "artifactLocation": {"uri": quote(place.file, errors="backslashreplace")},
            "region": {"startLine": place.line},
        },
    }
    result: dict[str, Any] = {
        "ruleId": printable(notice.about.name),
        "ruleIndex": numbers[notice.about.name],
        "level": _level(notice.weight),
        "message": {"text": text},
        "locations": [location],
        "partialFingerprints": {"tlsprobe/v1": notice.fingerprint},
    }
    if notice.harm:
        result["properties"] = {"harm": notice.harm}
    if notice.since in _STATES:
        result["baselineState"] = _STATES[notice.since]
    if notice.waived:
        why = printable(notice.waived)
        result["suppressions"] = [{"kind": "external", "justification": why}]
    return result


def _level(weight: Weight) -> str:
    return {Weight.ERROR: "error", Weight.WARNING: "warning"}.get(weight, "note")
