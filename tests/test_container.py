"""The image of Containerfile, built and run, where TLSPROBE_CONTAINER_BASE names a base image.

It takes minutes and a container engine, so nothing is collected without it. In a machine that is a
container itself, podman needs options, as in

    TLSPROBE_CONTAINER_BASE=localhost/base TLSPROBE_PODMAN='podman --runtime runc' \\
    TLSPROBE_PODMAN_OPTIONS='--network host --ulimit nofile=1024:1024 --ulimit nproc=1000:1000' \\
    python -m pytest tests/test_container.py
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import msgspec

from tests.e2e.test_campaign import reference

ROOT = Path(__file__).parent.parent
BASE = os.environ.get("TLSPROBE_CONTAINER_BASE", "")
PODMAN = shlex.split(os.environ.get("TLSPROBE_PODMAN", "podman"))
OPTIONS = shlex.split(os.environ.get("TLSPROBE_PODMAN_OPTIONS", "--network host"))
IMAGE = "localhost/tlsprobe-of-a-test"


def podman(*words: str, code: int = 0) -> bytes:
    done = subprocess.run([*PODMAN, *words], stdout=subprocess.PIPE, check=False)
    assert done.returncode == code
    return done.stdout


def run_inside(*capabilities: str, port: int) -> bytes:
    """A probe of a server on this machine, by an image whose only rights are these."""
    rights = ("--cap-drop", "all", *(word for cap in capabilities for word in ("--cap-add", cap)))
    probe = ("run", "--target", f"127.0.0.1:{port}", "--profile", "reference", "--json")
    asked = ("--sequence", "terminate-close-notify", "--tls", "1.3", "--quiet")
    return podman("run", "--rm", *OPTIONS, *rights, IMAGE, *probe, *asked, code=1)


def check_the_image() -> None:
    podman("build", *OPTIONS, "--build-arg", f"BASE={BASE}", "-t", IMAGE, str(ROOT))
    try:
        with reference("rude") as ports:
            seen = msgspec.json.decode(run_inside("NET_RAW", port=ports["rude"]))
            blind = msgspec.json.decode(run_inside(port=ports["rude"]))
    finally:
        podman("rmi", "--force", IMAGE)
    # the probe and its own sniffer have no right at all, whatever the engine gave
    assert seen["capture"]["backend"] == "tcpdump"
    assert next(iter(seen["cells"][0]["causes"])) == "unread-data-at-close"
    assert blind["capture"]["backend"] == "none"


if BASE:

    def test_the_image_captures_with_one_right_and_measures_without() -> None:
        check_the_image()
