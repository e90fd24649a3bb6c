"""An explanation for programs."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import pytest

from tests.explain.talk import (
    ACK,
    ALERT_12,
    CLIENT,
    DATA,
    FIN,
    PSH,
    RST,
    SERVER,
    SYN,
    Talk,
    explained,
    host,
    tls12,
)
from tests.report.explanations import EXPLANATIONS, unread
from tlsprobe.explain import Filter
from tlsprobe.model.explanation import Explanation
from tlsprobe.report.clock import clock
from tlsprobe.report.explain import BINS, groups_of, over_time, overview_of, without_scans
from tlsprobe.report.explain_document import encode_explanation
from tlsprobe.report.schema import closed, explain_schema


@pytest.mark.slow
@pytest.mark.parametrize("explanation", EXPLANATIONS.values(), ids=EXPLANATIONS)
def test_documents_keep_to_the_schema(explanation: Explanation) -> None:
    schema = explain_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    line = encode_explanation(explanation)
    jsonschema.validate(json.loads(line), closed(schema))
    assert line.count(b"\n") == 1


def test_the_schema_refuses_what_is_wrong() -> None:
    document = json.loads(encode_explanation(EXPLANATIONS["unread"]))
    document["flows"][0]["resets"][0]["cause"] = "bad luck"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, explain_schema())


def test_a_hostile_name_gets_no_command_line() -> None:
    (explained,) = EXPLANATIONS["hostile"].flows[0].resets
    assert explained.experiment is None


def test_many_alike_are_one_group() -> None:
    (group,) = groups_of(EXPLANATIONS["many"].flows)
    assert group.count == 12


@pytest.mark.parametrize(
    ("time_ns", "said"),
    [
        (1_790_000_000_123_456_789, "2026-09-21T14:13:20.123456789Z"),
        (3_723_000_004_000, "01:02:03.000004"),
        (7, None),
        (2**63, "2262-04-11T23:47:16.854775808Z"),
    ],
)
def test_times(time_ns: int, said: str | None) -> None:
    assert clock(time_ns) == said


# --- the overview ---------------------------------------------------------------------------------


def crowd() -> Explanation:
    """Three kinds of reset at two servers, in two versions of TLS, and a scan."""
    talks = [unread(41_000 + i) for i in range(4)]
    for i in range(3):
        late = tls12(Talk(client=(CLIENT[0], 42_000 + i), server=(SERVER[0], 8443))).wait(60)
        late.s(PSH | ACK | FIN, ALERT_12).c(PSH | ACK, ALERT_12 if i else DATA).bare_rst()
        talks.append(late)
    for port in range(12):
        knock = Talk(client=(host("203.0.113.9"), 50_000 + port), server=(SERVER[0], port + 1))
        knock.c(SYN).s(RST | ACK, seq=0, window=0, ip_id=0)
        talks.append(knock)
    return explained(*talks, wanted=Filter())


def test_the_overview_adds_up_worst_first() -> None:
    scans, flows = without_scans(crowd().flows)
    rows = overview_of(flows)
    assert [(str(r.harm), str(r.cause), r.server, r.resets) for r in rows] == [
        ("lost", "data-after-close", "192.0.2.2:8443", 1),
        ("error", "unread-data-at-close", "192.0.2.2:443", 4),
        ("nobody", "data-after-close", "192.0.2.2:8443", 2),
    ]
    assert all(row.first_ns <= row.last_ns for row in rows)
    (scan,) = scans
    assert (scan.client, scan.servers, scan.hosts, scan.refused) == ("203.0.113.9", 12, 1, 12)


def test_a_few_refusals_are_no_scan() -> None:
    refused = [flow for flow in crowd().flows if flow.client.startswith("203.")]
    scans, rest = without_scans(refused[:9])
    assert (scans, len(rest)) == ([], 9)
    again = [replace(flow, server="192.0.2.2:1") for flow in refused]
    assert without_scans(again)[0] == []


def test_versions_of_tls_are_groups_of_their_own() -> None:
    (one,) = EXPLANATIONS["unread"].flows
    groups = groups_of([one, replace(one, tls="1.2"), one])
    assert [(group.example.tls, group.count) for group in groups] == [("1.3", 2), ("1.2", 1)]


def test_a_version_that_says_nothing_new_comes_last() -> None:
    _, flows = without_scans(crowd().flows)
    more = [*flows, *(replace(f, tls="1.2") for f in flows if f.tls == "1.3")]
    groups = groups_of(more)
    assert [(str(g.harm), g.example.tls) for g in groups] == [
        ("lost", "1.2"),
        ("error", "1.3"),
        ("nobody", "1.2"),
        ("error", "1.2"),
    ]


def test_one_group_tells_of_all_its_servers() -> None:
    (one,) = EXPLANATIONS["unread"].flows
    (group,) = groups_of([one, replace(one, server="10.0.0.1:443", sni="db.example")])
    assert group.servers == (("192.0.2.2:443", 1), ("10.0.0.1:443 (db.example)", 1))


def test_resets_over_time() -> None:
    found = crowd()
    spread = over_time(found.source, found.flows)
    assert spread is not None
    assert len(spread.counts) == BINS
    assert sum(spread.counts) == sum(len(flow.resets) for flow in found.flows)
    assert spread.counts[-1] == 3
    assert over_time(replace(found.source, first_ns=None), found.flows) is None
    assert over_time(found.source, ()) is None


def test_the_document_has_the_overview() -> None:
    document = json.loads(encode_explanation(crowd()))
    jsonschema.validate(document, closed(explain_schema()))
    assert document["overview"][0]["harm"] == "lost"
    assert sum(row["resets"] for row in document["overview"]) == 19
    assert document["input"]["first"] < document["input"]["last"]
    assert "overview" not in json.loads(encode_explanation(EXPLANATIONS["quiet"]))
