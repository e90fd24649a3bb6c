"""The kernel's routes as this machine has them."""

import ipaddress
import socket
from pathlib import Path

import pytest

from tlsprobe.packets import frames
from tlsprobe.sniff import route


@pytest.mark.parametrize("address", ["127.0.0.1", "127.3.2.1", "::1", "0.0.0.0", "::"])
def test_loopback(address: str) -> None:
    assert route.interface_to(address) == "lo"


def test_loopback_is_described() -> None:
    assert route.describe("lo") == route.Interface("lo", loopback=True, link=frames.ETHERNET)


def default_interface() -> str:
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        name, destination = line.split()[:2]
        if destination == "00000000":
            return name
    pytest.skip("this machine has no default route")


def test_the_default_route_leads_out_of_its_interface() -> None:
    assert route.interface_to("192.0.2.1") in {name for _, name in socket.if_nameindex()}
    name = default_interface()
    assert route.interface_to("9.9.9.9") == name
    assert not route.describe(name).loopback


def own_addresses() -> list[str]:
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("9.9.9.9", 53))
        found.append(asking.getsockname()[0])
    for line in Path("/proc/net/if_inet6").read_text().splitlines():
        hexed, _, _, scope, *_ = line.split()
        if scope == "00":
            found.append(str(ipaddress.ip_address(bytes.fromhex(hexed))))
    return found


def test_an_address_of_our_own_is_reached_through_loopback() -> None:
    default_interface()
    assert {route.interface_to(address) for address in own_addresses()} == {"lo"}


def test_a_scope_names_the_interface() -> None:
    assert route.interface_to("fe80::1%lo") == "lo"
    assert route.interface_to("fe80::1%1") == "lo"


def test_no_route_and_no_interface_are_os_errors() -> None:
    with pytest.raises(OSError):
        route.interface_to("240.0.0.1%nowhere99") and route.describe("nowhere99")


def test_addresses_as_they_travel() -> None:
    assert route.packed("::ffff:192.0.2.7") == bytes([192, 0, 2, 7])
    assert route.packed("0.0.0.0") == bytes([127, 0, 0, 1])
    assert route.packed("fe80::1%eth0") == ipaddress.ip_address("fe80::1").packed
    with pytest.raises(ValueError, match="does not appear"):
        route.packed("localhost")


def test_an_error_from_the_kernel_is_told_in_its_words() -> None:
    refusal = route._NETLINK_HEADER.pack(36, 2, 0, 1, 0) + (-101).to_bytes(4, "little", signed=True)
    with pytest.raises(OSError, match="unreachable"):
        route._interface_index(refusal + bytes(16))
