"""Ports that a text names."""

from __future__ import annotations

import socket

import pytest

from tests.captures.pasting import PLAIN, read
from tlsprobe.captures import printed_values
from tlsprobe.captures.reading import CaptureUnreadable
from tlsprobe.captures.services import SERVICE_PORTS, port_of_service
from tlsprobe.packets.packet import text

LIST = (
    "1 0.0 192.0.2.7 > 198.51.100.9 TCP 66 40000 > {0} [SYN] Seq=0 Win=1 Len=0\n"
    "2 0.1 198.51.100.9 > 192.0.2.7 TCP 54 {0} > 40000 [RST, ACK] Seq=1 Ack=1 Win=0 Len=0\n"
)


@pytest.mark.parametrize(
    ("name", "port"), [("pgbouncer", 6432), ("https-alt", 8443), ("XmlIpcRegSvc", 9092)]
)
def test_names_that_this_machine_may_not_have(name: str, port: int) -> None:
    _, found = read("\n".join(PLAIN).replace("5432", name))
    assert {text(p.src) for p in found} == {"192.0.2.1:40000", f"192.0.2.2:{port}"}
    _, found = read(LIST.format(name))
    assert {p.src[1] for p in found} == {40000, port}


def test_the_table_of_this_machine_is_asked_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getservbyname", lambda name, _: len(name))
    printed_values.port_of.cache_clear()
    assert (printed_values.port_of("ours"), printed_values.port_of("https")) == (4, 443)
    printed_values.port_of.cache_clear()


def test_a_name_nobody_knows_is_shown_where_the_line_needs_its_number() -> None:
    with pytest.raises(CaptureUnreadable, match="'nobodys-service' is no port") as caught:
        read(LIST.format("nobodys-service"))
    assert "tshark -n" in str(caught.value.hint)
    reading, found = read(LIST.format("443") + LIST.format("nobodys-service"))
    assert (len(found), reading.skipped) == (2, 2)
    assert "'nobodys-service'" in str(reading.first_skipped)


def test_a_port_that_clients_have_makes_nobody_a_server() -> None:
    assert port_of_service("commplex-main") not in SERVICE_PORTS
