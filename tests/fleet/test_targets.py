"""Lists of targets in every format: what is in them, and every mistake with its place."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.errors import UsageError
from tlsprobe.fleet.targets import SHOWN_MISTAKES, read_targets
from tlsprobe.model.fleet import FleetTarget

LINES = """
# the edge
db.example:5432 profile=postgres team=data
[::1]:8443        # with a comment
www.example name=shop trials=7
"""

CSV = """address,profile,team,trials
db.example:5432,postgres,data,
www.example:443,,"web, shop",7
"""

TOML = """
[[target]]
address = "db.example:5432"
profile = "postgres"
labels = { team = "data" }

[[target]]
address = "www.example:443"
name = "shop"
sequence = ["terminate", "fin-only"]
"""

FILE_SD = [
    {"targets": ["a.example:443", "b.example:443"], "labels": {"team": "web"}},
    {"targets": ["c.example:443"]},
]

KUBECTL = {
    "kind": "List",
    "items": [
        {
            "kind": "Ingress",
            "metadata": {"name": "shop", "namespace": "web"},
            "spec": {"tls": [{"hosts": ["shop.example", "*.example"]}]},
        },
        {
            "kind": "Service",
            "metadata": {"name": "db", "namespace": "data"},
            "spec": {"ports": [{"port": 5432}, {"port": 9000}, {"port": 9443, "name": "https-x"}]},
        },
        {
            "kind": "Service",
            "metadata": {"name": "edge", "namespace": "web"},
            "spec": {"ports": [{"port": 443}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}, {"hostname": "lb"}]}},
        },
    ],
}


def addresses(text: str, source: str = "list") -> list[str]:
    return [one.address for one in read_targets(text, source)]


def mistakes_in(text: str, source: str = "list") -> list[str]:
    with pytest.raises(UsageError) as raised:
        read_targets(text, source)
    return raised.value.message.splitlines()[1:]


def test_plain_lines() -> None:
    db, six, shop = read_targets(LINES, "edge.txt")
    assert (db.address, dict(db.options), dict(db.labels)) == (
        "db.example:5432",
        {"profile": "postgres"},
        {"team": "data"},
    )
    assert six == FleetTarget("[::1]:8443", place="edge.txt:4")
    assert (shop.title, dict(shop.options)) == ("shop", {"trials": 7})


@pytest.mark.parametrize("source", ["list.csv", "standard input"])
def test_csv(source: str) -> None:
    db, shop = read_targets(CSV, source)
    assert (dict(db.options), dict(db.labels)) == ({"profile": "postgres"}, {"team": "data"})
    assert (dict(shop.options), dict(shop.labels)) == ({"trials": 7}, {"team": "web, shop"})
    assert shop.place == f"{source}:3"


@pytest.mark.parametrize("source", ["list.toml", "standard input"])
def test_toml(source: str) -> None:
    db, shop = read_targets(TOML, source)
    assert (db.place, dict(db.labels)) == (f"{source}:2", {"team": "data"})
    assert (shop.title, shop.options["sequence"]) == ("shop", ["terminate", "fin-only"])


@pytest.mark.parametrize("source", ["sd.json", "standard input"])
def test_file_sd_as_json(source: str) -> None:
    found = read_targets(json.dumps(FILE_SD), source)
    assert [one.address for one in found] == ["a.example:443", "b.example:443", "c.example:443"]
    assert [dict(one.labels) for one in found] == [{"team": "web"}, {"team": "web"}, {}]


def test_file_sd_as_yaml() -> None:
    wrong = ["a.example:99999", "b.example:443 trials=none", "c.example:443 oops", "a b"]
    told = mistakes_in("\n".join((*wrong, "d.example", "d.example")), "list.txt")
    assert [line.partition(": ")[0] for line in told] == [
        "list.txt:1",
        "list.txt:2",
        "list.txt:3",
        "list.txt:4",
        "list.txt:6",
    ]
    assert "65535" in told[0]
    assert "whole number" in told[1]
    assert "'oops'" in told[2]
    assert "list.txt:5" in told[4]


@pytest.mark.parametrize("source", ["x.txt", "x.csv", "x.json", "x.toml", "x.yaml"])
def test_what_spreadsheets_put_before_a_list_is_no_part_of_it(source: str) -> None:
    text = {
        "x.txt": "a.example:443\r\n",
        "x.csv": "address,team\r\na.example:443,web\r\n",
        "x.json": '[{"targets": ["a.example:443"]}]',
        "x.toml": '[[target]]\r\naddress = "a.example:443"\r\n',
        "x.yaml": "- targets: [a.example:443]\r\n",
    }[source]
    assert addresses(f"\ufeff{text}", source) == ["a.example:443"]


def test_lines_are_counted_as_editors_do() -> None:
    (told,) = mistakes_in("a.example:443 team=a\u2028=\r\nb.example:0", "x.txt")[1:]
    assert told.startswith("x.txt:2: ")


@pytest.mark.parametrize(
    ("text", "source", "place", "word"),
    [
        ("a.example sequence=terminate|nonsense", "x", "x:1", "no sequence 'nonsense'"),
        ("a.example trials=99999999999", "x", "x:1", "10000"),
        ("a.example patience=1e300", "x", "x:1", "86400"),
        ("a.example trials=2 trials=3", "x", "x:1", "'trials' is said twice"),
        ("a.example =web", "x", "x:1", "'=web'"),
        ("a\x1b[2J.example:443", "x", "x:1", "cannot read"),
        ("address\nan example:443", "x.csv", "x.csv:2", "cannot read"),
        ('[[target]]\naddress = "a"\n[targets]\n', "x.toml", "x.toml", "'targets' is not read"),
        ('[{"targets": ["a"], "labels": ["b"]}]', "x.json", "x.json: group 1", "labels"),
        ('[{"targets": ["a"], "labels": {"b": "\\ud800"}}]', "x.json", "x.json: gr", "halves"),
    ],
)
def test_what_a_list_gets_wrong_is_said_with_its_place(
    text: str, source: str, place: str, word: str
) -> None:
    (told,) = mistakes_in(text, source)
    assert told.startswith(place)
    assert word in told


def test_thousands_of_mistakes_are_counted() -> None:
    told = mistakes_in("\n".join(f"{n}:0" for n in range(1000)))
    assert len(told) == SHOWN_MISTAKES + 1
    assert told[-1] == f"... and {1000 - SHOWN_MISTAKES} more"


@pytest.mark.parametrize(
    ("text", "source", "word"),
    [
        ("", "list", "names no target"),
        ("{", "list.json", "not JSON"),
        ("[[target]", "list.toml", "not TOML"),
        ("a: [", "list.yaml", "not YAML"),
        ("host,port\nx,1\n", "list.csv", "no column is called address"),
        ("address,team,team\nx,1,2\n", "list.csv", "two columns are called team"),
        ('address,team\nx,"1\ny,2\n', "list.csv", "not CSV"),
        ("{}", "list.json", "neither"),
        ("[" * 100_000, "list.json", "not JSON"),
    ],
)
def test_what_is_no_list_is_refused(text: str, source: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        read_targets(text, source)


@pytest.mark.parametrize("profile", ["no-such-profile"])
def test_a_profile_that_does_not_exist(profile: str) -> None:
    assert "profile" in mistakes_in(f"a.example:443 profile={profile}")[0]


def test_one_server_of_several_kubernetes_objects_is_one_target() -> None:
    def ingress(tls: object) -> object:
        rules = [{"host": "shop.example"}, {"http": {}}]
        return {"kind": "Ingress", "metadata": {}, "spec": {"tls": tls, "rules": rules}}

    ports = [{"port": 443, "protocol": "UDP"}, {"port": 443, "protocol": "TCP"}]
    items = [
        ingress([{"hosts": ["shop.example"]}]),
        ingress([{"hosts": ["shop.example"]}, {"hosts": 5}]),
        ingress([{"secretName": "default"}]),
        {"kind": "Service", "metadata": {"name": "quic"}, "spec": {"ports": ports}},
    ]
    text = json.dumps({"kind": "List", "items": items})
    assert addresses(text) == ["shop.example:443", "quic.default.svc:443"]


@given(st.text(max_size=200), st.sampled_from(["x", "x.csv", "x.toml", "x.json", "x.yaml"]))
def test_any_text_is_read_or_refused(text: str, source: str) -> None:
    try:
        found = read_targets(text, source)
    except UsageError:
        return
    assert all(one.address for one in found)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["kind", "items", "targets", "labels", "spec", "tls", "hosts", "ports"]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(_VALUES)
def test_any_document_is_read_or_refused(document: object) -> None:
    with suppress(UsageError):
        read_targets(json.dumps(document), "x.json")
