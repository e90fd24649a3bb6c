"""The page of all paths."""

from __future__ import annotations

from tests.report.builders import clean, make_run
from tests.report.drawn import in_order
from tlsprobe.report.pages.paths import paths_page
from tlsprobe.report.paths import Along
from tlsprobe.report.render_markdown import render_markdown


def test_the_page_has_a_chapter_for_each_box() -> None:
    run = make_run(clean(), notes=("it was renamed",))
    box = Along("nginx", "nat-lost", "", 5, run)
    absent = [("tunnel", "no go")]
    text = render_markdown(paths_page("tlsprobe lab paths", "The load was 0.1.", [box], absent))
    in_order(
        text,
        [
            "# Paths\n\n`tlsprobe lab paths`\n\nThe load was 0.1.\n",
            "| terminate |",
            f"\n## {run.target.name}\n\n- it was renamed\n",
            "\n## Not measured\n\n- tunnel: no go\n",
        ],
    )
    assert "Near and far" not in text


def test_distances_stand_together() -> None:
    near = Along("nginx", "direct", "next door", 0, make_run(clean()))
    far = Along("nginx", "rtt-20ms", "20 ms away", 1, make_run(clean(), name="far"))
    text = render_markdown(paths_page("x", "y", [near, far], []))
    assert "## Near and far\n\n- every reset occurs at every distance" in text


def test_nothing_measured_is_a_page_too() -> None:
    text = render_markdown(paths_page("x", "y", [], [("nat", "not root")]))
    assert text == "# Paths\n\n`x`\n\ny\n\n## Not measured\n\n- nat: not root\n"
