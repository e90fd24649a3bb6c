"""FTP's data connections: what is said to ask for one, and what its end means."""

from __future__ import annotations

import re

import pytest

from tlsprobe.errors import UsageError
from tlsprobe.model.target import Login
from tlsprobe.model.trace import RemarkKind
from tlsprobe.protocols.conversation import Phase
from tlsprobe.protocols.ftps import CONTENT, FtpControl, FtpsData, FtpsDataSettings, ftps_data

GREETED = (
    (b"220 welcome\r\n", b"AUTH TLS\r\n"),
    (b"234 go ahead\r\n", b""),
)
LOGGED_IN = (
    (b"331 who?\r\n", b"PASS tlsprobe@\r\n"),
    (b"230-hello\r\n230 in\r\n", b"PBSZ 0\r\n"),
    (b"200 ok\r\n", b"PROT P\r\n"),
    (b"200 ok\r\n", b"TYPE I\r\n"),
)


def asked(settings: FtpsDataSettings, port: bytes = b"229 ok (|||6446|)\r\n") -> FtpsData:
    """A data connection whose control connection has come to the port."""
    data = ftps_data(settings, "ftp.example", Login())()
    assert isinstance(data.control, FtpControl)
    talk = data.control.talk
    assert talk.open() == b""
    for words, answer in GREETED:
        assert talk.feed(words) == answer
    assert talk.secured() == b"USER anonymous\r\n"
    for words, answer in LOGGED_IN:
        assert talk.feed(words) == answer
    binary = b"200 binary\r\n"
    if settings.transfer == "upload" and settings.path is None:
        assert talk.feed(binary) == b"CWD incoming\r\n"
        binary = b"550 no such folder\r\n"
    passive = b"PASV\r\n" if settings.pasv else b"EPSV\r\n"
    assert talk.feed(binary) == passive
    assert talk.feed(port) == b""
    assert talk.phase is Phase.READY
    return data


def control_of(data: FtpsData) -> FtpControl:
    assert isinstance(data.control, FtpControl)
    return data.control


def test_the_port_is_the_one_of_epsv_or_of_pasv() -> None:
    extended = asked(FtpsDataSettings("list"))
    assert control_of(extended).port == 6446
    old = asked(FtpsDataSettings("list", pasv=True), b"227 ok (10,0,0,1,25,46)\r\n")
    assert control_of(old).port == 25 * 256 + 46  # where to, the server's address says


def test_an_upload_has_a_name_of_its_own_and_is_deleted() -> None:
    make = ftps_data(FtpsDataSettings("upload", "in/t-{random}"), "ftp.example", Login())
    commands = [control_of(make()).command() for _ in range(2)]
    assert len({*commands}) == 2
    found = re.fullmatch(rb"STOR (in/t-[0-9a-f]{16})\r\n", commands[0])
    assert found is not None
    control = control_of(make())
    name = control.command().removeprefix(b"STOR ")
    assert control.farewell() == b"DELE " + name + b"QUIT\r\n"
    assert not control.asks


@pytest.mark.parametrize(
    ("settings", "command"),
    [(FtpsDataSettings("list"), b"LIST\r\n"), (FtpsDataSettings("download", "f"), b"RETR f\r\n")],
)
def test_what_is_fetched_is_asked_for_on_the_control_connection(
    settings: FtpsDataSettings, command: bytes
) -> None:
    data = asked(settings)
    control = control_of(data)
    assert control.asks
    assert control.command() == command
    assert control.farewell() == b"QUIT\r\n"
    assert data.request() == b""


def test_the_reply_is_the_last_line_and_not_the_beginning_of_the_transfer() -> None:
    control = control_of(asked(FtpsDataSettings("upload")))
    assert control.reply == ""  # the answer to EPSV is none to the transfer
    control.command()
    assert not control.began
    control.talk.feed(b"150 here it comes\r\n")
    assert (control.began, control.reply) == (True, "")
    control.talk.feed(b"226-well\r\n226 done\r\n")
    assert control.reply == "226 done"
    assert control.refusal is None


def test_a_refusal_names_what_was_refused() -> None:
    control = control_of(asked(FtpsDataSettings("upload", "f")))
    control.command()
    control.talk.feed(b"553 not here\r\n")
    assert control.refusal == "the server refused STOR f: 553 not here"


def test_an_upload_owes_nothing_on_the_data_connection() -> None:
    data = asked(FtpsDataSettings("upload"))
    assert data.secured() == b""
    assert data.request() == CONTENT
    assert (data.phase, data.owed, data.remarks) == (Phase.READY, 0, [])


def test_a_download_is_whole_once_the_server_says_that_it_ends() -> None:
    data = asked(FtpsDataSettings("list"))
    data.secured()
    assert [remark.kind for remark in data.remarks] == [RemarkKind.CLOSE_IMPLIED]
    data.feed(b"a file\r\n")
    assert (data.phase, data.answered, data.partial) == (Phase.OWED, 0, True)
    data.ended()
    assert (data.phase, data.answered, data.partial) == (Phase.READY, 1, False)


def test_a_download_may_come_whole_with_the_end_of_the_handshake() -> None:
    data = asked(FtpsDataSettings("list"))
    data.feed(b"a file\r\n")
    data.ended()
    data.secured()
    assert (data.phase, data.owed, data.answered) == (Phase.READY, 1, 1)


def test_a_password_that_no_line_can_hold_is_an_error_before_anything_is_opened() -> None:
    with pytest.raises(UsageError, match="control character"):
        ftps_data(FtpsDataSettings("list"), "ftp.example", Login("u", None, "a\r\nb"))
