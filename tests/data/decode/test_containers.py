"""Archives, web archives and compressed streams: bounds, broken parts, what is kept."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.decode.archives import Member, tar_members, unpack_stream, unsafe_name, zip_members
from expedition.data.decode.piece import Fault, Piece, Refused
from expedition.data.decode.reasons import Reason
from expedition.data.decode.route import Raw, decode
from expedition.data.decode.rules import DecodeRules, Limits
from expedition.data.decode.sniff import Format, sniff
from tests.data.decode.test_media import picture

TEXT = b"The quick brown fox jumps over the lazy dog.\n" * 50
PACKERS = {
    Format.GZIP: gzip.compress,
    Format.BZIP2: bz2.compress,
    Format.XZ: lzma.compress,
    Format.ZSTANDARD: lambda data: zstandard.ZstdCompressor().compress(data),
}


@pytest.mark.parametrize("form", sorted(PACKERS))
def test_streams_unpack_within_a_limit(form: Format) -> None:
    packed = PACKERS[form](TEXT)
    assert sniff(packed, "x") is form
    assert unpack_stream(io.BytesIO(packed), form, Limits())[0] == TEXT
    with pytest.raises(Refused) as refused:
        unpack_stream(io.BytesIO(PACKERS[form](bytes(4 << 20))), form, Limits(unpacked_bytes=1 << 20))
    assert refused.value.reason is Reason.UNPACKED_TOO_LARGE


def test_gzip_members_follow_each_other_and_padding_is_no_fault() -> None:
    data = gzip.compress(b"one ") + gzip.compress(b"two") + b"\0" * 100
    assert unpack_stream(io.BytesIO(data), Format.GZIP, Limits()) == (b"one two", ())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 200), st.integers(0, 255))
def test_a_changed_gzip_byte_never_gives_other_text(at: int, value: int) -> None:
    packed = bytearray(gzip.compress(TEXT, mtime=0))
    at %= len(packed)
    packed[at] = value
    try:
        data, repairs = unpack_stream(io.BytesIO(bytes(packed)), Format.GZIP, Limits())
    except Refused:
        return
    assert data == TEXT or repairs


@given(st.text(max_size=30))
def test_names_that_lead_outside_are_unsafe(name: str) -> None:
    for hostile in (f"../{name}", f"/{name}", f"a/../../{name}", f"C:{name}", f"..\\{name}", name + "\0"):
        assert unsafe_name(hostile)


def tar_of(entries: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_a_cut_archive_keeps_whole_members_and_names_the_cut() -> None:
    data = tar_of([("a.txt", b"whole"), ("b.txt", b"x" * 4000)])
    for kept in (1100, 1536, 2536):
        found = list(tar_members(io.BytesIO(data[:kept]), Limits()))
        assert [item.name for item in found if isinstance(item, Member)] == ["a.txt"]
        assert [item.reason for item in found if isinstance(item, Fault)] == [Reason.TRUNCATED]


def test_zip_sizes_are_checked_as_read_not_as_declared() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big.txt", bytes(3 << 20))
    data = buffer.getvalue()
    lying = data.replace((3 << 20).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    for content in (data, lying):
        found = list(zip_members(content, Limits(unpacked_bytes=1 << 20)))
        assert all(isinstance(item, Fault) for item in found) or len(found[0].data) <= 100  # type: ignore[union-attr]


def test_pairs_of_a_shard_belong_together() -> None:
    jpeg = picture("JPEG")
    shard = tar_of(
        [
            ("1.jpg", jpeg),
            ("1.json", b'{"caption":"one","license":"CC0-1.0"}'),
            ("2.png", picture("PNG")),
            ("2.txt", b"two"),
        ]
    )
    pieces = [piece for piece in decode(Raw("shard.tar", shard), DecodeRules()) if isinstance(piece, Piece)]
    assert [(piece.text, piece.licence, piece.inner) for piece in pieces] == [
        ("\ufffc one", "CC0-1.0", "1.jpg"),
        ("\ufffc two", None, "2.png"),
    ]


def test_containers_in_containers_end_at_a_depth() -> None:
    data = TEXT
    for _ in range(6):
        data = gzip.compress(data)
    found = list(decode(Raw("page.txt" + ".gz" * 6, data), DecodeRules()))
    assert [item.reason for item in found if isinstance(item, Fault)] == [Reason.TOO_DEEP]


def record(number: int, body: str, declared: int | None = None, kind: str = "response", head: str = "") -> bytes:
    block = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n{head}\r\n".encode() + body.encode()
    headers = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{number}>\r\n"
        f"WARC-Target-URI: http://example.org/{number}\r\nContent-Type: application/http; msgtype=response\r\n"
        f"Content-Length: {len(block) if declared is None else declared}\r\n\r\n"
    )
    return headers.encode() + block + b"\r\n\r\n"


def page(number: int) -> str:
    return f"<html><body><p>This is page number {number} of a small archive of web pages.</p></body></html>"


def texts(data: bytes, name: str = "crawl.warc") -> tuple[list[str], list[Reason]]:
    found = list(decode(Raw(name, data, kind="web"), DecodeRules()))
    numbers = [
        item.text.split(" of ")[0].removeprefix("This is page number ") for item in found if isinstance(item, Piece)
    ]
    return numbers, [item.reason for item in found if isinstance(item, Fault)]


def test_wrong_lengths_cost_one_record_only() -> None:
    whole = [record(number, page(number)) for number in range(5)]
    for declared in (10**15, 3000, 10, -1):
        parts = [*whole[:2], record(9, page(9), declared), *whole[2:]]
        numbers, reasons = texts(b"".join(parts))
        assert numbers == ["0", "1", "2", "3", "4"]
        assert reasons == [Reason.DECLARED_LENGTH]


def test_rubbish_between_records_is_passed_over() -> None:
    numbers, reasons = texts(record(0, page(0)) + b"\x00rubbish\r\nmore" * 500 + b"\r\n\r\n" + record(1, page(1)))
    assert numbers == ["0", "1"]
    assert reasons == [Reason.CORRUPT]


def test_codings_are_undone() -> None:
    body = page(7).encode()
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:20], body[20:])) + b"0\r\n\r\n"
    for head, coded in (
        ("Transfer-Encoding: chunked\r\n", chunked),
        ("Content-Encoding: gzip\r\n", gzip.compress(body)),
        ("Content-Encoding: gzip\r\n", body),
        ("Content-Encoding: deflate\r\n", zlib.compress(body)),
        ("Transfer-Encoding: chunked\r\n", body),
    ):
        block = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{head}\r\n".encode() + coded
        lines = ("WARC/1.0", "WARC-Type: response", "WARC-Record-ID: <u>", "Content-Type: application/http")
        headers = "\r\n".join((*lines, f"Content-Length: {len(block)}", "", "")).encode()
        assert texts(headers + block + b"\r\n\r\n")[0] == ["7"]


def test_requests_and_errors_give_no_documents() -> None:
    failed = record(1, page(1)).replace(b"200 OK", b"404 NO")
    assert texts(record(0, page(0), kind="request") + failed) == ([], [Reason.HTTP_STATUS])


def test_real_web_archives_are_read(open_data: Path) -> None:
    read = {}
    for path in sorted((open_data / "web" / "warc").iterdir()):
        found = list(decode(Raw(path.name, path=path, kind="web"), DecodeRules()))
        read[path.name] = [item.text for item in found if isinstance(item, Piece)]
    good = ("example.warc", "example.warc.gz", "example.arc", "example.arc.gz", "example-wrong-chunks.warc.gz")
    assert all("This domain" in read[name][0] for name in good)
    assert any("DNS Root Zone" in text for text in read["example-iana.org-chunked.warc"])
    assert read["bad.arc"] == []
