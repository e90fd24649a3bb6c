"""What an adapter is: a protocol's client side without any I/O.

A conversation walks through four phases. In PLAIN it talks before TLS (PostgreSQL's SSLRequest,
SMTP's STARTTLS); in GREETING it talks inside TLS until the server would take a request; READY and
OWED then alternate. The driver carries bytes in both directions and looks at the phase, so a new
protocol never sees a socket, and a close can be put between any two bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from enum import Enum

from tlsprobe.model.trace import Remark, RemarkKind
from tlsprobe.model.verbs import Form

MOST_REMARKS = 32
"""How many remarks a conversation keeps: a server may repeat itself without end."""


class Phase(Enum):
    """Where a conversation stands."""

    PLAIN = "plain"
    SECURE = "secure"
    GREETING = "greeting"
    READY = "ready"
    OWED = "owed"
    FAILED = "failed"


class Control(ABC):
    """The connection that asks for another one: FTP's control connection, for a data connection.

    ``talk`` is its conversation, up to where the server has said to which ``port`` the other one
    goes. ``resumes``: the other one is to resume its session. ``asks``: what the server is to send
    over the other one is asked for here, so that its end answers us.
    """

    talk: Conversation
    resumes: bool
    asks: bool

    @property
    @abstractmethod
    def port(self) -> int:
        """Where the other connection goes; known once ``talk`` is READY."""

    @abstractmethod
    def command(self) -> bytes:
        """What has the other connection begin."""

    @property
    @abstractmethod
    def began(self) -> bool:
        """Whether the server has said that it begins, or that it does not."""

    @property
    @abstractmethod
    def reply(self) -> str:
        """What the server says of the other connection in the end; empty until it has."""

    @property
    @abstractmethod
    def refusal(self) -> str | None:
        """The same, with what was refused, if the server did not want it."""

    @abstractmethod
    def farewell(self) -> bytes:
        """What is said when the other connection is over."""


class Conversation(ABC):
    """One connection's worth of a protocol, from the client's side.

    ``phase`` is the state; ``failure`` and ``hint`` are sentences once it is FAILED. A peer that
    misbehaves is never an exception: what cannot be understood ends in FAILED.
    ``answered`` counts responses that arrived whole; ``partial`` says that one was begun.
    ``remarks`` are what the server said about the connection itself, in order: the first
    MOST_REMARKS. ``server_says`` is what it calls itself, safe to print, empty as long as it has
    not.
    """

    alpn: tuple[str, ...] = ()
    """What to offer in the handshake unless the user says otherwise."""

    control: Control | None = None
    """What is said on another connection, which asks for this one and tells where it goes."""

    def __init__(self) -> None:
        self.phase = Phase.SECURE
        self.failure: str | None = None
        self.hint: str | None = None
        self.answered = 0
        self.owed = 0
        self.partial = False
        self.remarks: list[Remark] = []
        self.server_says = ""

    def open(self) -> bytes:
        """The first plain bytes, for a conversation that begins in PLAIN.

        The driver feeds the plain answers until the phase is SECURE, then shakes hands.
        """
        return b""

    @abstractmethod
    def secured(self) -> bytes:
        """TLS is up: the first bytes inside it. Leaves the phase at GREETING or READY."""

    @abstractmethod
    def feed(self, data: bytes) -> bytes:
        """Take bytes from the server (plain in PLAIN, decrypted later); return bytes to send."""

    @abstractmethod
    def request(self) -> bytes:
        """One request; the server owes a response from here on (``owed`` counts them)."""

    def goodbye(self) -> bytes | None:
        """The protocol's own way to end the session, None where it has none."""
        return None

    def large(self) -> bytes | None:
        """A request whose response is large (1 MiB and more), None where nothing says how."""
        return None

    def upload(self) -> bytes | None:
        """A request with a large body that the server is likely to refuse before reading it."""
        return None

    def guarded(self) -> bytes | None:
        """A request that needs a client certificate, None where nothing says how."""
        return None

    @property
    def asks(self) -> Mapping[Form, Callable[[], bytes | None]]:
        """The requests of another form than the plain one."""
        return {Form.LARGE: self.large, Form.UPLOAD: self.upload, Form.GUARDED: self.guarded}

    def withdraw(self) -> None:
        """The newest request did not leave whole: no response is owed to it after all."""
        self.owed -= 1
        if self.owed <= self.answered and self.phase is Phase.OWED:
            self.phase = Phase.READY

    def ended(self) -> None:  # noqa: B027
        """The server's byte stream is over: a response that ends with it is now whole."""

    @property
    def so_far(self) -> str:
        """The beginning of an answer that is not whole, safe to print; empty if there is none."""
        return ""

    def named(self, words: bytes) -> None:
        """The server says what it is; the first time counts."""
        self.server_says = self.server_says or escaped(words.strip())

    def owe(self) -> None:
        """A request goes out: the server owes one response more."""
        self.owed += 1
        if self.phase is Phase.READY:
            self.phase = Phase.OWED

    def settle(self) -> None:
        """The oldest response owed is whole; READY again once all of them are."""
        self.answered += 1
        self.partial = False
        if self.answered >= self.owed and self.phase is Phase.OWED:
            self.phase = Phase.READY

    def remark(
        self,
        kind: RemarkKind,
        words: str,
        last_stream: int | None = None,
        error: int | None = None,
    ) -> None:
        """Keep something that the server said about the connection itself."""
        if len(self.remarks) < MOST_REMARKS:
            self.remarks.append(Remark(kind, escaped(words), last_stream, error))

    def fail(self, failure: str, hint: str | None = None) -> None:
        """Give up with a sentence. The first one wins."""
        if self.phase is not Phase.FAILED:
            self.phase, self.failure, self.hint = Phase.FAILED, failure, hint

    def went_on_in_plain(self, words: bytes | bytearray, hint: str | None = None) -> None:
        """Give up: behind its agreement to TLS the server said ``words`` outside of it.

        Somebody in the middle may have put them there, to be taken for what TLS protects
        (CVE-2011-0411 and its many siblings, CVE-2021-23222 in libpq).
        """
        failure = "the server went on in plain text after it had agreed to TLS"
        self.fail(f"{failure}: {escaped(words)}", hint)


def escaped(text: bytes | bytearray | str, limit: int = 200) -> str:
    r"""A peer's words made safe to print: one line, no control characters, ``limit`` at most.

    Bytes are read as UTF-8, and what is not is shown as ``\xNN``.
    """
    # Cut before and after: a megabyte is not escaped for the sake of its first two hundred.
    head = text[: limit + 1]
    words = head if isinstance(head, str) else head.decode("utf-8", "backslashreplace")
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
    return safe if len(safe) <= limit and len(text) <= limit else safe[: limit - 1] + "…"
