"""Mail as it is stored or shown as source: the parts that people read, decoded.

A part that is there in two forms, as text and as HTML, is read once (RFC 2046 section 5.1.4); what
a mailer has broken because lines may flow is put together again (RFC 3676). Attached text is read
as well, what else is attached is named. A mailbox has several mails in a row.

Python's own library knows the structure of mail.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from email.message import Message
from email.parser import BytesParser
from typing import NamedTuple

MOST_BYTES = 32 << 20
"""Larger inputs are read as they are."""
_MOST_BOUNDARIES = 10_000
"""The same of lines that may begin another part: to take a million parts apart takes minutes."""

_FIELD = rb"[A-Za-z][\w-]{0,60}:[^\n]{0,4000}(?:\n[ \t][^\n]{0,4000}){0,200}\n"
_HEADER = re.compile(rb"\s{0,100}(?:From [^\n]{1,400}\n)?((?:" + _FIELD + rb"){1,300})\n")
_HAS_BODY = re.compile(
    rb"^Content-(?:Type: *(?:multipart/|text/|message/)|Transfer-Encoding:)", re.IGNORECASE | re.M
)
_FROM_A_PART = re.compile(rb"\s{0,100}--([^\s\"]{1,70})[ \t]*\nContent-[A-Za-z-]{1,30}:")
"""How the source of a mail begins of which somebody has shown the parts alone."""
_NEXT_MAIL = re.compile(rb"(?m)^(?=From [^\n]{1,400}\n[A-Za-z][\w-]{0,60}:)")
_HOLDS_PACKETS = "Flags [", "Seq=", ", length "
_SIGNATURE = "-- "


class Mail(NamedTuple):
    """What a mail says: its ``text`` as UTF-8, and ``notes`` on what was not read, or read once."""

    text: bytes
    notes: tuple[str, ...]


def is_mail(head: bytes) -> bool:
    """Whether an input that begins like this is a mail with a body to decode."""
    head = head.replace(b"\r\n", b"\n")
    if _FROM_A_PART.match(head):
        return True
    header = _HEADER.match(head)
    return header is not None and _HAS_BODY.search(header[1]) is not None


def read_mail(pieces: Iterable[bytes]) -> Mail | None:
    """What the mails of an input say; None where it is too large, or out of all order."""
    whole = bytearray()
    for piece in pieces:
        whole += piece
        if len(whole) > MOST_BYTES:
            return None
    if whole.count(b"\n--") > _MOST_BOUNDARIES:
        return None
    parts = _Parts()
    try:
        texts = [text for mail in _mails(bytes(whole)) for text in parts.texts(mail)]
    except (RecursionError, TypeError, ValueError, LookupError):
        return None  # the library trips over parameters of headers that nobody writes
    return Mail("\n\n".join(texts).encode("utf-8", "replace"), tuple(parts.notes()))


def _mails(whole: bytes) -> Iterator[Message]:
    whole = whole.replace(b"\r\n", b"\n").lstrip()
    found = _FROM_A_PART.match(whole)
    if found is not None:
        whole = b'Content-Type: multipart/mixed; boundary="' + found[1] + b'"\n\n' + whole
    for mail in _NEXT_MAIL.split(whole):
        if mail.strip():
            yield BytesParser().parsebytes(mail)


class _Parts:
    """Takes mails apart, and remembers what was not read."""

    def __init__(self) -> None:
        self._twice = 0
        self._left_out: Counter[str] = Counter()

    def notes(self) -> Iterator[str]:
        """What a reader of the result should know."""
        if self._twice:
            yield "it is a mail whose text is there as HTML, too: one of the two was read"
        if self._left_out:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self._left_out.most_common(5))
            yield f"left out of the mail: {kinds}; save what is attached, and explain that"

    def texts(self, part: Message) -> Iterator[str]:
        """The texts of a part and of all that is in it, in order."""
        if not part.is_multipart():
            yield from self._text(part)
            return
        within = [one for one in part.get_payload() if isinstance(one, Message)]
        kinds = [one.get_content_type() for one in within]
        if sorted(kinds) == ["text/html", "text/plain"] and not any(map(_is_attached, within)):
            self._twice += 1
            yield _better([_decoded(one) for one in sorted(within, key=_is_html)])
            return
        if part.get_content_subtype() == "alternative" and "text/plain" in kinds:
            self._twice += 1
            within = [within[kinds.index("text/plain")]]
        for one in within:
            yield from self.texts(one)

    def _text(self, part: Message) -> Iterator[str]:
        if part.get_content_maintype() == "text":
            yield _decoded(part)
        else:
            self._left_out[part.get_content_type()] += 1


def _is_attached(part: Message) -> bool:
    return part.get_content_disposition() == "attachment"


def _is_html(part: Message) -> bool:
    return part.get_content_subtype() == "html"


def _better(texts: list[str]) -> str:
    """The first that holds packets: the plain text may only say that there is HTML."""
    return next((text for text in texts if any(word in text for word in _HOLDS_PACKETS)), texts[0])


def _decoded(part: Message) -> str:
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    try:
        text = data.decode(part.get_content_charset() or "utf-8", "replace")
    except (LookupError, UnicodeError, ValueError):
        text = data.decode("utf-8", "replace")
    flows = part.get_param("format")
    if isinstance(flows, str) and flows.lower() == "flowed":
        return _unflowed(text, deletes=part.get_param("delsp") == "yes")
    return text


def _unflowed(text: str, *, deletes: bool) -> str:
    """Each paragraph on one line, behind its quotation marks; ``deletes``: without the last blank.

    Source: RFC 3676 section 4.4.
    """
    lines: list[str] = []
    flowing: str | None = None
    for line in text.splitlines():
        bare = line.lstrip(">")
        quotes = line[: len(line) - len(bare)]
        bare = bare.removeprefix(" ")
        if flowing == quotes and bare != _SIGNATURE:
            lines[-1] += bare
        else:
            lines.append(f"{quotes} {bare}" if quotes else bare)
        flowing = quotes if bare.endswith(" ") and bare != _SIGNATURE else None
        if flowing is not None and deletes:
            lines[-1] = lines[-1][:-1]
    return "\n".join(lines)
