"""OpenSSL's memory BIOs: where a session takes its ciphertext from, and where it puts it."""

from __future__ import annotations

from typing import Any

from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

allocate = _ffi.new_allocator(should_clear_after_alloc=False)
"""A buffer for bytes that are to be written over anyway."""

_POINTER = _ffi.new("char **")  # where OpenSSL says where bytes are; nobody looks


def new_memory() -> Any:
    """A memory BIO; the session that takes it frees it."""
    memory = _lib.BIO_new(_lib.BIO_s_mem())
    if memory == _ffi.NULL:
        raise MemoryError
    return memory


def unread(memory: Any) -> int:
    """How many bytes are in it."""
    return int(_lib.BIO_get_mem_data(memory, _POINTER))


def taken(memory: Any) -> bytes:
    """Take all that is in it."""
    size = _lib.BIO_get_mem_data(memory, _POINTER)
    if not size:
        return b""
    buffer = allocate("char[]", size)
    return bytes(_ffi.buffer(buffer, _lib.BIO_read(memory, buffer, size)))
