"""Archives of captures: each is read under its name, and nothing in an archive does harm."""

from __future__ import annotations

import gc
import gzip
import io
import tarfile
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.captures.files import CLOSED, EXPECTED, brief, pcap, pcapng
from tests.captures.test_packing import PACK
from tlsprobe.captures import archive as archive_module
from tlsprobe.captures.pcap import Walker
from tlsprobe.captures.reader import Captures, open_capture_file
from tlsprobe.captures.reading import CaptureUnreadable

FILES = {
    "a/README": b"Captures of Tuesday\n",
    "a/client.pcap": pcap(CLOSED),
    "a/server.pcapng.gz": gzip.compress(pcapng(*CLOSED), mtime=0),
    "a/photo.jpg": b"\xff\xd8\xff\xe0" + bytes(600),
    "empty": b"",
}


def tar(files: dict[str, bytes], *, form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("link.pcap")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return out.getvalue()


def read_all(data: bytes) -> tuple[dict[str, list[tuple[object, ...]]], Captures]:
    captures = Captures(io.BytesIO(data))
    found = {}
    for reading in captures:
        with reading:
            reading.summary()
            found[reading.name] = brief(list(reading.packets()))
    return found, captures


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", [*PACK, ""])
def test_each_capture_is_read_under_its_name(name: str, form: int) -> None:
    data = tar(FILES, form=form)
    found, captures = read_all(PACK[name](data) if name else data)
    assert found == {
        "the input: a/client.pcap": EXPECTED,
        "the input: a/server.pcapng.gz": EXPECTED,
    }
    assert captures.is_archive
    assert len(captures.passed_over) == 3
    assert "a/README" in captures.passed_over[0].message


def test_a_capture_alone_is_an_input_as_ever() -> None:
    found, captures = read_all(pcap(CLOSED))
    assert found == {"the input": EXPECTED}
    assert not captures.is_archive


def test_an_archive_without_a_capture() -> None:
    with pytest.raises(CaptureUnreadable, match="no file of this archive is a capture"):
        read_all(tar({"README": b"nothing here"}))


def test_who_reads_one_capture_is_told_that_this_is_an_archive() -> None:
    with pytest.raises(CaptureUnreadable, match="archive of files") as caught:
        open_capture_file(io.BytesIO(tar(FILES)))
    assert "tar xf" in (caught.value.hint or "")


def test_an_archive_in_an_archive_is_passed_over() -> None:
    found, captures = read_all(tar({"in.tar": tar(FILES), "x.pcap": pcap(CLOSED)}))
    assert len(found) == 1
    assert "archive" in captures.passed_over[0].message


def test_an_archive_cut_off_is_read_up_to_there() -> None:
    data = tar({"one.pcap": pcap(CLOSED), "two.pcap": pcap(CLOSED * 40)})
    found, _ = read_all(data[:3000])
    assert found["the input: one.pcap"] == EXPECTED
    assert 0 < len(found["the input: two.pcap"]) < 200


def test_too_many_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "MEMBER_LIMIT", 3)
    with pytest.raises(CaptureUnreadable, match="more than 3 files"):
        read_all(tar({f"{n}.pcap": pcap(CLOSED) for n in range(5)}))


def test_an_archive_that_unpacks_to_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "UNPACKED_LIMIT", 1 << 20)
    with pytest.raises(CaptureUnreadable, match="it unpacks to more than"):
        read_all(gzip.compress(tar({"zeros": bytes(4 << 20)}), mtime=0))


def test_a_header_that_claims_to_be_huge() -> None:
    """A long name, or attributes, of gigabytes: nobody allocates them."""
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
        member = tarfile.TarInfo("././@LongLink")
        member.type, member.size = kind, 6 << 30
        with pytest.raises(CaptureUnreadable, match="damaged"):
            read_all(member.tobuf(tarfile.GNU_FORMAT) + bytes(5000))


@pytest.mark.slow
@given(st.data())
def test_any_damage_to_an_archive_is_borne(data: st.DataObject) -> None:
    whole = bytearray(tar({"a.pcap": pcap(CLOSED), "b.pcap": pcap(CLOSED)}))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=6)):
        whole[place] = data.draw(st.integers(0, 255))
    try:
        read_all(bytes(whole[: data.draw(st.integers(512, len(whole)))]))
    except CaptureUnreadable as why:
        assert why.message


@pytest.mark.parametrize("data", [pcap(CLOSED), pcapng(*CLOSED)], ids=["pcap", "pcapng"])
def test_the_buffer_of_a_capture_goes_with_it(data: bytes) -> None:
    """Six MiB stayed of each until a cycle was looked for: 600 small captures took 3.7 GB."""
    walker = Walker()
    kept = weakref.ref(walker)
    gc.disable()
    try:
        assert walker.feed(data)
        del walker
        assert kept() is None
    finally:
        gc.enable()
