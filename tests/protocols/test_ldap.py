from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.errors import UsageError
from tlsprobe.model.target import Login
from tlsprobe.model.trace import Remark, RemarkKind
from tlsprobe.protocols.conversation import Phase
from tlsprobe.protocols.ldap import LONGEST, START_TLS, Ldap, LdapSettings, ldap

ADMIN = Login(user="cn=admin,dc=example,dc=org", password="pencil")


def tlv(tag: int, content: bytes = b"") -> bytes:
    """In the long form, as OpenLDAP likes it; ours is the short one."""
    return bytes([tag, 0x84]) + len(content).to_bytes(4) + content


def result(tag: int, number: int, code: int = 0, words: bytes = b"") -> bytes:
    body = tlv(0x0A, bytes([code])) + tlv(0x04) + tlv(0x04, words)
    return tlv(0x30, tlv(0x02, number.to_bytes(1)) + tlv(tag, body))


def entry(number: int) -> bytes:
    return tlv(0x30, tlv(0x02, number.to_bytes(1)) + tlv(0x64, tlv(0x04) + tlv(0x30)))


def bound(number: int = 1, code: int = 0, words: bytes = b"") -> bytes:
    return result(0x61, number, code, words)


def done(number: int, code: int = 0) -> bytes:
    return result(0x65, number, code)


def extended(number: int, code: int = 0, words: bytes = b"") -> bytes:
    return result(0x78, number, code, words)


def new(*, starttls: bool = False, login: Login | None = None) -> Ldap:
    return ldap(LdapSettings(starttls=starttls), login or Login())()


def asked_for_tls() -> Ldap:
    session = new(starttls=True)
    session.open()
    return session


def binding() -> Ldap:
    session = new(login=ADMIN)
    session.secured()
    return session


def ready() -> Ldap:
    session = new()
    assert session.secured() == b""
    return session


def feed(session: Ldap, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        assert session.feed(piece) == b""


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def phase(session: Ldap) -> Phase:
    # A call, so that mypy does not take the phase for what it was asserted to be before.
    return session.phase


def state(session: Ldap) -> tuple[object, ...]:
    return session.phase, session.answered, session.owed, session.partial, session.failure


# -- StartTLS --------------------------------------------------------------------------------------


def test_asks_for_tls() -> None:
    session = new(starttls=True)
    assert phase(session) is Phase.PLAIN
    assert session.open() == b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16" + START_TLS
    feed(session, bytewise(extended(1)))
    assert phase(session) is Phase.SECURE


def test_ldaps_asks_for_nothing() -> None:
    assert phase(new()) is Phase.SECURE
    assert new().open() == b""


def test_a_refusal_of_tls_is_told_with_the_mend() -> None:
    session = asked_for_tls()
    session.feed(extended(1, 2, b"unsupported \x1b[31m operation"))
    refusal = r"2 protocolError: unsupported \x1b[31m operation"
    assert session.failure == f"the server refused StartTLS: {refusal}"
    assert session.hint is not None
    assert "ldaps" in session.hint


def test_plain_bytes_behind_the_answer_are_not_taken_over_into_tls() -> None:
    session = asked_for_tls()
    session.feed(extended(1) + done(1))
    assert phase(session) is Phase.FAILED


def test_an_end_in_place_of_an_answer_is_a_failure() -> None:
    plain, bind = asked_for_tls(), binding()
    plain.ended()
    bind.feed(extended(0, 52, b"shutting down"))
    bind.ended()
    assert plain.failure is not None and "StartTLS" in plain.failure
    assert bind.failure is not None and "52 unavailable: shutting down" in bind.failure


# -- the bind --------------------------------------------------------------------------------------


def test_nobody_binds_without_a_user() -> None:
    assert phase(ready()) is Phase.READY


def test_a_user_binds() -> None:
    session = new(login=ADMIN)
    name = b"cn=admin,dc=example,dc=org"
    bind = b"\x02\x01\x03" + b"\x04\x1a" + name + b"\x80\x06pencil"
    assert session.secured() == b"\x30\x2c\x02\x01\x01\x60\x27" + bind
    assert phase(session) is Phase.GREETING
    feed(session, bytewise(bound()))
    assert phase(session) is Phase.READY


def test_a_refused_bind_is_told_with_the_mend() -> None:
    session = binding()
    session.feed(bound(1, 49))
    assert session.failure == "the server refused the bind: 49 invalidCredentials"
    assert session.hint is not None
    assert "--password-env" in session.hint


def test_a_user_without_a_password_is_a_mistake() -> None:
    with pytest.raises(UsageError) as wrong:
        new(login=Login(user="cn=admin"))
    assert wrong.value.hint is not None
    assert "--password-env" in wrong.value.hint


def test_the_password_does_not_show() -> None:
    assert "pencil" not in repr(binding()._script)


# -- searches --------------------------------------------------------------------------------------


def test_a_search_of_the_root_dse_is_answered_when_it_is_done() -> None:
    session = ready()
    fields = b"\x04\0\x0a\x01\0\x0a\x01\0\x02\x01\0\x02\x01\0\x01\x01\0\x87\x0bobjectClass\x30\0"
    assert session.request() == b"\x30\x25\x02\x01\x01\x63\x20" + fields
    feed(session, bytewise(entry(1) + done(1)[:-1]))
    assert state(session) == (Phase.OWED, 0, 1, True, None)
    session.feed(done(1)[-1:])
    assert state(session) == (Phase.READY, 1, 1, False, None)


def test_an_error_is_an_answer_too() -> None:
    session = ready()
    session.request()
    session.feed(done(1, 50))
    assert state(session) == (Phase.READY, 1, 1, False, None)


def test_each_search_has_its_own_number() -> None:
    session = ready()
    for _ in range(300):
        session.request()
    session.feed(entry(2) + done(2) + done(2) + done(77) + entry(9))
    assert state(session) == (Phase.OWED, 2, 300, True, None)
    assert session.request().startswith(b"\x30\x26\x02\x02\x01\x2d")


def test_the_goodbye_owes_nothing() -> None:
    session = ready()
    assert session.goodbye() == b"\x30\x05\x02\x01\x01\x42\x00"
    assert state(session) == (Phase.READY, 0, 0, False, None)


def test_a_notice_of_disconnection_is_remarked() -> None:
    session = ready()
    session.feed(extended(0, 52, b"shutting down"))
    session.ended()
    said = "notice of disconnection: 52 unavailable: shutting down"
    assert session.remarks == [Remark(RemarkKind.NOTICE_OF_DISCONNECTION, said)]
    assert state(session) == (Phase.READY, 0, 0, False, None)


@pytest.mark.parametrize(
    "absurd",
    [
        b"\x30\x84" + (LONGEST + 1).to_bytes(4),
        b"\x30\x80",
        b"\x30\x85\0\0\0\0\x01",
        b"\x30\xff",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x30\x02\x02\x01",
        b"\x30\x00",
        b"\x30\x03\x02\x7f\x01",
    ],
)
@pytest.mark.parametrize("make", [asked_for_tls, binding, ready])
def test_absurd_messages_fail(absurd: bytes, make: Callable[[], Ldap]) -> None:
    session = make()
    session.feed(absurd)
    assert phase(session) is Phase.FAILED
    assert session.failure is not None
    assert session.failure.isprintable()
    assert session.hint
    session.feed(bound() + done(1))
    assert session.answered == 0


def test_many_small_elements_cost_no_more_than_few() -> None:
    session = ready()
    session.request()
    session.feed(tlv(0x30, b"\x02\x01\x01\x64\x00" + b"\x05\x00" * 500_000))
    assert state(session) == (Phase.OWED, 0, 1, True, None)


MESSAGES = st.sampled_from([entry(1), done(1), done(2), bound(), extended(1), extended(0, 52)])


@given(st.lists(MESSAGES, max_size=6), st.sampled_from([asked_for_tls, binding, ready]), st.data())
def test_how_the_bytes_are_cut_does_not_matter(
    messages: list[bytes], make: Callable[[], Ldap], data: st.DataObject
) -> None:
    # What follows the consent to TLS is a failure at once or a moment later, as it arrives.
    stream = b"".join(m for m in messages if make is not asked_for_tls or m != extended(1))
    stream = stream[: data.draw(st.integers(0, len(stream)))]
    whole, cut = make(), make()
    for session in (whole, cut):
        session.request()
        session.request()
    feed(whole, [stream])
    feed(cut, bytewise(stream))
    assert state(whole) == state(cut)
    assert whole.remarks == cut.remarks


ELEMENTS = st.recursive(
    st.builds(tlv, st.integers(0, 255), st.binary(max_size=6)),
    lambda inner: st.builds(
        lambda tag, parts: tlv(tag, b"".join(parts)), st.integers(0, 255), st.lists(inner)
    ),
    max_leaves=6,
).map(lambda element: b"\x30" + element[1:])


@given(
    st.lists(st.binary(max_size=40) | ELEMENTS | MESSAGES),
    st.sampled_from([asked_for_tls, binding, ready]),
)
def test_nothing_a_server_says_raises(pieces: list[bytes], make: Callable[[], Ldap]) -> None:
    session = make()
    for piece in pieces:
        assert session.feed(piece) == b""
        session.request()
    session.ended()
    assert session.failure is None or session.failure.isprintable()
    assert all(remark.text.isprintable() for remark in session.remarks)
