from __future__ import annotations

import re
from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.errors import UsageError
from tlsprobe.model.profile import Profile
from tlsprobe.model.target import Login
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import has_goodbye, make_conversation
from tlsprobe.protocols.chat import LONGEST, MOST_LINES, Chat, ChatSettings, Exchange, chat
from tlsprobe.protocols.conversation import Phase

NOBODY = Login()


def lines(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.MULTILINE)


SMTP = ChatSettings(
    plain=(
        Exchange(expect=lines(b"^220 ")),
        Exchange("EHLO us", expect=lines(b"^250 ")),
        Exchange("STARTTLS", expect=lines(b"^220 "), hint="switch it on"),
    ),
    greeting=(
        Exchange("EHLO us", expect=lines(b"^250 ")),
        Exchange("AUTH PLAIN {plain}", expect=lines(b"^235 "), optional=True),
    ),
    request=Exchange("NOOP", expect=lines(b"^250 ")),
    goodbye=Exchange("QUIT", expect=lines(b"^221 ")),
    refused=lines(rb"^[45]\d\d[ -]"),
)
PING = ChatSettings(
    request=Exchange("PING", expect=lines(rb"^\+PONG"), refused=lines(b"^-")),
    goodbye=Exchange("BYE"),
)


def opened(settings: ChatSettings) -> Chat:
    client = begun(settings)
    client.open()
    return client


def begun(settings: ChatSettings, login: Login = NOBODY) -> Chat:
    return chat(settings, "host.example", login)()


def ready(settings: ChatSettings) -> Chat:
    conversation = begun(settings)
    assert conversation.open() == b""
    conversation.secured()
    assert phase(conversation) is Phase.READY
    return conversation


def phase(conversation: Chat) -> Phase:
    # A call, so that mypy does not take the phase for what it was asserted to be before.
    return conversation.phase


def state(conversation: Chat) -> tuple[Phase, int, int, bool]:
    return conversation.phase, conversation.answered, conversation.owed, conversation.partial


# -- the way to a request ------------------------------------------------------------------------


def test_a_chat_from_the_banner_to_the_goodbye() -> None:
    client = begun(SMTP, Login(user="me", password="pw"))
    assert phase(client) is Phase.PLAIN
    assert client.open() == b""
    assert client.feed(b"220 mail.example ESMTP\r\n") == b"EHLO us\r\n"
    assert client.feed(b"250-mail.example\r\n250-SIZE\r\n") == b""
    assert client.feed(b"250 STARTTLS\r\n") == b"STARTTLS\r\n"
    assert client.feed(b"220 go ahead\r\n") == b""
    assert phase(client) is Phase.SECURE
    assert client.secured() == b"EHLO us\r\n"
    assert phase(client) is Phase.GREETING
    login = client.feed(b"250-mail.example\r\n250 AUTH PLAIN\r\n")
    assert login.startswith(b"AUTH PLAIN ")
    assert b64decode(login.split()[2]) == b"\0me\0pw"
    assert client.feed(b"235 welcome\r\n") == b""
    assert phase(client) is Phase.READY
    assert client.request() == b"NOOP\r\n"
    assert state(client) == (Phase.OWED, 0, 1, False)
    client.feed(b"250 OK")
    assert state(client) == (Phase.OWED, 0, 1, True)
    client.feed(b"\r\n")
    assert state(client) == (Phase.READY, 1, 1, False)
    assert client.goodbye() == b"QUIT\r\n"
    client.feed(b"221 bye\r\n")
    assert state(client) == (Phase.READY, 2, 2, False)


def test_without_an_opening_the_client_may_ask_at_once() -> None:
    client = ready(PING)
    assert client.request() == b"PING\r\n"
    client.feed(b"+PONG\r\n")
    assert client.goodbye() == b"BYE\r\n"
    assert state(client) == (Phase.READY, 1, 1, False)


def test_what_needs_no_answer_goes_out_with_what_follows() -> None:
    settings = ChatSettings(
        greeting=(Exchange("CONNECT {}"), Exchange("PING", expect=lines(b"^PONG"))),
        request=PING.request,
    )
    client = begun(settings)
    assert client.secured() == b"CONNECT {}\r\nPING\r\n"
    client.feed(b"PONG\r\n")
    assert phase(client) is Phase.READY
    assert client.goodbye() is None


def test_a_banner_in_the_segment_that_ends_the_handshake_is_kept() -> None:
    """In TLS 1.2 the server's Finished and its banner may come in one read."""
    settings = ChatSettings(
        greeting=(Exchange(expect=lines(b"^220 ")), Exchange("EHLO", expect=lines(b"^250 "))),
        request=SMTP.request,
    )
    client = begun(settings)
    assert client.feed(b"220 early\r\n") == b""
    assert client.secured() == b"EHLO\r\n"
    client.feed(b"250 hello\r\n")
    assert phase(client) is Phase.READY


@pytest.mark.parametrize("more", [b"250 injected\r\n", b"2"])
def test_plain_words_behind_the_agreement_are_not_taken_into_tls(more: bytes) -> None:
    client = opened(SMTP)
    client.feed(b"220 a\r\n250 b\r\n")
    client.feed(b"220 go ahead\r\n" + more)
    assert phase(client) is Phase.FAILED
    assert client.failure is not None
    assert "went on in plain text" in client.failure


# -- refusals and failures -------------------------------------------------------------------------


def test_a_refusal_is_told_in_the_servers_words_made_safe() -> None:
    client = opened(SMTP)
    client.feed(b"220 a\r\n")
    client.feed(b"250-b\r\n250 c\r\n")
    client.feed(b"454 no \x1b[31mTLS\r\n")
    assert phase(client) is Phase.FAILED
    assert client.failure == r"the server refused 'STARTTLS': 454 no \x1b[31mTLS"
    assert client.hint == "switch it on"


def test_a_refused_banner_is_a_refused_connection() -> None:
    client = opened(SMTP)
    client.feed(b"554 no\r\n")
    assert client.failure == "the server refused the connection: 554 no"


def test_a_refused_login_hints_at_the_options_and_keeps_the_secret() -> None:
    client = begun(SMTP, Login(user="me", password="secret"))
    client.secured()
    client.feed(b"250 hello\r\n")
    client.feed(b"535 no\r\n")
    assert client.failure == "the server refused 'AUTH PLAIN {plain}': 535 no"
    assert client.hint is not None
    assert "--password-env" in client.hint
    assert "secret" not in repr(client._script)


def test_a_refused_request_fails() -> None:
    client = ready(PING)
    client.request()
    client.feed(b"-NOAUTH log in\r\n")
    assert client.failure == "the server refused 'PING': -NOAUTH log in"
    assert client.feed(b"+PONG\r\n") == b""
    assert client.answered == 0


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"", "the connection was whole"),
        (b"busy\r\n", "the connection was whole; it said: busy"),
        (b"220 hi\r\n421 \xff", r"'EHLO us' was whole; it said: 421 \xff"),
    ],
)
def test_an_end_during_the_opening_is_a_failure(said: bytes, told: str) -> None:
    client = opened(SMTP)
    client.feed(said)
    client.ended()
    assert client.failure == f"the server closed before its answer to {told}"


def test_an_end_later_is_none() -> None:
    client = ready(PING)
    client.request()
    client.feed(b"+PO")
    client.ended()
    assert state(client) == (Phase.OWED, 0, 1, True)


@pytest.mark.parametrize(
    "flood", [b"x" * (LONGEST + 1), b"\n" * MOST_LINES, b"a line\n" * MOST_LINES]
)
def test_an_answer_without_an_end_is_given_up(flood: bytes) -> None:
    client = ready(PING)
    client.request()
    client.feed(flood)
    assert phase(client) is Phase.FAILED
    assert client.failure is not None
    assert len(client.failure) < 400


def test_what_nothing_waits_for_is_ignored_and_not_kept() -> None:
    client = ready(PING)
    client.feed(b"PING\r\n" * MOST_LINES * 2 + b"x" * (LONGEST * 2))
    assert state(client) == (Phase.READY, 0, 0, False)
    assert len(client._unfinished) <= LONGEST
    client.feed(b"\n")
    client.request()
    client.feed(b"+PONG\r\n")
    assert state(client) == (Phase.READY, 1, 1, False)


# -- answers -------------------------------------------------------------------------------------


def test_answers_meet_their_requests_in_order() -> None:
    client = ready(ChatSettings(request=SMTP.request, goodbye=SMTP.goodbye))
    client.request()
    client.request()
    client.goodbye()
    client.feed(b"250 one\r\n250 tw")
    assert state(client) == (Phase.OWED, 1, 3, True)
    client.feed(b"o\r\n221 bye\r\n")
    assert state(client) == (Phase.READY, 3, 3, False)


def test_a_withdrawn_request_is_not_waited_for() -> None:
    client = ready(PING)
    client.request()
    client.request()
    client.withdraw()
    client.feed(b"+PONG\r\n")
    assert state(client) == (Phase.READY, 1, 1, False)


@pytest.mark.parametrize(
    ("expect", "answer"),
    [
        (rb"^\$\d+\r\n.*\r\n", b"$5\r\nhello\r\n"),
        (rb"^a3 OK", b"* 4 EXISTS\r\n* a3 OK not yet\r\na3 OK done\r\n"),
        (rb"^\.\r\n", b"+OK\r\nTOP\r\n..\r\n.\r\n"),
        (rb"^211 ", b"211-Features:\r\n 211 UTF8\r\n211 End\r\n"),
    ],
)
def test_answers_of_many_lines_are_whole_with_the_last(expect: bytes, answer: bytes) -> None:
    settings = ChatSettings(request=Exchange("?", expect=lines(expect)))
    client = ready(settings)
    client.request()
    client.feed(answer[:-1])
    assert state(client) == (Phase.OWED, 0, 1, True)
    client.feed(answer[-1:])
    assert state(client) == (Phase.READY, 1, 1, False)


pieces = st.sampled_from([b"+PONG\r\n", b"+PO", b"NG", b"\r\n", b"\n", b"-ERR x\r\n", b"\xff", b""])


@given(st.lists(pieces), st.integers(0, 4))
def test_how_the_bytes_are_cut_does_not_matter(parts: list[bytes], requests: int) -> None:
    def heard(parts: list[bytes]) -> tuple[Phase, int, int, str | None]:
        client = ready(PING)
        for _ in range(requests):
            client.request()
        for part in parts:
            client.feed(part)
        return client.phase, client.answered, client.owed, client.failure

    stream = b"".join(parts)
    assert heard(parts) == heard([stream])
    assert heard([stream[i : i + 1] for i in range(len(stream))]) == heard([stream])


@given(st.lists(st.binary(max_size=40)))
def test_nothing_that_a_server_says_is_an_exception(parts: list[bytes]) -> None:
    client = opened(SMTP)
    for part in parts:
        client.feed(part)
    client.ended()
    assert client.failure is None or client.failure.isprintable()


# -- placeholders ----------------------------------------------------------------------------------


def sent(send: str, login: Login = NOBODY, defaults: Login = NOBODY) -> bytes:
    client = begun(ChatSettings(request=Exchange(send), defaults=defaults), login)
    client.secured()
    return client.request()


def test_values_come_from_the_command_line_then_from_the_profile() -> None:
    defaults = Login(user="anonymous", password="guest@")
    assert sent("{user} {password}", defaults=defaults) == b"anonymous guest@\r\n"
    assert sent("{user} {password}", Login(user="me"), defaults) == b"me guest@\r\n"
    assert sent("HOST {host}") == b"HOST host.example\r\n"
    assert sent("{password}", Login(password=""), defaults) == b"\r\n"


def test_a_value_between_quotes_cannot_leave_them() -> None:
    login = Login(user='a"b', password="\\")
    assert sent('a LOGIN "{user}" "{password}"', login) == b'a LOGIN "a\\"b" "\\\\"\r\n'
    assert sent('{"user":"{user}"}', login) == b'{"user":"a\\"b"}\r\n'


def test_other_braces_stay() -> None:
    assert sent('{"verbose":false} {} { user }') == b'{"verbose":false} {} { user }\r\n'


def test_bytes_that_are_no_utf_8_go_as_they_came() -> None:
    assert sent("{user}", Login(user="\udcff")) == b"\xff\r\n"
    login = sent("{plain}", Login(user="\udcff", password="ü"))
    assert b64decode(login) == b"\0\xff\0" + "ü".encode()


@pytest.mark.parametrize("template", ["{user}", '"{user}"', "{plain}"])
@pytest.mark.parametrize("evil", ["a\r\nQUIT", "a\nb", "a\0b", "\x1b", "\x85"])
def test_no_value_can_begin_a_line(template: str, evil: str) -> None:
    with pytest.raises(UsageError, match="control character"):
        sent(template, Login(user=evil, password="x"))


@pytest.mark.parametrize(
    ("template", "login", "missing", "option"),
    [
        ("{user}", Login(), "user", "--user"),
        ("{password}", Login(user="x"), "password", "--password-env"),
        ("{plain}", Login(user="x"), "password", "--password-env"),
        ("{database}", Login(), "database", "--database"),
    ],
)
def test_a_missing_value_names_its_option(
    template: str, login: Login, missing: str, option: str
) -> None:
    with pytest.raises(UsageError, match=f"needs a {missing}") as error:
        sent(template, login)
    assert error.value.hint is not None
    assert option in error.value.hint


def test_an_optional_exchange_is_left_out_for_a_stranger_but_not_by_halves() -> None:
    pop3 = ChatSettings(
        greeting=(
            Exchange("USER {user}", expect=lines(rb"^\+OK"), optional=True),
            Exchange("PASS {password}", expect=lines(rb"^\+OK"), optional=True),
            Exchange("DB {database}", expect=lines(rb"^\+OK"), optional=True),
        ),
        request=PING.request,
    )
    assert begun(pop3).secured() == b""
    assert begun(pop3, Login(database="1")).secured() == b"DB 1\r\n"
    client = begun(pop3, Login(user="me", password="pw"))
    assert client.secured() == b"USER me\r\n"
    assert client.feed(b"+OK\r\n") == b"PASS pw\r\n"
    with pytest.raises(UsageError, match="needs a password"):
        begun(pop3, Login(user="me"))


# -- the scripts that ship ------------------------------------------------------------------------


def shipped(name: str, login: Login = NOBODY) -> Chat:
    conversation = make_conversation(load_profile(name), "host.example", login)()
    assert isinstance(conversation, Chat)
    return conversation


def test_nats_speaks_in_plain_first_then_json() -> None:
    client = shipped("nats", Login(user='u"', password="p"))
    assert client.open() == b""
    client.feed(b'INFO {"server_id":"x","tls_required":true}\r\n')
    assert phase(client) is Phase.SECURE
    said = client.secured()
    assert said.startswith(b"CONNECT {")
    assert said.endswith(b'"user":"u\\"","pass":"p"}\r\nPING\r\n')
    client.feed(b"PING\r\nPONG\r\n")
    assert phase(client) is Phase.READY


def test_imap_says_goodbye_before_its_completion() -> None:
    client = shipped("imaps")
    client.secured()
    client.feed(b"* OK ready\r\n")
    client.goodbye()
    client.feed(b"* BYE Logging out\r\n")
    assert state(client) == (Phase.OWED, 0, 1, True)
    client.feed(b"a4 OK Logout completed.\r\n")
    assert state(client) == (Phase.READY, 1, 1, False)


def test_ftp_logs_in_as_anonymous() -> None:
    client = shipped("ftp")
    client.open()
    assert client.feed(b"220-Welcome\r\n220 to this server\r\n") == b"AUTH TLS\r\n"
    client.feed(b"234 go\r\n")
    assert client.secured() == b"USER anonymous\r\n"
    assert client.feed(b"331 password?\r\n") == b"PASS tlsprobe@\r\n"
    client.feed(b"230 in\r\n")
    assert phase(client) is Phase.READY


def test_redis_quotes_a_password() -> None:
    client = shipped("redis", Login(password='a"b'))
    assert client.secured() == b'AUTH "default" "a\\"b"\r\n'


def test_only_a_script_with_a_goodbye_has_one() -> None:
    def profile(settings: ChatSettings) -> Profile:
        return Profile(name="x", title="X", port=1, protocol="chat", settings=settings)

    assert has_goodbye(profile(SMTP))
    assert not has_goodbye(profile(ChatSettings()))
    assert not has_goodbye(load_profile("nats"))


def test_each_connection_has_a_number_and_letters_of_its_own() -> None:
    settings = ChatSettings(
        request=Exchange("SET key-{n} {random}", lines(rb"^OK")), goodbye=Exchange("QUIT {n}")
    )
    make = chat(settings, "h", NOBODY)
    first, second = make(), make()
    said = [one.request() for one in (first, second)]
    found = [re.fullmatch(rb"SET key-(\d) ([0-9a-f]{16})\r\n", words) for words in said]
    assert [one[1] for one in found if one] == [b"1", b"2"]
    assert len({one[2] for one in found if one}) == 2
    assert first.goodbye() == b"QUIT 1\r\n"  # the same on one connection
