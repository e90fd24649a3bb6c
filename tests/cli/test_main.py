"""What the entry point makes of an error that no command expected."""

from __future__ import annotations

import builtins
import sys

import pytest

from tlsprobe import cli as entry
from tlsprobe.cli import application as cli

DENIED = PermissionError(13, "Permission denied", "/root/x/run.json")


@pytest.mark.parametrize("error", [DENIED, ExceptionGroup("nursery", [DENIED])])
def test_a_file_that_this_user_may_not_read_is_named_without_a_traceback(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fails)
    monkeypatch.setattr(cli, "settle_streams", lambda: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "error: /root/x/run.json: Permission denied" in capfd.readouterr().err


def test_ctrl_c_while_we_are_imported_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "tlsprobe.cli.application")
    monkeypatch.delattr(entry, "application", raising=False)
    monkeypatch.setattr(builtins, "__import__", interrupted)
    with pytest.raises(SystemExit) as ended:
        entry.main()
    monkeypatch.undo()
    assert (ended.value.code, ended.value.__suppress_context__) == (130, True)


def test_an_error_of_ours_that_names_no_file_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails() -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(cli, "app", fails)
    monkeypatch.setattr(cli, "settle_streams", lambda: None)
    with pytest.raises(PermissionError):
        cli.main()
