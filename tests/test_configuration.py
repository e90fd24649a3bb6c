"""``tlsprobe.toml``: what it says, and every mistake with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsprobe.configuration import read_configuration
from tlsprobe.errors import UsageError
from tlsprobe.keys import Key, a_flag, a_text

OPTIONS = {"user": Key(a_text), "quiet": Key(a_flag), "fail-on": Key(a_text, into="fail_on")}
OF_TARGET = {"user": Key(a_text)}

WHOLE = """
fail-on = "fail"
user = "me"

[[target]]
address = "db.example:5432"
name = "db"
user = "you"

[[target]]
address = "[::1]:443"

[[waiver]]
behaviour = "reset-before-fin"
reason = "known; fixed in 2.1"
until = 2027-06-30

[[waiver]]
rule = "TLS1?-NOTIFY"
sequence = "fin-only"
target = "db*"
reason = "legacy clients"
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "tlsprobe.toml"
    file.write_text(text, encoding="utf-8")
    return file


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        read_configuration(write(folder, text), OPTIONS, OF_TARGET)
    head, *lines = caught.value.message.splitlines()
    assert head.startswith(f"{folder}/tlsprobe.toml")
    return [line.removeprefix(f"{folder}/tlsprobe.toml") for line in lines]


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    found = read_configuration(write(tmp_path, WHOLE), OPTIONS, OF_TARGET)
    assert found.options == {"fail_on": "fail", "user": "me"}
    first, second = found.targets
    assert (first.address, first.name, first.options) == ("db.example:5432", "db", {"user": "you"})
    assert (first.line, second.line, second.name) == (5, 10, "")
    one, two = found.waivers
    assert (one.behaviour, one.until) == ("reset-before-fin", "2027-06-30")
    assert one.where.endswith("tlsprobe.toml:13")
    assert two.about == "rule TLS1?-NOTIFY, sequence fin-only, target db*"


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    found = read_configuration(write(tmp_path, ""), OPTIONS, OF_TARGET)
    assert (found.options, found.targets, found.waivers) == ({}, (), ())


def test_no_target_hides_another(tmp_path: Path) -> None:
    a, b = (
        '[[target]]\naddress = "a:1"\nname = "x"\n',
        '[[target]]\naddress = "b:1"\nname = "x"\n',
    )
    assert mistakes(tmp_path, a + a) == [
        ":5: target[2].address: target[1] has it too; one file each",
        ":6: target[2].name: target[1] has it too; one file each",
    ]
    assert mistakes(tmp_path, a + b) == [":6: target[2].name: target[1] has it too; one file each"]


def test_every_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    text = """
usr = "me"
quiet = "yes"
[[target]]
address = "a:1"
quiet = true
[[target]]
user = ""
[[waiver]]
rule = "TLS12-NOTIFI"
until = "next week"
"""
    assert mistakes(tmp_path, text) == [
        ":2: usr: unknown key; did you mean user?",
        ":3: quiet: write true or false, without quotes",
        ":6: target[1].quiet: unknown key; remove it, or write one of address, name, user",
        ":7: target[2].address: missing; write it",
        ":8: target[2].user: write a string that is not empty",
        ":9: waiver[1].reason: missing; write it",
        ":10: waiver[1].rule: no such rule; did you mean TLS12-NOTIFY?",
        ":11: waiver[1].until: write the last day on which it holds, as 2027-06-30",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("target = 'a:1'", ":1: target: write tables, each with a line [[target]]"),
        (
            "[[waiver]]\nreason = 'x'",
            ":1: waiver[1]: write what it waives: behaviour, rule, sequence, tls",
        ),
        ("[[waiver]]\nreason = ' '\nrule = '*'", ":2: waiver[1].reason: write a string that is"),
        ("target = [1]", ":1: target: write tables, each with a line [[target]]"),
    ],
)
def test_what_a_table_must_be_is_said(text: str, said: str, tmp_path: Path) -> None:
    assert any(line.startswith(said) for line in mistakes(tmp_path, text)), mistakes(tmp_path, text)


def test_what_is_no_toml_or_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not TOML.*line 2"):
        read_configuration(write(tmp_path, "\na =\nb = 1"), OPTIONS, OF_TARGET)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_configuration(tmp_path / "none.toml", OPTIONS, OF_TARGET)
    (tmp_path / "tlsprobe.toml").write_bytes(b'user = "\xff"')
    with pytest.raises(UsageError, match="not UTF-8 at byte 8"):
        read_configuration(tmp_path / "tlsprobe.toml", OPTIONS, OF_TARGET)


SECTION = """
user = "me"
[fuzz]
quiet = true
[[target]]
address = "a:1"
"""


def test_a_command_may_have_a_table_of_its_own(tmp_path: Path) -> None:
    own = {"fuzz": lambda: {"quiet": Key(a_flag)}, "lab": lambda: {"user": Key(a_text)}}
    found = read_configuration(write(tmp_path, SECTION), OPTIONS, OF_TARGET, own)
    assert found.sections == {"fuzz": {"quiet": True}}
    assert found.options == {"user": "me"}
    wrong = write(tmp_path, SECTION.replace("quiet =", "usr ="))
    with pytest.raises(UsageError, match=r"toml:4: fuzz\.usr: unknown key"):
        read_configuration(wrong, OPTIONS, OF_TARGET, own)
