"""The [lab] table: everything it can say, and every mistake in it told at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tlsprobe.campaign.lab_columns import columns_of
from tlsprobe.errors import UsageError
from tlsprobe.model.profile import Lab
from tlsprobe.model.sequence import ConnectionLimit
from tlsprobe.model.target import Login
from tlsprobe.profiles import list_profiles, load_profile
from tlsprobe.protocols.http1 import Http1Settings

PROFILE = """
name = "mine"
title = "My server"
port = 8443
[protocol]
adapter = "http1"
[lab]
"""


def written(tmp_path: Path, lab: str, **templates: str) -> str:
    (tmp_path / "profile.toml").write_text(PROFILE + lab, encoding="utf-8")
    for name, text in templates.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return str(tmp_path)


def lab_in(tmp_path: Path, lab: str, **templates: str) -> Lab:
    profile = load_profile(written(tmp_path, lab, **templates))
    assert profile.lab is not None
    return profile.lab


def mistakes(tmp_path: Path, lab: str) -> list[str]:
    with pytest.raises(UsageError) as error:
        load_profile(written(tmp_path, lab))
    lines = error.value.message.splitlines()[1:]
    return [line.removeprefix(f"{tmp_path / 'profile.toml'}: ") for line in lines]


def vendors() -> list[str]:
    return [name for name in list_profiles() if load_profile(name).lab is not None]


def test_a_profile_without_the_table_is_no_vendor() -> None:
    assert load_profile("raw").lab is None


def test_little_is_needed(tmp_path: Path) -> None:
    assert lab_in(tmp_path, 'start = ["server"]') == Lab(tmp_path, ("server",))


def test_everything_that_it_can_say(tmp_path: Path) -> None:
    lab = lab_in(
        tmp_path,
        r"""
        title = "Mine, in the lab"
        program = ["mine", "@tools@/bin/mine"]
        packages = ["mine"]
        pip = ["mine==1.*"]
        npm = ["mine@1"]
        build = [["make", "-C", "@profile@", "DESTDIR=@tools@"]]
        needs = ["make"]
        templates = ["conf"]
        values = { extra = "on @port@" }
        prepare = [["init", "@folder@"], ["check"]]
        start = ["@program@", "@folder@/conf", "@extra@"]
        as_user = true
        user = "daemon"
        env = { MINE = "@spare@" }
        ready = 'log ^ready on \d+'
        ready_within = 2.5
        stop = "QUIT"
        version = ["@program@", "-v"]
        version_pattern = 'v(\d+)'
        tls_version = ["@program@", "-V"]
        tls_pattern = 'with (\S+)'
        idle = 2
        idle_directive = "timeout"
        behind = "nginx"
        also = ["http2"]
        login = { user = "u", password = "p" }
        client_cert = true
        concurrency = 4
        patience = 2.5
        protocol = { large = "/large" }
        limits = { raw = ["stall"] }
        alpn = ["h2"]
        sequences = ["client-first"]
        notes = "n"
        """,
        conf="port @port@",
    )
    assert lab == Lab(
        folder=tmp_path,
        title="Mine, in the lab",
        program=("mine", "@tools@/bin/mine"),
        packages=("mine",),
        pip=("mine==1.*",),
        npm=("mine@1",),
        build=(("make", "-C", "@profile@", "DESTDIR=@tools@"),),
        needs=("make",),
        templates=("conf",),
        values={"extra": "on @port@"},
        prepare=(("init", "@folder@"), ("check",)),
        start=("@program@", "@folder@/conf", "@extra@"),
        as_user=True,
        user="daemon",
        env={"MINE": "@spare@"},
        ready=re.compile(r"^ready on \d+", re.MULTILINE),
        ready_within=2.5,
        stop="QUIT",
        version=("@program@", "-v"),
        version_pattern=re.compile(r"v(\d+)", re.MULTILINE),
        tls_version=("@program@", "-V"),
        tls_pattern=re.compile(r"with (\S+)", re.MULTILINE),
        idle=2,
        idle_directive="timeout",
        behind="nginx",
        also=("http2",),
        login=Login(user="u", password="p"),
        client_cert=True,
        concurrency=4,
        patience=2.5,
        protocol={"large": "/large"},
        limits={"raw": frozenset({ConnectionLimit.STALL})},
        alpn=("h2",),
        sequences=("client-first",),
        notes="n",
    )


def test_in_the_lab_the_protocol_may_be_told_something_else(tmp_path: Path) -> None:
    place = written(tmp_path, 'start = ["server"]\nprotocol = { large = "/large" }')
    profile = load_profile(place)
    assert profile.settings == Http1Settings()
    assert profile.lab is not None
    assert load_profile(place, profile.lab.protocol).settings == Http1Settings(large="/large")


@pytest.mark.parametrize(
    ("lab", "mistake"),
    [
        ("", "lab.start: missing; write it"),
        ("start = []", "lab.start: write a list of strings, the program first, such as"),
        ('start = ["x"]\nprepare = ["init"]', "lab.prepare: write a list of commands, such as"),
        ('start = ["x"]\nstop = "HUP"', "lab.stop: write one of TERM, INT, QUIT, KILL"),
        ('start = ["x"]\nready = "soon"', 'lab.ready: write "tcp", or "log " and a pattern'),
        ('start = ["x"]\nready = "log ("', "lab.ready: not a regular expression"),
        ('start = ["x"]\nversion_pattern = "v"', "lab.version_pattern: put what is to be shown in"),
        ('start = ["x"]\nidle = 1.5', "lab.idle: write whole seconds from 0 to 65535"),
        ('start = ["x"]\nconcurrency = 0', "lab.concurrency: write how many connections at a"),
        ('start = ["x"]\nconcurrency = true', "lab.concurrency: write how many connections at"),
        ('start = ["x"]\npatience = "long"', "lab.patience: write seconds"),
        ('start = ["x"]\nenv = { A = 1 }', "lab.env: write strings by name, such as"),
        ('start = ["x"]\nlogin = { name = "u" }', "lab.login.name: unknown key; remove it, or"),
        ('start = ["x"]\ntemplate = ["c"]', "lab.template: unknown key; did you mean templates?"),
        ('start = ["@prot@"]', "lab.start: there is no @prot@ here; write one of @tools@,"),
        ('start = ["@program@"]', "lab.program: missing, and @program@ is asked for"),
        ('start = ["@behind_port@"]', "lab.start: there is no @behind_port@ here"),
        ('start = ["x"]\nbuild = [["cc", "@folder@"]]', "lab.build: there is no @folder@ here"),
        ('start = ["x"]\nvalues = { port = "1" }', "lab.values.port: the lab says that itself"),
        ('start = ["x"]\nlimits = ["stall"]', "lab.limits: write lists by protocol"),
        (
            'start = ["x"]\nlimits = { http1 = ["many"] }',
            "lab.limits.http1: write a list of requests",
        ),
        ('start = ["x"]\nprotocol = { big = "/" }', "lab.protocol.big: unknown key;"),
    ],
)
def test_each_mistake_is_told(tmp_path: Path, lab: str, mistake: str) -> None:
    (told,) = mistakes(tmp_path, lab)
    assert told.startswith(mistake)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    told = mistakes(tmp_path, 'stop = "HUP"\nidle = -1\nalso = "http2"')
    assert [line.partition(":")[0] for line in told] == [
        *("lab.start", "lab.stop", "lab.idle", "lab.also"),
    ]


# -- those that ship -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", vendors())
def test_every_shipped_vendor_names_profiles_that_there_are(name: str) -> None:
    lab = load_profile(name).lab
    assert lab is not None
    assert len([*columns_of(load_profile(name))]) == 1 + len(lab.also)
    if lab.behind is not None:
        assert load_profile(lab.behind).lab is not None


@pytest.mark.parametrize("name", vendors())
def test_every_shipped_vendor_tells_its_version_and_how_to_get_it(name: str) -> None:
    lab = load_profile(name).lab
    assert lab is not None
    assert lab.version
    assert lab.tls_library or lab.tls_version
    assert lab.packages or lab.pip or lab.npm or lab.build or lab.needs or lab.image
    assert (lab.idle == 0) or lab.idle_directive
