"""Vendors for tests: a profile in a folder of its own, its server a few lines of Python."""

from __future__ import annotations

import sys
from pathlib import Path

from tlsprobe.model.profile import Profile
from tlsprobe.profiles import load_profile

HEAD = """
name = "{name}"
title = "A server of this test"
port = 8443
[protocol]
adapter = "raw"
request = "ping"
response = "pong"
[lab]
"""

SERVER = """
import socket, ssl, sys, threading
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain("@cert@", "@key@")
listener = socket.create_server(("@host@", @port@))
print("listening, and idle for @idle@ s", "@extra@", flush=True)

def serve(plain):
    with context.wrap_socket(plain, server_side=True) as secured:
        while data := secured.recv(100):
            secured.sendall(b"pong")

def safely(plain):
    try:
        serve(plain)
    except OSError:
        pass

while True:
    threading.Thread(target=safely, args=(listener.accept()[0],), daemon=True).start()
"""
"""A template: a TLS server that answers whatever it is asked with pong."""

PROGRAM = f'program = ["{sys.executable}"]\n'
START = 'start = ["@program@", "@folder@/server.py"]\n'
TEMPLATE = 'templates = ["server.py"]\n'


def vendor(place: Path, lab: str, *, name: str = "mine", **files: str) -> Profile:
    """The profile in ``place/name``; ``files`` are Python files beside it."""
    folder = place / name
    folder.mkdir(exist_ok=True)
    for stem, text in files.items():
        (folder / f"{stem}.py").write_text(text, encoding="utf-8")
    (folder / "profile.toml").write_text(HEAD.format(name=name) + lab, encoding="utf-8")
    return load_profile(str(folder))


def server(place: Path, lab: str = "", *, name: str = "mine", source: str = SERVER) -> Profile:
    """A vendor whose server is one Python file."""
    return vendor(place, PROGRAM + START + TEMPLATE + lab, name=name, server=source)
