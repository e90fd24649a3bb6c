"""What the coordinator and its processes say to each other, over the pipes between them.

Both ends are our own and of one version: values are pickled, each behind its length.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from tlsprobe.campaign.settings import TargetSettings

_HEAD = struct.Struct("!I")
CHUNK = 1 << 16
"""Bytes that are read from a pipe at a time."""


@dataclass(frozen=True, slots=True)
class Order:
    """Probe a target, and leave what comes of it in a folder.

    ``attempt`` counts from 1; ``goes_on``: the folder holds a part of it already.
    """

    target: int
    settings: TargetSettings
    folder: Path
    typed: str
    attempt: int = 1
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """End a target, or everything, and keep what was measured."""

    target: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """An order is done: its folder holds a run, or else ``failure`` says why not.

    ``no_room``: because the disk of whoever obeyed is full, of which the target knows nothing.
    """

    target: int
    failure: str = ""
    no_room: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """What was measured is lost, through no fault of the target; ``reason`` says how."""

    target: int
    reason: str


@dataclass(frozen=True, slots=True)
class Lag:
    """The longest lag of the event loop since the last report, in seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Said:
    """A note of a probe, for whoever watches."""

    target: int
    note: str


Word = Order | Stop | Ended | Lost | Lag | Said


def packed(word: Word) -> bytes:
    """A word as it goes over a pipe."""
    body = pickle.dumps(word)
    return _HEAD.pack(len(body)) + body


def unpacked(data: bytearray) -> Iterator[Any]:
    """The whole words at the beginning of what came out of a pipe; they are taken off."""
    while len(data) >= _HEAD.size:
        end = _HEAD.size + _HEAD.unpack_from(data)[0]
        if len(data) < end:
            return
        word = pickle.loads(data[_HEAD.size : end])
        del data[:end]
        yield word


async def words(pipe: trio.abc.ReceiveStream) -> AsyncIterator[Any]:
    """What comes out of a pipe, word by word, until the other end is gone."""
    data = bytearray()
    while more := await pipe.receive_some(CHUNK):
        data += more
        for word in unpacked(data):
            yield word
