"""Seeded faults: what each server does wrong, when, and the shortest close that shows it.

Every one is polite but for its fault, which shows only in the order, size, time, TLS version or
crowd that its row names.
"""

from __future__ import annotations

from tests.fuzz.faults.alerts import ALERTS, LEAKS
from tests.fuzz.faults.circumstances import CIRCUMSTANCES
from tests.fuzz.faults.handshakes import DEATHS, HANDSHAKES
from tests.fuzz.faults.neighbours import NEIGHBOURS, READINGS
from tests.fuzz.faults.orders import ORDERS
from tests.fuzz.faults.sizes import SIZES

_KINDS = (ORDERS, SIZES, CIRCUMSTANCES, HANDSHAKES, DEATHS, ALERTS, LEAKS, NEIGHBOURS, READINGS)

FAULTS = {fault.name: fault for kind in _KINDS for fault in kind}
"""All of them by name, kind by kind."""
