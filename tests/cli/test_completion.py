"""Shell completion: installed as a user does it, and asked in the shells themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import GENEROUS_S, need_server

pytestmark = pytest.mark.slow

HERE = Path(sys.executable).parent

BASH = """
source "$HOME/.bashrc"
ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _tlsprobe_completion tlsprobe
        echo "${COMPREPLY[@]}"; }
ask tlsprobe expl
ask tlsprobe run --tri
ask tlsprobe run --sequence idle-expiry-rac
ask tlsprobe run --profile postg
ask tlsprobe sequences unfin
ask tlsprobe rules TLS13-NOT
"""

FISH = """
complete -C "tlsprobe expl" | cut -f1
complete -C "tlsprobe run --tri" | cut -f1
"""

ZSH = r"""
zmodload zsh/zpty
zpty -b z "PS1='> ' zsh -i"
wait_for() {
    local seen= line
    while [[ $seen != *$1* ]]; do zpty -r -t z line && seen+=$line; done
}
complete() {
    zpty -w -n z "$1"$'\t'; wait_for $'\a'  # the first one loads the function
    zpty -w -n z $'\t'; wait_for "$2"
    echo "$1$2"
}
wait_for '> '
complete 'tlsprobe expl' 'ain'
zpty -d z
"""


NAMES = ["idle-expiry-race", "postgres", "unfinished", "TLS13-NOTIFY"]


def run(shell: str, home: Path, script: str) -> list[str]:
    """What a shell prints, with tlsprobe in its path and nothing of ours in its home."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("XDG_", "ZDOTDIR"))
    }
    environment |= {"HOME": str(home), "PATH": f"{HERE}:{os.environ['PATH']}", "TERM": "dumb"}
    done = subprocess.run(
        [shell, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=GENEROUS_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("shell", "script", "expected"),
    [
        ("bash", BASH, ["explain", "--trials", *NAMES]),
        ("fish", FISH, ["explain", "--trials"]),
        ("zsh", ZSH, ["tlsprobe explain"]),
    ],
)
def test_a_shell_completes_verbs_and_options(
    shell: str, script: str, expected: list[str], tmp_path: Path
) -> None:
    need_server(shell)
    said = run(shell, tmp_path, "tlsprobe --install-completion; true")
    assert said[0].startswith(f"{shell} completion installed in {tmp_path}")
    assert run(shell, tmp_path, script) == expected
