"""The bytes of profiles written for ``raw``: their lengths are right, and answers are known."""

from __future__ import annotations

import struct

from tlsprobe.profiles import load_profile
from tlsprobe.protocols.conversation import Phase
from tlsprobe.protocols.raw import Raw, RawSettings, raw


def asked(profile: str) -> tuple[bytes, Raw]:
    settings = load_profile(profile).settings
    assert isinstance(settings, RawSettings)
    conversation = raw(settings)()
    conversation.secured()
    return conversation.request(), conversation


def test_kafka_is_asked_for_its_versions() -> None:
    request, conversation = asked("kafka")
    size, key, version, number = struct.unpack_from(">ihh4s", request)
    assert (size, key, version, number) == (len(request) - 4, 18, 0, b"tlsp")
    (length,) = struct.unpack_from(">h", request, 12)
    assert request[14:] == b"tlsprobe" == request[-length:]
    body = b"tlsp" + struct.pack(">hi", 0, 2) + struct.pack(">hhhhhh", 0, 0, 9, 18, 0, 3)
    conversation.feed(struct.pack(">i", len(body)) + body)
    assert (conversation.phase, conversation.answered) == (Phase.READY, 1)


def test_mongodb_is_pinged() -> None:
    request, conversation = asked("mongodb")
    size, number, answers, code, flags, kind = struct.unpack_from("<i4siiIB", request)
    assert (size, number, answers, code, flags, kind) == (len(request), b"tlsp", 0, 2013, 0, 0)
    document = request[21:]
    assert struct.unpack_from("<i", document) == (len(document),)
    assert document.endswith(b"\x02$db\x00\x06\x00\x00\x00admin\x00\x00")
    reply = b"\x01ok\x00" + struct.pack("<d", 1.0) + b"\x00"
    reply = struct.pack("<i", len(reply) + 4) + reply
    head = struct.pack("<i4s4siIB", 21 + len(reply), b"srv1", b"tlsp", 2013, 0, 0)
    conversation.feed(head[:9])
    assert conversation.phase is Phase.OWED
    conversation.feed(head[9:] + reply)
    assert (conversation.phase, conversation.answered) == (Phase.READY, 1)
