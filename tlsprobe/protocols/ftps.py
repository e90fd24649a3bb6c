"""FTP's data connections over TLS (RFC 4217): a file each way, and what the server says of it.

A data connection has no words of its own. It is asked for on the control connection, by a command
whose answer comes when the transfer is over: 226 if the server took it for whole, else 4yz or 5yz.
An upload ends when the client ends it, a download or a listing when the server does. Nothing in
between tells an end from a truncation but the close_notify.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from tlsprobe.keys import Key, a_flag, a_login, a_text
from tlsprobe.model.profile import ProtocolSettings
from tlsprobe.model.target import Login
from tlsprobe.model.trace import RemarkKind
from tlsprobe.protocols.chat import Chat, ChatSettings, Exchange, chat
from tlsprobe.protocols.conversation import Control, Conversation, Phase, escaped
from tlsprobe.protocols.differing import on_each
from tlsprobe.protocols.protocol import Protocol

CONTENT = b"tlsprobe was here\r\n" * 50
"""What is uploaded: less than a record holds."""

_COMMANDS = {"upload": "STOR", "download": "RETR", "list": "LIST"}
_OWN_NAME = "tlsprobe-{random}"
_ENDED = re.compile(rb"^[2-5]\d\d ", re.MULTILINE)
_PORT = re.compile(rb"\(\|\|\|(\d+)\|\)|\(\d+,\d+,\d+,\d+,(\d+),(\d+)\)")
_PROTECTED = "the server must protect data connections; vsftpd: force_local_data_ssl, ssl_enable"


def a_transfer(value: object) -> str:
    """What a data connection carries."""
    if isinstance(value, str) and value in _COMMANDS:
        return value
    raise ValueError(f"write one of {', '.join(_COMMANDS)}")


def a_path(value: object) -> str:
    """A path on the server, on one line."""
    path = a_text(value)
    if not path.isprintable():
        raise ValueError("leave out line ends and control characters")
    return path


@dataclass(frozen=True, slots=True)
class FtpsDataSettings(ProtocolSettings):
    """The ``[protocol]`` table."""

    transfer: Annotated[
        str, Key(a_transfer, "what is transferred: upload, download or list", required=True)
    ] = "list"
    path: Annotated[
        str | None,
        Key(
            a_path,
            "the file or folder, {random} in it is new each time; default of an upload: a name of "
            "its own, as anonymous in the folder incoming if there is one; deleted afterwards",
        ),
    ] = None
    pasv: Annotated[
        bool, Key(a_flag, "ask for the port with PASV, which older servers know, not with EPSV")
    ] = False
    reuse: Annotated[
        bool,
        Key(a_flag, "resume the session of the control connection, which many servers insist on"),
    ] = True
    defaults: Annotated[
        Login, Key(inside=a_login, help="who logs in, where the command line does not say")
    ] = field(default_factory=lambda: Login("anonymous", None, "tlsprobe@"))


class FtpControl(Control):
    """A control connection, for one transfer."""

    def __init__(self, talk: Chat, settings: FtpsDataSettings, path: str) -> None:
        self.talk: Chat = talk
        self.resumes = settings.reuse
        self.asks = settings.transfer != "upload"
        self._verb = _COMMANDS[settings.transfer]
        self._path = path
        self._is_asked = False

    @property
    def port(self) -> int:
        """The port that EPSV or PASV was answered with; the address is the server's anyway."""
        found = _PORT.search(self.talk.answer)
        assert found is not None, "no other answer ends the greeting"
        extended, high, low = found.groups()
        return int(extended) if extended else int(high) * 256 + int(low)

    def command(self) -> bytes:
        """STOR, RETR or LIST: RFC 959 has the server wait for the connection from here on."""
        self._is_asked = True
        return self.talk.request()

    @property
    def began(self) -> bool:
        """150 and the like, or a refusal."""
        return self._is_asked and bool(self.reply or self.talk.so_far)

    @property
    def reply(self) -> str:
        """The answer's last line, which says what became of the transfer."""
        if not self._is_asked or not self.talk.answered:
            return ""
        return escaped(self.talk.answer.strip().splitlines()[-1])

    @property
    def refusal(self) -> str | None:
        """A reply that is not 2yz."""
        if not self.reply or self.reply.startswith("2"):
            return None
        return f"the server refused {self._verb} {self._path}".strip() + f": {self.reply}"

    def farewell(self) -> bytes:
        """Nothing of an upload is left behind."""
        delete = f"DELE {self._path}\r\n" if self._verb == "STOR" else ""
        return delete.encode() + (self.talk.goodbye() or b"")


class FtpsData(Conversation):
    """A data connection. What is asked of it was asked on the control connection."""

    def __init__(self, control: FtpControl) -> None:
        super().__init__()
        self.control = control
        self._is_upload = not control.asks
        self._begun = False
        self._is_over = False

    def secured(self) -> bytes:
        """A download has been asked for; an upload owes nothing here, but on the other one."""
        self.phase = Phase.READY
        if not self._is_upload:
            self.remark(RemarkKind.CLOSE_IMPLIED, "a file that ends with the connection")
            self.owe()
            self.partial = self._begun
            if self._is_over:
                self.settle()
        return b""

    def feed(self, data: bytes) -> bytes:
        """Some of the file; it may come with the end of the handshake."""
        self._begun = self._begun or bool(data)
        self.partial = self._begun and self.phase is Phase.OWED
        return b""

    def ended(self) -> None:
        """The file is whole, for the server has said that it ends here."""
        self._is_over = True
        if self.phase is Phase.OWED:
            self.settle()

    def request(self) -> bytes:
        """The file that is uploaded."""
        return CONTENT if self._is_upload else b""


def ftps_data(settings: FtpsDataSettings, host: str, login: Login) -> Callable[[], FtpsData]:
    """Data connections, each with a control connection of its own.

    Raises UsageError for a login that no line can hold.
    """
    is_upload = settings.transfer == "upload"
    is_incoming = is_upload and settings.path is None and login.user is None
    named = settings.path or (_OWN_NAME if is_upload else "")

    def make(own: dict[str, str]) -> FtpsData:
        path = named.replace("{random}", own["random"])
        talk = chat(_script(settings, path, is_incoming=is_incoming), host, login)()
        return FtpsData(FtpControl(talk, settings, path))

    return on_each(make)


def _script(settings: FtpsDataSettings, path: str, *, is_incoming: bool) -> ChatSettings:
    """What is said on the control connection (RFC 4217 section 4, RFC 2428).

    ``is_incoming``: in the folder where strangers may write, if the server has one.
    """
    command = f"{_COMMANDS[settings.transfer]} {path}".strip()
    refused = re.compile(rb"^[45]\d\d ", re.MULTILINE)

    def ask(send: str | None, expect: str, hint: str | None = None) -> Exchange:
        return Exchange(send, re.compile(expect.encode(), re.MULTILINE), refused, hint)

    return ChatSettings(
        plain=(
            ask(None, r"^220 "),
            ask("AUTH TLS", r"^234 ", "the server must do TLS; vsftpd: ssl_enable=YES"),
        ),
        greeting=(
            ask("USER {user}", r"^(230|331) "),
            ask("PASS {password}", r"^2\d\d "),
            ask("PBSZ 0", r"^2\d\d "),
            ask("PROT P", r"^2\d\d ", _PROTECTED),
            ask("TYPE I", r"^2\d\d "),
            *([Exchange("CWD incoming", _ENDED)] if is_incoming else []),
            ask("PASV", r"^227 .*\(\d") if settings.pasv else ask("EPSV", r"^229 .*\(\|"),
        ),
        request=Exchange(command, _ENDED),
        goodbye=Exchange("QUIT"),
        defaults=settings.defaults,
    )


FTPS_DATA = Protocol(
    "ftps",
    "FTP's data connections: a file each way, asked for on a control connection",
    FtpsDataSettings,
    lambda settings, peer: ftps_data(settings, peer.host, peer.login),
    has_goodbye=lambda _: False,
)
