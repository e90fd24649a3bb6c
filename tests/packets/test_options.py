"""The options of a TCP header, and lists of them that are broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.packets.options import USUAL, USUAL_START, read_options


@pytest.mark.parametrize(
    ("options", "kinds", "scale"),
    [
        (b"", b"", None),
        (USUAL_START + bytes(8), USUAL, None),
        (b"\x02\x04\x05\xb4", b"\x02", None),
        (
            b"\x02\x04\x05\xb4\x04\x02\x08\x0a" + bytes(8) + b"\x01\x03\x03\x07",
            b"\x02\x04\x08\x01\x03",
            7,
        ),
        (b"\x01\x01\x05\x0a" + bytes(8), b"\x01\x01\x05", None),
        (b"\x00\x08\x0a\x00", b"\x00", None),
        (b"\x02\x00\x08\x0a", b"\x02", None),
        (b"\x03\x03", b"\x03", None),
        (b"\x08", b"\x08", None),
    ],
)
def test_kinds_in_their_order_up_to_where_the_list_breaks(
    options: bytes, kinds: bytes, scale: int | None
) -> None:
    assert read_options(options) == (kinds, scale)


@given(st.binary(max_size=40))
def test_any_bytes_are_read(options: bytes) -> None:
    kinds, _ = read_options(options)
    assert len(kinds) <= len(options)
