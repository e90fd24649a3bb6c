"""A vendor's page: a sentence for every question, and none left blank."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report.builders import NASTY, make_run
from tests.report.vendors import (
    BARE,
    CLOSED,
    HASTY,
    cell,
    idle_run,
    in_lab,
    nasty,
    run_of,
)
from tlsprobe.model.profile import Profile
from tlsprobe.model.run import Run
from tlsprobe.profiles import load_profile
from tlsprobe.report.compatibility import Vendor, vendors_of
from tlsprobe.report.pages.vendor import vendor_page
from tlsprobe.report.render_markdown import render_markdown

HEADS = (
    "Idle connections",
    "When the client says close_notify first",
    "Half-close",
    "Goodbye, and its own close answered",
    "What provokes an RST",
    "What it means for clients",
    "What it means for forwarders",
    "What changes it",
    "How this was measured",
)


def page_of(run: Run, profile: Profile | None = None, command: str = "tlsprobe lab run") -> str:
    (vendor,) = vendors_of([run])
    return render_markdown(vendor_page(vendor, profile, command))


@pytest.fixture(scope="module")
def nginx() -> Profile:
    return load_profile("nginx")


@pytest.mark.parametrize("run", [make_run(), run_of("a", CLOSED), idle_run()])
def test_every_question_is_answered(run: Run) -> None:
    page = page_of(run)
    parts = [part.partition("\n") for part in page.split("\n## ")[1:]]
    assert tuple(head for head, _, _ in parts) == HEADS
    assert all(body.strip() for _, _, body in parts)
    assert "None" not in page


def test_what_was_not_measured_is_said_so() -> None:
    page = page_of(make_run())
    assert "- After a request: not measured." in page
    assert "Whether it answers close_notify was not measured." in page
    assert "- With a response owed when our close_notify arrives: not measured." in page
    assert "How long a client may keep an idle connection was not measured." in page
    assert "Whether the path survives a close was not measured." in page
    assert "The profile knows no directive that changes it." in page
    assert "- server: version not recorded, TLS library not recorded" in page


def test_idle_expiry_has_its_time_and_its_documented_default(nginx: Profile) -> None:
    page = page_of(in_lab(idle_run(), "nginx", "nginx", idle_s=1.0), nginx)
    ended = "After a request: it ended the connection after 1.00 s (990 ms to 1.00 s in 20 trials)"
    assert f"- {ended} with close_notify, FIN (TLS 1.3)." in page
    silent = "- Before the first request: it did not end the connection while we waited (TLS 1.3)."
    assert silent in page
    assert "- Documented default: 75 s (nginx documentation" in page
    assert "- For the lab it was set to 1 s" in page
    assert "Keep it at 0.89 s or less. By the same margin, that is 70 s" in page


def test_the_answer_to_close_notify_and_half_close() -> None:
    assert "Does it answer a close_notify with its own? Yes." in page_of(run_of("a", CLOSED))
    bare = page_of(run_of("a", BARE))
    assert "Does it answer a close_notify with its own? No, it sends a bare FIN." in bare
    assert "all of it was delivered in each of 20 trials; the end: FIN." in bare
    unlike = make_run(cell("close-notify-fin", "n f", "1.2"), cell("close-notify-fin", "f"))
    assert "own? 1.2: yes; 1.3: no, it sends a bare FIN." in page_of(unlike)
    lost = replace(cell("half-close", "n f"), outcomes={"data-lost": 20})
    assert "it did not arrive whole in 20 of 20 trials" in page_of(make_run(lost))


def test_resets_have_their_cause_and_their_place() -> None:
    page = page_of(run_of("a", HASTY))
    assert "8 sequences; 2 of them drew an RST." in page
    line = "| 1.2, 1.3 | 20/20 | no | unread-data-at-close (high, 20) | `N n r` |"
    assert f"| terminate-close-notify {line}" in page
    expected = "terminate-close-notify (TLS 1.2 and 1.3), server-close-reply (TLS 1.2 and 1.3)"
    assert f"A plain reader gets ECONNRESET where it expects EOF after: {expected}." in page
    assert "- Server: read on." in page
    assert "- Forwarder: survive it." in page
    clean = page_of(run_of("a", CLOSED))
    assert "No sequence drew an RST." in clean
    assert "No reader got ECONNRESET" in clean


def test_a_dead_path_is_said() -> None:
    dead = replace(cell("terminate", "n f"), path_alive=False)
    page = page_of(make_run(dead, cell("fin-only", "n f")))
    assert "The path was dead afterwards in: terminate (TLS 1.3)." in page
    alive = page_of(make_run(cell("fin-only", "n f")))
    assert "The next connection worked after every cell (1 cell)." in alive


def test_what_changes_it_is_the_profiles(nginx: Profile) -> None:
    page = page_of(run_of("a", CLOSED), nginx)
    for directive in nginx.directives:
        assert f"- `{directive.name}`: " in page


def test_the_command_is_the_one_that_reproduces() -> None:
    run = replace(run_of("a", CLOSED), command=("--target", "a:1"))
    assert "- command: `tlsprobe lab run`" in page_of(run)
    assert "- command: `tlsprobe run --target a:1`" in page_of(run, command="")
    assert "- command: not recorded" in page_of(run_of("a", CLOSED), command="")


def test_an_absent_vendor_has_its_reason() -> None:
    page = render_markdown(vendor_page(Vendor("h2o", "h2o", None, "no such program")))
    assert page == "# h2o\n\nIt could not be measured here: no such program.\n"


def test_nasty_text_is_shown_and_not_obeyed() -> None:
    evil, gone = nasty()
    for page in map(render_markdown, (vendor_page(evil, None, NASTY), vendor_page(gone))):
        assert "\x1b" not in page
        assert "\u202e" not in page
        assert "<b>" not in page.replace("`", "").partition("command:")[0]
        assert "\n# head" not in page


def test_a_server_is_recorded_as_it_names_itself() -> None:
    """The lab's name for it may be that of what it stands in for."""
    run = replace(run_of("nginx-proxy", CLOSED), server_says="nginx/1.22.1")
    assert "- calls itself: nginx/1.22.1" in page_of(run)
    assert "calls itself" not in page_of(run_of("nginx-proxy", CLOSED))
