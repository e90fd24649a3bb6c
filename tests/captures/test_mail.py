"""Mail as it is stored: each trace once, however it was encoded, and nothing left out unsaid."""

from __future__ import annotations

import io
import textwrap
from email.message import EmailMessage
from email.policy import SMTP
from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.captures.pasting import PLAIN, facts
from tlsprobe.captures.mail import is_mail, read_mail
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.captures.reading import CaptureUnreadable

TRACE = "\n".join(PLAIN)
PAGE = f"<html><body><p>Hello,</p><pre>{escape(TRACE)}</pre></body></html>"
ENCODINGS = ["quoted-printable", "base64"]


def read(data: bytes) -> tuple[object, list[str]]:
    with open_capture_file(io.BytesIO(data)) as reading:
        return facts(list(reading.packets())), reading.notes


def mail(
    text: str = TRACE, encoding: str = "quoted-printable", kind: str = "plain"
) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "a@example.com"
    message.set_content(text, subtype=kind, cte=encoding)
    return message


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("kind", "text"), [("plain", TRACE), ("html", PAGE)])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_mail_says_what_was_pasted(encoding: str, kind: str, text: str, ends: str) -> None:
    data = mail(text, encoding, kind).as_bytes(policy=SMTP.clone(linesep=ends))
    assert read(data) == read(TRACE.encode())


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_that_is_there_as_html_too_is_read_once(encoding: str) -> None:
    both = mail(encoding=encoding)
    both.add_alternative(PAGE, subtype="html", cte=encoding)
    found, notes = read(both.as_bytes())
    assert found == read(TRACE.encode())[0]
    assert notes == ["it is a mail whose text is there as HTML, too: one of the two was read"]


def test_a_plain_text_that_only_points_to_the_html_is_not_the_one_that_is_read() -> None:
    both = mail("This mail is written in HTML.")
    both.add_alternative(PAGE, subtype="html")
    assert read(both.as_bytes())[0] == read(TRACE.encode())[0]


def test_of_a_mail_the_source_of_its_parts_is_enough() -> None:
    both = mail()
    both.add_alternative(PAGE, subtype="html")
    source = both.as_bytes()
    parts = source[source.index(b"\n\n--") + 2 :]
    assert parts.startswith(b"--")
    assert read(parts)[0] == read(TRACE.encode())[0]


def test_attached_text_is_read_and_what_else_is_attached_is_named() -> None:
    sent = mail("See what is attached.")
    sent.add_attachment(TRACE.encode(), maintype="text", subtype="plain", filename="trace.txt")
    sent.add_attachment(bytes(24), maintype="application", subtype="vnd.tcpdump.pcap", filename="a")
    found, notes = read(sent.as_bytes())
    assert found == read(TRACE.encode())[0]
    assert notes == [
        "left out of the mail: 1 application/vnd.tcpdump.pcap; save what is attached, and explain"
        " that"
    ]


def test_a_mail_of_which_only_a_capture_is_attached_says_to_save_it() -> None:
    sent = mail("See what is attached.")
    sent.add_attachment(bytes(24), maintype="application", subtype="octet-stream", filename="a")
    with pytest.raises(CaptureUnreadable) as refused:
        read(sent.as_bytes())
    assert "save what is attached" in (refused.value.hint or "")


def test_all_mails_of_a_mailbox_are_read() -> None:
    separator = b"From a@example.com Fri Nov 27 12:00:00 2026\n"
    halves = [mail("\n".join(half)).as_bytes() for half in (PLAIN[:2], PLAIN[2:])]
    assert read(b"".join(separator + half + b"\n" for half in halves)) == read(TRACE.encode())


@pytest.mark.parametrize("quote", ["", "> ", ">> "])
@pytest.mark.parametrize("deletes", [False, True])
def test_lines_that_flow_are_put_together_again(quote: str, deletes: bool) -> None:
    lines = []
    for line in PLAIN:
        pieces = textwrap.wrap(line, 60, break_long_words=False, break_on_hyphens=False)
        glue = "  " if deletes else " "
        lines += [f"{quote}{piece}{glue}" for piece in pieces[:-1]] + [f"{quote}{pieces[-1]}"]
    head = "Content-Type: text/plain; charset=us-ascii; format=flowed"
    text = f"{head}{'; delsp=yes' if deletes else ''}\n\n" + "\n".join(lines)
    whole = read_mail([text.encode()])
    assert whole is not None
    assert [line.lstrip("> ") for line in whole.text.decode().splitlines()] == PLAIN


@pytest.mark.parametrize(
    "text", [TRACE, "Note: of no kind\n\n" + TRACE, "GET / HTTP/1.1\nA: b\n\n"]
)
def test_what_is_no_mail_is_left_as_it_is(text: str) -> None:
    assert not is_mail(text.encode())


@pytest.mark.slow
def test_a_mail_that_is_built_to_take_for_ever_is_read_as_it_is() -> None:
    nested = "".join(
        f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(5000)
    )
    flood = "Content-Type: multipart/mixed; boundary=b\n\n" + "--b\n\nx\n" * 20_000
    for text in (nested, flood):
        assert is_mail(text.encode())
        assert read_mail([text.encode()]) is None


_ODD = [b"; charset*=utf-16''%ff", b"*0*=", b"''", b"\xff", b'"', b"\\", b"--", b"\n\n", b"\r"]


@given(
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(_ODD)), max_size=8),
    st.sampled_from([b"", b"x-uuencode", b"8bit"]),
)
def test_no_mail_makes_it_fail(changes: list[tuple[int, bytes]], encoding: bytes) -> None:
    both = mail()
    both.add_alternative(PAGE, subtype="html")
    data = both.as_bytes().replace(b"quoted-printable", encoding or b"quoted-printable")
    for at, odd in changes:
        data = data[:at] + odd + data[at:]
    read_mail([data])
