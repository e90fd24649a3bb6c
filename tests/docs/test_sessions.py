"""Each command in a console block of ``docs/`` is run, and prints what the page says it prints.

What is compared are the words: verdicts, names, letters; numbers and times are not. A page shows
what comes of it on a quiet machine. A busy one may stop us, and then a run says so in other words:
such a page is tried again. It shows closes whose outcome is nobody's race. The tests that keep both
processors busy are over by then.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template

import pytest

from tests.children import child
from tests.docs.sessions import CAPTURE, DOCS, Typed, blocks, missing_part, session
from tests.e2e.probing import PATIENCE, tlsprobe
from tests.servers import Postgres

PAGES = [p for p in sorted(DOCS.rglob("*.md")) if any(b.language == "console" for b in blocks(p))]
TRIES = 5
"""Only a busy machine takes more than one."""

IN_SHELL = 'sudo() { "$@"; }\n'
"""Before each command: the tests are root, or need not be."""

BY_HAND = ("make install", "RUDE=", ".venv/bin/python -m tlsprobe.reference")
"""What readers type and tests have done already."""

pytestmark = [pytest.mark.packet_socket, pytest.mark.alone]


def name(page: Path) -> str:
    return str(page.relative_to(DOCS))


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, str]]:
    """The servers of ``python -m tlsprobe.reference``, as variables of a shell."""
    command = [sys.executable, "-m", "tlsprobe.reference", "rude", "lingering"]
    with child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        servers = json.loads(process.stdout.readline())
        yield {server.upper(): str(port) for server, port in servers.items()}
        process.stdin.close()  # they serve until their input ends


@pytest.fixture
def real(request: pytest.FixtureRequest, page: Path, tmp_path: Path) -> dict[str, str]:
    """What stands in a page for a server of the reader's, and what to put in its place."""
    if not any("db.example" in block.text for block in blocks(page)):
        return {}
    server: Postgres = request.getfixturevalue("postgres")
    for file, kept in ((server.ca, "ca.crt"), (server.cert, "client.crt")):
        shutil.copy(file, tmp_path / kept)
    shutil.copy(server.key, tmp_path / "client.key")
    return {
        "db.example:5432": f"127.0.0.1:{server.port}",
        "--user me": f"--user {server.cert_user}",
    }


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_each_command_prints_what_the_page_says(
    page: Path, ports: dict[str, str], real: dict[str, str], tmp_path: Path
) -> None:
    shutil.copy(CAPTURE, tmp_path / "trace.pcap")
    for block in blocks(page):
        if block.note.startswith("file: "):
            (tmp_path / block.note.removeprefix("file: ")).write_text(block.text)
    shown = [t for b in blocks(page) if b.language == "console" for t in session(b)]
    assert shown
    for tried in range(1, TRIES + 1):
        folder = tmp_path / str(tried)
        shutil.copytree(tmp_path, folder, ignore=shutil.ignore_patterns("[0-9]"))
        wrong = first_wrong(shown, folder, ports, real)
        if wrong is None:
            return
        print(f"try {tried}: {wrong}")
    pytest.fail(f"in none of {TRIES} tries")


def first_wrong(
    shown: list[Typed], folder: Path, ports: dict[str, str], real: dict[str, str]
) -> str | None:
    """What is printed otherwise than a page shows; None if nothing is."""
    code = 0
    for typed in shown:
        if typed.command.startswith(BY_HAND):
            continue
        command = typed.command.replace(".venv/bin/", "")
        for placeholder, value in real.items():
            command = command.replace(placeholder, value)
        code, printed = performed(command, code, folder, ports)
        missing = missing_part(typed, printed)
        if missing is not None:
            return f"{command}\ndoes not print\n{missing}\nbut\n{printed}"
    return None


def performed(
    command: str, code: int, folder: Path, variables: Mapping[str, str]
) -> tuple[int, str]:
    """The exit code of a command and what it prints; the one before it ended with ``code``."""
    plain = Template(command.removeprefix("sudo ").replace("\\\n", " ")).safe_substitute(variables)
    if plain.startswith("tlsprobe ") and not set(plain) & set(OPERATORS):
        ran = tlsprobe(*shlex.split(plain)[1:], cwd=folder, env={"COLUMNS": "80"})
        return ran.code, ran.out + ran.err
    done = subprocess.run(
        ["bash", "-c", f"{IN_SHELL}(exit {code})\n{command}"],
        cwd=folder,
        env={**os.environ, **variables, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


OPERATORS = "|>&"
"""What it takes a shell to understand."""

ENVIRONMENT = {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "NO_COLOR": "1",
    "COLUMNS": "80",
    "PYTHONWARNINGS": "error",
}
