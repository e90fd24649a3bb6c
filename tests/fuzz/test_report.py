"""The fuzz document against its schema, the files beside it, and the page."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import date
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import msgspec
import pytest

from tests.report.drawn import on_terminal, words
from tlsprobe.cli.fuzz import fuzz_exit
from tlsprobe.errors import UsageError
from tlsprobe.fuzz.database import Database
from tlsprobe.fuzz.folder import example_of_failure, read_corpus, read_replay
from tlsprobe.fuzz.rates import rate_of
from tlsprobe.language import parse
from tlsprobe.model.fuzz import (
    Example,
    Excused,
    FuzzCause,
    FuzzCoverage,
    FuzzFailure,
    FuzzRun,
    Replay,
    Unrepeated,
)
from tlsprobe.model.judgement import Confidence, LadderLine
from tlsprobe.model.run import CaptureFacts, HostFacts, Tool
from tlsprobe.model.target import Target
from tlsprobe.model.trace import Side
from tlsprobe.model.waiver import Waiver
from tlsprobe.report.blocks import Ladder
from tlsprobe.report.ci.fuzz_junit import render_fuzz_junit
from tlsprobe.report.ci.github import github_lines
from tlsprobe.report.ci.of_fuzz import counting, notices_of_fuzz
from tlsprobe.report.fuzz_document import corpus_toml, encode_fuzz, encode_fuzz_line, failure_toml
from tlsprobe.report.pages.fuzz import describe_confirmation, fuzz_page, headline
from tlsprobe.report.schema import closed, fuzz_schema
from tlsprobe.waiving import waiver_of_failure

FAILURE = FuzzFailure(
    property="no-reset-before-fin",
    rule="INTEROP-RESET-BEFORE-FIN",
    steps='terminate; send "\\x00\\"x"; drain',
    tls="1.3",
    signature="G D n r",
    confirmed="5/5",
    file="results/it/fuzz-1.toml",
    cluster="unread-data-at-close: G D n r",
    text="the server reset in place of a FIN",
    cause=FuzzCause("unread-data-at-close", Confidence.HIGH, ("packet 9 says so",), ("read on",)),
    also=("no-data-lost (INTEROP-DATA-LOST)",),
    found="request; terminate; drain",
    examples=7,
    seen=12,
    ends={"silent, reset, data none": 5},
    ladder=(LadderLine(12.5, Side.SERVER, "r", "RST with ACK", 9),),
)
REPLAY = Replay(
    Example(parse(FAILURE.steps), "1.3", 8),
    FAILURE.property,
    FAILURE.rule,
    FAILURE.text,
    cause="active",
    target="db:5432",
    profile="mine",
    profile_text='[protocol]\nadapter = "raw"\n',
    patience=2.5,
    seed=4,
    expect="5/5",
)
TARGET = Target("db:5432", "db", 5432, "postgres", "postgres")
RUN = FuzzRun(
    tool=Tool("tlsprobe", "0"),
    started="2026-11-20T20:01:02.345Z",
    finished="2026-11-20T20:02:02.345Z",
    host=HostFacts("Linux", "6", "3.11", "3.0"),
    target=TARGET,
    capture=CaptureFacts("packet", "lo", 1, 0),
    seed=4,
    properties=("no-reset-before-fin",),
    examples=10,
    connections=20,
    failures=(FAILURE,),
    coverage=FuzzCoverage({"drain": 10}, {"fin; drain": 3}, {"": 1}),
)


@pytest.mark.parametrize(
    "run",
    [
        RUN,
        replace(RUN, failures=(), interrupted=True, notes=("so\udc80me",), against=TARGET),
        replace(RUN, failures=(replace(FAILURE, cause=None, suspects=("fin; drain",)),)),
    ],
)
def test_the_document_keeps_its_schema(run: FuzzRun) -> None:
    document = msgspec.json.decode(encode_fuzz_line(run))
    jsonschema.validate(document, closed(fuzz_schema()))
    assert msgspec.json.decode(encode_fuzz(run)) == document
    assert encode_fuzz_line(run).count(b"\n") == 1


def test_a_failure_is_a_sequence_file() -> None:
    table = tomllib.loads(failure_toml(FAILURE, "fuzz-1", REPLAY))
    assert (table["name"], table["steps"], table["tls"]) == ("fuzz-1", FAILURE.steps, "1.3")
    assert (table["property"], table["together"], table["seed"]) == (FAILURE.property, 8, 4)
    assert parse(table["steps"]).uses(parse("terminate").steps[0].verb)


def test_words_of_a_peer_do_not_leave_their_comment() -> None:
    evil = replace(FAILURE, text='ends\nsteps = "abort"\r')
    assert tomllib.loads(failure_toml(evil, "x", REPLAY))["steps"] == FAILURE.steps


def test_a_failure_s_file_is_all_that_it_takes_to_replay_it(tmp_path: Path) -> None:
    file = tmp_path / "fuzz-1.toml"
    file.write_text(failure_toml(FAILURE, "fuzz-1", REPLAY))
    assert read_replay(file) == REPLAY
    file.write_text('steps = "fin; drain"')
    assert read_replay(file) is None


BESIDE = Example(parse("terminate; drain"), "1.2")
HARMED = replace(FAILURE, beside=BESIDE.steps, beside_tls=BESIDE.tls)


def test_a_close_that_harms_another_connection_is_told_and_replayed(tmp_path: Path) -> None:
    file, example = tmp_path / "fuzz-1.toml", replace(REPLAY.example, together=1, beside=BESIDE)
    file.write_text(failure_toml(HARMED, "fuzz-1", replace(REPLAY, example=example)))
    again = read_replay(file)
    assert again is not None
    assert again.example == example
    assert example_of_failure(replace(HARMED, together=1)) == example
    run = replace(RUN, failures=(HARMED,))
    said = "another connection that does terminate; drain in TLS 1.2"
    assert said in words(on_terminal(fuzz_page(run)))
    (line,) = github_lines(notices_of_fuzz(run, "warn"))
    assert "beside terminate; drain in TLS 1.2" in line
    jsonschema.validate(msgspec.json.decode(encode_fuzz(run)), closed(fuzz_schema()))


def test_failures_that_are_broken_alike_are_told_as_one_kind() -> None:
    other = replace(FAILURE, steps="send; terminate; drain", like=1)
    run = replace(RUN, failures=(FAILURE, other, replace(FAILURE, steps="fin; drain")))
    assert headline(run).startswith("3 failures of 2 kinds in 10 examples")
    assert "as failure 1" in on_terminal(fuzz_page(run))
    assert headline(replace(run, failures=(FAILURE,))).startswith("1 failure in")
    kept = msgspec.json.decode(encode_fuzz(run))["failures"]
    assert [one.get("like") for one in kept] == [None, 1, None]
    jsonschema.validate(msgspec.json.decode(encode_fuzz(run)), closed(fuzz_schema()))


@pytest.mark.parametrize(
    ("together", "confirmed", "said"),
    [
        (16, "5/5", "only with 16 connections at the same time"),
        (32, "1/1", "only behind 32 such connections"),
        (6, "0/0", "6 such connections came before"),
    ],
)
def test_the_page_claims_of_a_crowd_only_what_was_tried(
    together: int, confirmed: str, said: str
) -> None:
    failure = replace(FAILURE, together=together, confirmed=confirmed)
    assert said in words(on_terminal(fuzz_page(replace(RUN, failures=(failure,)))))


def test_no_page_says_what_a_reader_got_where_our_own_path_kept_packets_back() -> None:
    def drawn(failure: FuzzFailure) -> list[bool]:
        blocks = fuzz_page(replace(RUN, failures=(failure,)))
        return [block.in_order for block in blocks if isinstance(block, Ladder)]

    shaped = replace(FAILURE, shaped=True)
    assert (drawn(FAILURE), drawn(shaped)) == ([True], [False])
    document = msgspec.json.decode(encode_fuzz(replace(RUN, failures=(shaped, FAILURE))))
    assert [one.get("shaped") for one in document["failures"]] == [True, None]
    jsonschema.validate(document, closed(fuzz_schema()))


def test_the_page_says_which_failures_are_known() -> None:
    page = on_terminal(fuzz_page(replace(RUN, failures=(replace(FAILURE, known=True), HARMED))))
    assert "(1 known)" in page
    assert page.count("the baseline has it") == 1


def test_what_is_remembered_and_kept_has_its_other_connection(tmp_path: Path) -> None:
    example, alone = replace(REPLAY.example, beside=BESIDE), replace(REPLAY.example, together=1)
    memory = Database(tmp_path / "memory", "mine")
    memory.add(example)
    memory.add(alone)
    assert set(memory.read()) == {example, alone}
    (tmp_path / "new.toml").write_text(corpus_toml(example, "new", "G r"))
    assert read_corpus(tmp_path) == (example,)


@pytest.mark.parametrize("wrong", ["beside = 1", 'beside = "fly"', 'beside_tls = "3"'])
def test_a_file_whose_other_connection_is_nonsense_is_refused(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "bad.toml").write_text(f'steps = "fin; drain"\n{wrong}\n')
    with pytest.raises(UsageError):
        read_corpus(tmp_path)


@pytest.mark.parametrize(
    ("fail_on", "level", "known", "counts"),
    [
        ("warn", "interop", False, 1),
        ("warn", "interop", True, 0),
        ("fail", "interop", False, 0),
        ("fail", "MUST", False, 1),
        ("never", "MUST", False, 0),
    ],
)
def test_which_failures_count(fail_on: str, level: str, known: bool, counts: int) -> None:
    run = replace(RUN, failures=(replace(FAILURE, level=level, known=known),))
    assert len(counting(run, fail_on)) == counts
    (suite,) = ET.fromstring(render_fuzz_junit(run, fail_on))
    assert (suite.get("tests"), suite.get("failures")) == ("1", str(counts))
    assert fuzz_exit(run, fail_on) == counts


RESETS = Waiver("soon", behaviour="reset-before-fin")


@pytest.mark.parametrize(
    ("waiver", "holds"),
    [
        (RESETS, True),
        (Waiver("", behaviour="reset-*", target="db*", tls="1.3"), True),
        (Waiver("", rule="INTEROP-RESET-*", until="2026-11-26"), True),
        (Waiver("", sequence="terminate;*"), True),
        (Waiver("", behaviour="reset-before-fin/goodbye"), False),
        (Waiver("", behaviour="reset-after-fin"), False),
        (Waiver("", rule="INTEROP-*", tls="1.2"), False),
        (Waiver("", rule="INTEROP-*", target="web"), False),
        (Waiver("", rule="INTEROP-*", until="2026-11-25"), False),
    ],
)
def test_which_waivers_hold_for_a_failure(waiver: Waiver, holds: bool) -> None:
    found = waiver_of_failure(FAILURE, TARGET, [waiver], date(2026, 11, 26))
    assert (found is waiver) == holds


def test_a_failure_that_is_waived_is_shown_and_does_not_count() -> None:
    run = replace(RUN, failures=(replace(FAILURE, waived="mended soon"),))
    assert fuzz_exit(run, "warn") == 0
    assert "mended soon" in on_terminal(fuzz_page(run))
    (line,) = github_lines(notices_of_fuzz(run, "warn"))
    assert line.startswith("::notice ")
    assert line.endswith("waived: mended soon")
    assert msgspec.json.decode(encode_fuzz(run))["failures"][0]["waived"] == "mended soon"


def test_a_starved_run_is_an_error_for_a_build_server() -> None:
    starved = replace(RUN, failures=(), starved=True, ended_by="time")
    (suite,) = ET.fromstring(render_fuzz_junit(starved, "warn"))
    assert [case[0].tag for case in suite] == ["error"]
    assert fuzz_exit(starved, "warn") == 3


def test_what_is_known_already_is_no_comfort_to_a_starved_run() -> None:
    known = replace(RUN, failures=(replace(FAILURE, known=True),), starved=True, ended_by="time")
    (suite,) = ET.fromstring(render_fuzz_junit(known, "warn"))
    assert suite.get("errors") == suite.get("tests")
    assert fuzz_exit(known, "warn") == 3
    assert "too little was tried" in " ".join(on_terminal(fuzz_page(known)).split())
    assert fuzz_exit(replace(known, failures=(FAILURE,)), "warn") == 1


def test_a_forge_gets_a_line_for_each_failure() -> None:
    evil = replace(FAILURE, text="100 %\n::error::no")
    (line,) = github_lines(notices_of_fuzz(replace(RUN, failures=(evil,)), "warn"))
    assert line.startswith("::error title=")
    assert "no-reset-before-fin (INTEROP-RESET-BEFORE-FIN)::" in line
    assert "100 %25%0A::error::no" in line
    known = replace(RUN, failures=(replace(evil, known=True),))
    (line,) = github_lines(notices_of_fuzz(known, "warn"))
    assert line.startswith("::notice ")


def test_a_corpus_file_reads_back() -> None:
    example = Example(parse('send "\\xff"; fin; drain'), "1.2")
    table = tomllib.loads(corpus_toml(example, "n", "D F f"))
    assert Example(parse(table["steps"]), table["tls"]) == example


@pytest.mark.parametrize(
    ("confirmed", "words"),
    [
        ("5/5", "5/5"),
        ("0/0", "it cannot be run again"),
    ],
)
def test_what_was_confirmed_in_words(confirmed: str, words: str) -> None:
    assert describe_confirmation(replace(FAILURE, confirmed=confirmed)) == words


def test_the_page_has_close_packets_cause_and_file() -> None:
    text = on_terminal(fuzz_page(RUN), encoding="ascii")
    for said in (FAILURE.steps, "RST with ACK", "unread-data-at-close", FAILURE.file, "read on"):
        assert said in text
    assert headline(RUN) == "1 failure in 10 examples, 20 connections, seed 4"


def test_two_that_differ_are_shown_both() -> None:
    other = (LadderLine(7.0, Side.SERVER, "f", "FIN, seen otherwise", 3),)
    unlike = replace(FAILURE, property="versions-alike", other=other)
    page = on_terminal(fuzz_page(replace(RUN, failures=(unlike,))), encoding="ascii")
    assert "RST with ACK" in page
    assert "FIN, seen otherwise" in page


def test_a_race_is_told_with_its_rate() -> None:
    race = replace(FAILURE, confirmed="10/50", rate=rate_of(10, 50))
    assert describe_confirmation(race) == "a race: 10 of 50 runs, 20 % (11.2 % to 33.0 %)"


def test_what_did_not_show_again_is_listed_and_is_no_failure() -> None:
    once = Unrepeated("ends", "INTEROP-LEAK", "fin; drain", "1.3", "F", "it stayed open", 1, 58)
    run = replace(RUN, failures=(), unrepeated=(once, replace(once, steps="abort; drain")))
    page = words(on_terminal(fuzz_page(run)))
    assert page.count("seen once, tried again 58 times") == 1, "what is alike is told once"
    assert "fin; drain" in page
    assert "abort; drain" in page
    assert "no failure in 10 examples" in headline(run)
    jsonschema.validate(msgspec.json.decode(encode_fuzz(run)), closed(fuzz_schema()))


def test_what_is_not_held_against_the_server_is_counted() -> None:
    what = ("ends", "INTEROP-LEAK", "send part; fin; drain", "1.3", "D F", "it stayed open", 4)
    run = replace(RUN, failures=(), excused=(Excused("it was half a message", *what, "two:443"),))
    page = on_terminal(fuzz_page(run))
    assert "in 4 examples: it was half a message" in page
    assert "at two:443, INTEROP-LEAK, TLS 1.3: it stayed open" in page
    jsonschema.validate(msgspec.json.decode(encode_fuzz(run)), closed(fuzz_schema()))


def test_of_two_targets_each_failure_says_whose_it_is() -> None:
    theirs = replace(FAILURE, target="two:443")
    assert "two:443" in on_terminal(fuzz_page(replace(RUN, failures=(theirs,))))
    assert '"target":"two:443"' in encode_fuzz_line(replace(RUN, failures=(theirs,))).decode()


def test_a_run_that_came_to_nothing_says_so() -> None:
    starved = replace(RUN, failures=(), starved=True, ended_by="time")
    assert headline(starved).startswith("too little was tried to say anything: 10 examples")
