"""tlsfuzzer's scripts about alerts, aborts, new keys and resumption, on servers that are running.

    python -m tests.bench.beside_tlsfuzzer PYTHON CHECKOUT NAME=HOST:PORT...

PYTHON has tlslite-ng as tlsfuzzer names it, CHECKOUT is the repository of tlsfuzzer. Prints
the table of ``results/tlsfuzzer.md``: how many of a script's conversations passed, by server; then
what each server failed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

SCRIPTS = {
    "connection-abort": ("-d", "--repeat", "2", "-t", "2"),
    "tls13-connection-abort": ("--repeat", "2", "-t", "2"),
    "ssl-death-alert": ("-d",),
    "tls13-empty-alert": (),
    "tls13-unencrypted-alert": (),
    "tls13-keyupdate": ("-n", "20"),
    "tls13-record-padding": (),
    "tls13-zero-length-data": (),
    "zero-length-data": ("-d",),
    "sessionID-resumption": ("-d",),
    "tls13-session-resumption": (),
    "renegotiation-disabled": ("-d",),
}
"""Each with its options: what is drawn of many cases, and key exchanges that servers still have."""

_PATIENCE = 300
_COUNTS = re.compile(r"TOTAL: (\d+)\s.*?PASS: (\d+)\s", re.DOTALL)


class Ran(NamedTuple):
    """How many conversations of a script passed, and which did not."""

    passed: int
    total: int
    failed: tuple[str, ...]

    def __str__(self) -> str:
        """As a cell of the table."""
        return f"{self.passed} of {self.total}"


def ran(python: str, checkout: Path, script: str, host: str, port: str) -> Ran:
    """One script against one server."""
    file = checkout / "scripts" / f"test-{script}.py"
    done = subprocess.run(
        [python, file, "-h", host, "-p", port, *SCRIPTS[script]],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    counts = _COUNTS.search(done.stdout)
    failed = re.findall(r"^\t'(.*)'$", done.stdout, re.MULTILINE)
    total, passed = (int(counts[1]), int(counts[2])) if counts else (0, 0)
    return Ran(passed, total, tuple(sorted(set(failed))))


def main(python: str, checkout: str, *servers: str) -> None:
    """Run all, a script after the other, and print the table."""
    places = dict(server.split("=", 1) for server in servers)
    print(f"| script | {' | '.join(places)} |\n|---{'|---' * len(places)}|")
    failed: list[str] = []
    for script in SCRIPTS:
        row = []
        for name, place in places.items():
            found = ran(python, Path(checkout), script, *place.rsplit(":", 1))
            row.append(str(found))
            failed += [f"- {name}, {script}: {one}" for one in found.failed]
        print(f"| `{script}` | {' | '.join(row)} |", flush=True)
    print("\n" + "\n".join(failed))


if __name__ == "__main__":
    main(*sys.argv[1:])
