"""The page of watched clients."""

from __future__ import annotations

from dataclasses import replace

from tests.report.drawn import on_terminal
from tlsprobe.report.pages.clients import WatchedClient, clients_page
from tlsprobe.report.render_markdown import render_markdown

GONE = WatchedClient("curl-done", "curl closes", reason="there is no 'curl'")
SEEN = WatchedClient(
    "curl-idle",
    "curl waits",
    parties="curl 7.88.1, nginx 1.22.1",
    endings=(("server FIN", "nobody resets", 2), ("client RST", "client: unknown (low)", 1)),
    last_words="bye`",
)


def test_the_page_counts_how_connections_ended_and_says_what_could_not_be_watched() -> None:
    page = render_markdown(clients_page("tlsprobe lab clients", "2026-11-21", [GONE, SEEN]))
    assert page.startswith("# What clients do to a server that ends the connection\n\n`tlsprobe")
    assert "## curl-done: curl closes\n\nunsupported: there is no 'curl'\n" in page
    assert (
        "Measured with curl 7.88.1, nginx 1.22.1\n\n- 2 of 3: server FIN (nobody resets)\n" in page
    )
    assert page.endswith("- the client's last words: `` bye` ``\n")


def test_a_line_for_each_client_tells_who_began_the_end_and_who_reset() -> None:
    seen = replace(SEEN, last_words="bye")
    page = render_markdown(clients_page("tlsprobe lab clients", "2026-11-21", [GONE, seen]))
    assert (
        "| curl-idle | server 2/3; client 1/3 |"
        " 2/3 nobody resets; 1/3 client: unknown (low) | bye |\n" in page
    )
    assert "| curl-done |" not in page


def test_the_page_tells_how_busy_the_machine_was() -> None:
    page = render_markdown(
        clients_page("tlsprobe lab clients", "2026-11-21", [SEEN], "Load was 9.")
    )
    assert page.index("Load was 9.") < page.index("## curl-idle")


def test_a_terminal_shows_the_same() -> None:
    text = on_terminal(clients_page("tlsprobe lab clients", "2026-11-21", [SEEN]))
    assert "• 1 of 3: client RST (client: unknown (low))" in text
