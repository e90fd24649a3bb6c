"""Servers from container images: the words, and a real one where an engine is named.

The real one takes a container engine, and go to make a server that needs nothing in its image. It
is collected where TLSPROBE_ENGINE names an engine, as in

    TLSPROBE_ENGINE='podman --runtime runc' python -m pytest tests/lab/test_containers.py
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.lab.vendors import vendor
from tlsprobe.errors import CannotMeasure
from tlsprobe.lab import containers
from tlsprobe.lab.availability import Presence, availability
from tlsprobe.lab.vendor import running
from tlsprobe.lab.workspace import new_workspace
from tlsprobe.model.sequence import Signal

REAL = os.environ.get(containers.ENGINE, "")
IMAGE = "localhost/tlsprobe-of-a-test"
LAB = f'image = "{IMAGE}"\nstart = ["/server", "@host@:@port@", "@cert@", "@key@", "9s"]\n'


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An engine by other words, for one test."""
    containers.engine.cache_clear()
    yield monkeypatch
    containers.engine.cache_clear()


def test_no_engine(tmp_path: Path, named: pytest.MonkeyPatch) -> None:
    named.setenv(containers.ENGINE, "false")
    found = availability(vendor(tmp_path, LAB), tmp_path)
    assert found.presence is Presence.MISSING
    assert "podman or docker" in found.words
    with pytest.raises(CannotMeasure, match="no container engine"):
        containers.asking(IMAGE, ["/server", "version"])


def test_an_image_that_is_to_be_fetched(tmp_path: Path, named: pytest.MonkeyPatch) -> None:
    lacks = tmp_path / "engine"
    lacks.write_text('#!/bin/sh\ntest "$1" = info\n')
    lacks.chmod(0o755)
    named.setenv(containers.ENGINE, str(lacks))
    found = availability(vendor(tmp_path, LAB), tmp_path)
    assert found.presence is Presence.INSTALLABLE
    assert found.words == f"{lacks} pull {IMAGE}"


def test_a_container_has_the_network_few_rights_and_one_name(named: pytest.MonkeyPatch) -> None:
    named.setenv(containers.ENGINE, "true --with 'a word'")
    own = containers.Container(IMAGE, Path("/scratch/mine-1"), "MARK=/scratch/mine-1")
    words = own.words()
    assert words[:5] == ["true", "--with", "a word", "run", "--rm"]
    assert words[-1] == IMAGE
    said = shlex.join(words)
    for part in ("--network host", "no-new-privileges", "nofile=", "nproc=", "--env MARK="):
        assert part in said
    assert f"--name {own.name}" in said and own.name.startswith("scratch-mine-1-")
    first = own.name
    own.words()
    assert own.name != first, "the one before may not be gone yet"


def test_a_version_is_asked_in_a_container_of_its_own(named: pytest.MonkeyPatch) -> None:
    named.setenv(containers.ENGINE, "true")
    words = containers.asking(IMAGE, ["/server", "version"])
    assert words[-4:] == ["--entrypoint", "/server", IMAGE, "version"]


def engine(*words: str, folder: Path) -> str:
    return subprocess.check_output([*shlex.split(REAL), *words], cwd=folder, text=True)


def check_a_real_one(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "profiles" / "go" / "main.go"
    build = ["go", "build", "-o", str(tmp_path / "server"), str(source)]
    subprocess.run(build, env={**os.environ, "CGO_ENABLED": "0"}, check=True)
    (tmp_path / "Containerfile").write_text("FROM scratch\nCOPY server /server\n")
    engine("build", "--tag", IMAGE, ".", folder=tmp_path)
    lab = LAB + 'version = ["/server", "version"]\nversion_pattern = \'go(\\d+\\.\\d+\\S*)\'\n'
    names: list[str] = []

    def alive() -> list[str]:
        listed = engine("ps", "--all", "--format", "{{.Names}}", folder=tmp_path).split()
        return [name for name in listed if "-mine-" in name]

    async def stop_and_go() -> None:
        with new_workspace(tmp_path / "tools") as here:
            async with running(vendor(tmp_path, lab), here) as found:
                assert found.version is not None
                names.extend(alive())
                assert found.process.tell(Signal.TERM) == "TERM"
                while found.ended() is None:
                    await trio.sleep(0.01)
                await found.process.renew()
                names.extend(alive())

    try:
        assert availability(vendor(tmp_path, lab), tmp_path).presence is Presence.HERE
        trio.run(stop_and_go)
        assert len(names) == len({*names}) == 2
        assert alive() == []
    finally:
        engine("rmi", "--force", IMAGE, folder=tmp_path)


if REAL:

    def test_a_server_in_a_container_is_stopped_started_again_and_gone(tmp_path: Path) -> None:
        check_a_real_one(tmp_path)
