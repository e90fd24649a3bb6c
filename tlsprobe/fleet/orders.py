"""What the coordinator and its processes say to each other, over the pipes between them.

Both ends are our own and of one version: values are pickled, each behind its length.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from tlsprobe.campaign.settings import TargetSettings

_HEAD = struct.Struct("!I")
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Order:
    """Probe a target, and leave what comes of it in a folder.

    ``goes_on``: the folder holds a part of it already.
    """

    target: int
    settings: TargetSettings
    folder: Path
    typed: str
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """End everything, and keep what was measured."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An order is done: its folder holds a run, or else ``failure`` says why not."""

    target: int
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Lag:
    """The longest lag of the event loop since the last report, in seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Said:
    """A note of a probe, for whoever watches."""

    target: int
    note: str


Word = Order | Stop | Ended | Lag | Said


def packed(word: Word) -> bytes:
    """A word as it goes over a pipe."""
    body = pickle.dumps(word)
    return _HEAD.pack(len(body)) + body


async def words(pipe: trio.abc.ReceiveStream) -> AsyncIterator[Any]:
    """What comes out of a pipe, word by word, until the other end is gone."""
    data = b""
    while True:
        while len(data) < _HEAD.size or len(data) < _HEAD.size + _HEAD.unpack_from(data)[0]:
            more = await pipe.receive_some(_CHUNK)
            if not more:
                return
            data += bytes(more)
        end = _HEAD.size + _HEAD.unpack_from(data)[0]
        yield pickle.loads(data[_HEAD.size : end])
        data = data[end:]
