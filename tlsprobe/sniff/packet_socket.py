"""Opens the packet socket: the only importer of the packet library, and of as little as opens one.

All of the library costs a quarter of a second in each run: it reads databases of network cards and
of services, loads its cryptography, and looks for plug-ins. The module with the socket is therefore
imported without the package around it and with those databases empty. Should a version of the
library not bear that, it is imported as it comes.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import IO, Protocol, Self, cast

_LIBRARY = "scapy"
_WANTED = ("scapy.arch.linux", "scapy.config", "scapy.interfaces", "scapy.packet")
_UNWANTED = ("cryptography",)
_EVERY_PROTOCOL = 0x0003
"""``ETH_P_ALL``."""


class Listening(Protocol):
    """What the library opened; ``ins`` is the socket itself, open as long as this is."""

    ins: socket.socket

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_packet_socket(interface: str) -> Listening:
    """A listening socket for all frames of an interface. Raises OSError."""
    sockets, config, interfaces, packets = _modules()
    # It warns of link types without a layer. Nothing is dissected here: any layer does.
    config.conf.default_l2 = packets.Raw
    logging.getLogger(_LIBRARY).setLevel(logging.ERROR)
    # Asked for one by its name, it looks at every interface and address of the machine first.
    names = dict.fromkeys(("name", "network_name"), interface)
    given = interfaces.NetworkInterface(interfaces.InterfaceProvider(), names)
    opened = sockets.L2ListenSocket(iface=given, promisc=False, nofilter=1)
    return cast(Listening, opened)


class _Cooked:
    """A socket for all interfaces at once, which the library cannot open."""

    def __init__(self) -> None:
        # Datagrams: each packet begins with its IP header, whatever the interface puts before it.
        everything = socket.htons(_EVERY_PROTOCOL)
        self.ins = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, everything)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ins.close()


def open_cooked_socket() -> Listening:
    """A socket for the packets of all interfaces, without link headers. Raises OSError."""
    return _Cooked()


@cache
def _modules() -> list[ModuleType]:
    """Of the library, what opening a socket takes."""
    try:
        with _little_around():
            return [importlib.import_module(name) for name in _WANTED]
    except Exception:  # whatever its next version trips over
        for name in [n for n in sys.modules if n.partition(".")[0] == _LIBRARY]:
            del sys.modules[name]
        return [importlib.import_module(name) for name in _WANTED]


@contextmanager
def _little_around() -> Iterator[None]:
    """While this lasts the library finds no cryptography, and is imported without its databases."""
    hidden = {name: sys.modules.get(name) for name in _UNWANTED}
    sys.modules.update(dict.fromkeys(_UNWANTED))  # type: ignore[arg-type] # None: not to be had
    try:
        _unexecuted(f"{_LIBRARY}.arch")
        sys.modules[f"{_LIBRARY}.libs.bluetoothids"] = _module("bluetoothids", DATA={})
        data = _unexecuted(f"{_LIBRARY}.data", open=_open_nothing)
        assert data.__spec__ is not None
        assert data.__spec__.loader is not None
        data.__spec__.loader.exec_module(data)
        yield
    finally:
        for name, module in hidden.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def _unexecuted(name: str, **given: object) -> ModuleType:
    """A module that counts as imported, and whose code has not run."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    vars(module).update(given)
    sys.modules[name] = module
    return module


def _module(name: str, **given: object) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(given)
    return module


def _open_nothing(_file: object, mode: str = "r", **_: object) -> IO[bytes] | IO[str]:
    """In place of ``open``: every database is empty."""
    return io.BytesIO() if "b" in mode else io.StringIO()
