from __future__ import annotations

import re
from pathlib import Path

import pytest

from tlsprobe.campaign.targets import guess_profile
from tlsprobe.catalogue import find_sequences
from tlsprobe.errors import UsageError
from tlsprobe.model.profile import Directive
from tlsprobe.model.target import Login
from tlsprobe.profiles import list_profiles, load_profile
from tlsprobe.protocols import PROTOCOLS, make_conversation
from tlsprobe.protocols.chat import ChatSettings, Exchange
from tlsprobe.protocols.http1 import Http1Settings
from tlsprobe.protocols.mqtt import MqttSettings
from tlsprobe.protocols.postgres import PostgresSettings
from tlsprobe.protocols.raw import ANYTHING, RawSettings

ADAPTERS = ", ".join(PROTOCOLS)
MINIMAL = """
name = "mine"
title = "My server"
port = 8443
[protocol]
adapter = "http1"
"""


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "profile.toml"
    file.write_text(text, encoding="utf-8")
    return file


def mistakes(tmp_path: Path, text: str) -> list[str]:
    file = written(tmp_path, text)
    with pytest.raises(UsageError) as error:
        load_profile(str(file))
    assert error.value.hint
    lines = error.value.message.splitlines()[1:]
    assert all(line.startswith(f"{file}: ") for line in lines)
    return [line.removeprefix(f"{file}: ") for line in lines]


# -- those that ship -------------------------------------------------------------------------------


def test_the_profiles_that_ship() -> None:
    assert {"apisix", "https", "nginx", "postgres", "raw", "reference"} <= set(list_profiles())


@pytest.mark.parametrize("name", list_profiles())
def test_every_shipped_profile_loads_and_can_converse(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.notes
    assert (profile.idle_s is None) == (profile.idle_source is None)
    conversation = make_conversation(profile, "example.org", Login())()
    conversation.open()
    conversation.secured()
    conversation.request()


def test_facts_of_the_shipped_profiles() -> None:
    assert load_profile("nginx").idle_s == 75
    apisix = load_profile("apisix")
    assert (apisix.port, apisix.idle_s) == (9443, 60)
    assert apisix.image == "apache/apisix:3.16.0-debian"
    postgres = load_profile("postgres")
    assert (postgres.port, postgres.protocol) == (5432, "postgres")
    assert postgres.settings == PostgresSettings()
    assert postgres.sequences
    assert not any(name.startswith("idle") for name in postgres.sequences)
    assert load_profile("raw").settings == RawSettings()


def test_the_text_protocols_that_ship_are_data() -> None:
    ports = {
        **{"redis": 6379, "nats": 4222, "ftp": 21, "smtp": 25, "smtps": 465},
        **{"imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995},
    }
    for name, port in ports.items():
        profile = load_profile(name)
        assert (profile.port, profile.protocol) == (port, "chat")
        assert isinstance(profile.settings, ChatSettings)
        assert profile.directives
        run = [sequence for name in profile.sequences for sequence in find_sequences(name)]
        assert not any(sequence.is_idle for sequence in run)
        assert bool(profile.settings.plain) == (name in {"smtp", "imap", "pop3", "ftp", "nats"})


def test_the_reference_servers_protocol_is_one_line_each() -> None:
    conversation = make_conversation(load_profile("reference"), "h", Login())()
    conversation.secured()
    assert conversation.request() == b"ping\n"
    conversation.feed(b"pong 64 " + b"x" * 64 + b"\n")
    assert (conversation.answered, conversation.owed) == (1, 1)
    assert conversation.goodbye() == b"bye\n"
    assert conversation.owed == 1


# -- a file of one's own ---------------------------------------------------------------------------


def test_a_minimal_file(tmp_path: Path) -> None:
    profile = load_profile(str(written(tmp_path, MINIMAL)))
    assert (profile.name, profile.port, profile.protocol) == ("mine", 8443, "http1")
    assert profile.settings == Http1Settings()
    assert (profile.alpn, profile.idle_s, profile.sequences) == (None, None, ())


def test_a_folder_means_the_file_in_it(tmp_path: Path) -> None:
    written(tmp_path, MINIMAL)
    assert load_profile(str(tmp_path)).name == "mine"


def test_everything_that_a_file_can_say(tmp_path: Path) -> None:
    profile = load_profile(
        str(
            written(
                tmp_path,
                r"""
                name = "lines"
                title = "Lines"
                port = 1
                image = "example/lines:1"
                alpn = []
                sequences = ["fin-only"]
                notes = "n"
                [idle]
                timeout = 2.5
                source = "its manual"
                [directives]
                "linger" = "on resets"
                [protocol]
                adapter = "raw"
                greeting = "^220 .*\r\n"
                request = "\u0000\u00ff\n"
                response = true
                goodbye = "QUIT\r\n"
                goodbye_response = "221"
                """,
            )
        )
    )
    assert profile.idle_s == 2.5
    assert profile.idle_source == "its manual"
    assert profile.alpn == ()
    assert profile.sequences == ("fin-only",)
    assert profile.directives == (Directive("linger", "on resets"),)
    assert profile.settings == RawSettings(
        request=b"\0\xff\n",
        response=ANYTHING,
        greeting=re.compile(b"^220 .*\r\n", re.DOTALL),
        goodbye=b"QUIT\r\n",
        goodbye_response=re.compile(b"221", re.DOTALL),
    )


def test_everything_that_a_chat_can_say(tmp_path: Path) -> None:
    text = r"""
    name = "lines"
    title = "Lines"
    port = 1
    [protocol]
    adapter = "chat"
    refused = '^-'
    [protocol.defaults]
    user = "nobody"
    password = ""
    [[protocol.plain]]
    expect = '^220 '
    [[protocol.plain]]
    send = "STARTTLS"
    expect = '^220 '
    refused = '^[45]'
    hint = "switch it on"
    [[protocol.greeting]]
    send = 'LOGIN "{user}" {password}'
    optional = true
    [protocol.request]
    send = "NOOP"
    expect = "^2.. \u00ff"
    [protocol.goodbye]
    send = "QUIT"
    """
    profile = load_profile(str(written(tmp_path, text)))
    assert profile.protocol == "chat"
    assert profile.settings == ChatSettings(
        plain=(
            Exchange(expect=in_lines(b"^220 ")),
            Exchange("STARTTLS", in_lines(b"^220 "), in_lines(b"^[45]"), "switch it on"),
        ),
        greeting=(Exchange('LOGIN "{user}" {password}', optional=True),),
        request=Exchange("NOOP", in_lines(b"^2.. \xff")),
        goodbye=Exchange("QUIT"),
        refused=in_lines(b"^-"),
        defaults=Login(user="nobody", password=""),
    )


def in_lines(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.MULTILINE)


def test_what_a_file_leaves_out_is_said_by_the_profile_that_it_is_like(tmp_path: Path) -> None:
    text = 'name = "mine"\ntitle = "Mine"\nlike = "mqtt"\n[protocol]\nkeep_alive = 1'
    mine, mqtt = load_profile(str(written(tmp_path, text))), load_profile("mqtt")
    assert (mine.name, mine.title, mine.like) == ("mine", "Mine", "mqtt")
    assert (mine.port, mine.idle_s, mine.directives) == (mqtt.port, mqtt.idle_s, mqtt.directives)
    assert mine.settings == MqttSettings(keep_alive=1)
    assert (load_profile("mariadb").like, load_profile("mariadb").protocol) == ("mysql", "mysql")


@pytest.mark.parametrize("name", ["1", '"nothing"', '"mariadb"', '["mqtt"]'])
def test_only_a_profile_that_is_like_no_other_can_be_named(tmp_path: Path, name: str) -> None:
    told = mistakes(tmp_path, f"like = {name}\n{MINIMAL}")
    assert told[0] == "like: write the name of a shipped profile that is like no other itself"


@pytest.mark.parametrize(
    ("port", "name"),
    [(3306, "mysql"), (993, "imaps"), (5671, "amqp"), (5432, "postgres"), (443, "https")],
)
def test_a_port_names_the_protocol_whatever_vendors_share_it(port: int, name: str) -> None:
    assert guess_profile(f"db.example:{port}") == name


@pytest.mark.parametrize("port", [9443, 2379, 8000, 4433, 61000])
def test_a_port_names_no_server_of_http(port: int) -> None:
    """Whatever listens on 9443, that it is APISIX nobody has said."""
    assert guess_profile(f"gateway.example:{port}") == "raw"


# -- mistakes --------------------------------------------------------------------------------------


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    told = mistakes(
        tmp_path,
        """
        nmae = "x"
        title = " "
        port = true
        sequences = "fin-only"
        alpn = [1]
        notes = 3
        directives = 4
        [idle]
        timeout = "60"
        [protocol]
        adapter = "raw"
        requst = "x"
        response = "("
        greeting = ""
        goodbye = "\u20ac"
        """,
    )
    assert [line.partition(":")[0] for line in told] == [
        "name",
        "nmae",
        "title",
        "port",
        "sequences",
        "alpn",
        "notes",
        "directives",
        "idle.source",
        "idle.timeout",
        "protocol.requst",
        "protocol.response",
        "protocol.greeting",
        "protocol.goodbye",
    ]
    assert "nmae: unknown key; did you mean name?" in told
    assert "protocol.requst: unknown key; did you mean request?" in told
    assert "port: write a whole number from 1 to 65535" in told


def test_an_empty_file_lacks_what_is_required(tmp_path: Path) -> None:
    told = mistakes(tmp_path, "")
    assert [line.partition(":")[0] for line in told] == ["name", "title", "port", "protocol"]


@pytest.mark.parametrize(
    ("protocol", "told"),
    [
        ("protocol = 1", f"protocol.adapter: missing; write one of {ADAPTERS}"),
        ("[protocol]", f"protocol.adapter: missing; write one of {ADAPTERS}"),
        (
            '[protocol]\nadapter = "http"',
            f"protocol.adapter: 'http' is not one; write one of {ADAPTERS}",
        ),
        (
            '[protocol]\nadapter = "http1"\nquery = "x"',
            "protocol.query: unknown key; remove it, or write one of adapter, path, large,"
            " guarded, host",
        ),
        (
            '[protocol]\nadapter = "postgres"\ndirect = "yes"',
            "protocol.direct: write true or false, without quotes",
        ),
        (
            '[protocol]\nadapter = "raw"\nresponse = true',
            "protocol.response: nothing asks for it; write request, or remove it",
        ),
        (
            '[protocol]\nadapter = "raw"\ngoodbye_response = "221"',
            "protocol.goodbye_response: nothing asks for it; write goodbye, or remove it",
        ),
    ],
)
def test_mistakes_of_the_protocol(tmp_path: Path, protocol: str, told: str) -> None:
    assert mistakes(tmp_path, f'name = "x"\ntitle = "X"\nport = 1\n{protocol}') == [told]


def test_all_mistakes_of_a_chat_are_told_with_their_place(tmp_path: Path) -> None:
    told = mistakes(
        tmp_path,
        """
        name = "x"
        title = "X"
        port = 1
        [protocol]
        adapter = "chat"
        refused = "("
        greeting = "220"
        request = { expect = "^250 ", optional = true }
        goodbye = { send = "QUIT", refused = "^5" }
        [protocol.defaults]
        user = 1
        host = "x"
        [[protocol.plain]]
        send = "EHLO {hsot}"
        [[protocol.plain]]
        sned = "STARTTLS"
        expect = ""
        [[protocol.plain]]
        hint = "says nothing"
        [[protocol.plain]]
        send = "NOOP\\r\\n"
        [[protocol.plain]]
        send = "HOST {host}"
        optional = true
        """,
    )
    known = "{user}, {password}, {database}, {host}, {plain}, {n}, {random}"
    assert told == [
        "protocol.refused: not a regular expression (missing ), unterminated subpattern at "
        "position 0); correct it",
        "protocol.greeting: write a list of tables, each with a line [[protocol.greeting]]",
        "protocol.request.send: missing; write it",
        "protocol.request.optional: unknown key; remove it, or write one of send, expect, "
        "refused, hint",
        "protocol.goodbye.refused: no answer is waited for; write expect, or remove it",
        "protocol.defaults.user: write a string",
        "protocol.defaults.host: unknown key; remove it, or write one of user, password, database",
        f"protocol.plain[0].send: there is no {{hsot}}; write one of {known}",
        "protocol.plain[1].sned: unknown key; did you mean send?",
        'protocol.plain[1].expect: write a pattern that is not empty; "." is any byte',
        "protocol.plain[2]: says nothing and waits for nothing; write send, expect or both",
        "protocol.plain[3].send: leave out the line end; it is added to every line that is sent",
        "protocol.plain[4].optional: send holds nothing that a user could leave out; remove it",
    ]


def test_a_chat_needs_a_request(tmp_path: Path) -> None:
    text = MINIMAL.replace("http1", "chat")
    assert mistakes(tmp_path, text) == ["protocol.request: missing; write it"]
    text += "request = 1"
    assert mistakes(tmp_path, text) == [
        "protocol.request: write a table, with a line [protocol.request]"
    ]


@pytest.mark.parametrize("few", ["1", "true", '"4"'])
def test_room_for_one_connection_is_too_little_to_measure_in(tmp_path: Path, few: str) -> None:
    """One to watch, and one to see whether the path is alive."""
    assert mistakes(tmp_path, f"connections = {few}\n{MINIMAL}") == [
        "connections: write how many connections may be open at once, at least 2"
    ]


@pytest.mark.parametrize("idle", ["0", "-1", "inf", "nan", "true"])
def test_seconds_are_seconds(tmp_path: Path, idle: str) -> None:
    text = f'{MINIMAL}\n[idle]\ntimeout = {idle}\nsource = "x"'
    assert mistakes(tmp_path, text) == [
        "idle.timeout: write seconds as a number greater than 0, without quotes"
    ]


def test_idle_is_a_table(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "idle = 60" + MINIMAL) == ["idle: write a table, with a line [idle]"]


def test_the_name_is_one_word(tmp_path: Path) -> None:
    assert mistakes(tmp_path, MINIMAL.replace('"mine"', '"../Mine"'))[0].startswith("name: write")


@pytest.mark.parametrize(
    ("content", "told"), [(b"name = \nx", "line 1"), (b"name = '\xff'", "UTF-8 at byte 8")]
)
def test_what_is_not_toml_names_the_place(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "profile.toml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=told) as error:
        load_profile(str(file))
    assert str(file) in error.value.message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.toml: cannot be read"):
        load_profile(str(tmp_path / "nothing.toml"))


@pytest.mark.parametrize(("name", "near"), [("postgresql", "postgres"), ("zzzzzz", "")])
def test_an_unknown_name_leads_to_what_was_meant(name: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"no profile '{name}'") as error:
        load_profile(name)
    hint = error.value.hint or ""
    assert (f"did you mean '{near}'" in hint) == bool(near)
    assert "tlsprobe profiles" in hint
