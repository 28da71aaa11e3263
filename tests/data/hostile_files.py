"""Hostile files of kinds that the open set does not have, made on the spot: name → a function that writes it.

All are harmless: bombs hold zeros, links lead to files that do not exist, nothing calls anything.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import math
import struct
import tarfile
import wave
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

GOOD = "The keeper of the old lighthouse counted every lamp before the evening fog came in over the quiet harbour. "
PAGE = f"<html><body><main><h1>Lamps</h1><p>{GOOD * 3}</p></main></body></html>".encode()
MIB = 1 << 20


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], form: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", form) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def zip_link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = 0o120777 << 16
    return info, target.encode()


def zip_of_many(count: int) -> bytes:
    """A central directory of `count` entries that all name one local file."""
    name = b"a.txt"
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, zlib.crc32(b""), 0, 0, len(name), 0) + name
    entry = struct.pack(
        "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, zlib.crc32(b""), 0, 0, len(name), 0, 0, 0, 0, 0, 0
    )
    central = (entry + name) * count
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count & 0xFFFF, count & 0xFFFF, len(central), len(local), 0)
    return local + central + end


def overlapping_zip(kernel_mib: int, copies: int) -> bytes:
    """Many entries over one compressed kernel: the bomb that no nesting and no single ratio betrays."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    kernel = packer.compress(bytes(kernel_mib << 20)) + packer.flush()
    crc = zlib.crc32(bytes(kernel_mib << 20))
    name = b"a.txt"
    head = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, crc, len(kernel), kernel_mib << 20, len(name), 0)
    central = b""
    for number in range(copies):
        own = b"%05d" % number
        central += struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, crc, len(kernel), kernel_mib << 20, len(own), 0, 0, 0, 0, 0, 0
        ) + own  # fmt: skip
    start = len(head) + len(name) + len(kernel)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, copies, copies, len(central), start, 0)
    return head + name + kernel + central + end


def nested(depth: int, data: bytes) -> bytes:
    for number in range(depth):
        data = zipped((f"inner-{number}.zip" if number else "page.html", data))
    return data


def tarred(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def member(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def tar_block(name: bytes, kind: bytes, size: int, more: dict[int, bytes] | None = None) -> bytes:
    """One header block with a right checksum and any declared size."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108], block[124:136] = b"0000644\0", b"%011o\0" % size
    block[156:157], block[257:265] = kind, b"ustar  \0"
    for at, data in (more or {}).items():
        block[at : at + len(data)] = data
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def gzip_of(pieces: Iterator[bytes]) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(piece) for piece in pieces), packer.flush()])


def huge_long_name(mib: int) -> bytes:
    """A member whose name is said, and found, to be so many MiB long."""
    head = tar_block(b"././@LongLink", b"L", mib << 20)
    return gzip_of(iter([head, *(b"a" * MIB for _ in range(mib)), bytes(1024)]))


def huge_pax(mib: int) -> bytes:
    head = tar_block(b"PaxHeader", b"x", mib << 20)
    return gzip_of(iter([head, *(b"1" * MIB for _ in range(mib)), bytes(1024)]))


def sparse_chain(blocks: int) -> bytes:
    """An old GNU sparse member whose map goes on for so many blocks."""
    pair = b"%011o\0%011o\0" % (0, 0)
    head = tar_block(b"holes", b"S", 0, {386: pair * 4, 482: b"\1", 483: b"%011o\0" % (1 << 30)})
    more = (pair * 21).ljust(504, b"\0") + b"\1" + bytes(7)
    return gzip_of(iter([head, *(more * 2048 for _ in range(blocks // 2048)), bytes(1024)]))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, side: int = 16) -> bytes:
    rows = b"".join(b"\0" + bytes((x * 7 + y * 13) % 256 for x in range(3 * side)) for y in range(side))
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(chunks)
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


def zeros_packed(mib: int) -> bytes:
    packer = zlib.compressobj(1)
    return b"".join([*(packer.compress(bytes(MIB)) for _ in range(mib)), packer.flush()])


def frames_of_many(count: int) -> bytes:
    """An animated GIF of so many tiny frames."""
    frame = b"\x2c\0\0\0\0\x10\0\x10\0\0\x02\x0c\x84\x8f\xa9\xcb\xed\x0f\xa3\x9c\xb4\xda\x8b\0\0"
    return b"GIF89a\x10\0\x10\0\x80\0\0\0\0\0\xff\xff\xff" + frame * count + b"\x3b"


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def mp4_of_ages() -> bytes:
    """A clip of no samples that says it lasts 2^32 - 2 seconds."""
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    head = box(b"mvhd", bytes(12) + struct.pack(">II", 1, 0xFFFFFFFE) + bytes(16) + matrix + bytes(24) + b"\0\0\0\2")
    track = box(
        b"tkhd",
        b"\0\0\0\7"
        + bytes(8)
        + struct.pack(">II", 1, 0)
        + struct.pack(">I", 0xFFFFFFFE)
        + bytes(16)
        + matrix
        + struct.pack(">II", 0xFFFF0000, 0xFFFF0000),
    )
    media = box(b"mdhd", bytes(12) + struct.pack(">II", 1, 0xFFFFFFFE) + bytes(4))
    handler = box(b"hdlr", bytes(8) + b"vide" + bytes(13))
    table = box(b"stts", bytes(4) + struct.pack(">III", 1, 0xFFFFFFFF, 0xFFFFFFFF))
    entry = box(b"avc1", bytes(6) + b"\0\1" + bytes(16) + struct.pack(">HH", 0xFFFF, 0xFFFF) + bytes(50))
    tables = box(
        b"stbl",
        box(b"stsd", bytes(4) + struct.pack(">I", 1) + entry)
        + table
        + box(b"stsc", bytes(8))
        + box(b"stsz", bytes(4) + struct.pack(">II", 1, 0xFFFFFFFF))
        + box(b"stco", bytes(8)),
    )
    information = box(b"minf", box(b"vmhd", bytes(12)) + box(b"dinf", box(b"dref", bytes(8))) + tables)
    body = box(b"moov", head + box(b"trak", track + box(b"mdia", media + handler + information)))
    return box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41") + body + box(b"mdat", bytes(64))


def mp4_of_boxes(depth: int) -> bytes:
    body = b""
    for _ in range(depth):
        body = box(b"moov", body)
    return box(b"ftyp", b"isom\0\0\2\0isom") + body


def sound(seconds: float = 1.0) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(b"".join(struct.pack("<h", int(8000 * math.sin(n / 9))) for n in range(int(16_000 * seconds))))
    return buffer.getvalue()


def wav(data_bytes: int, rate: int = 16_000, channels: int = 1, width: int = 16) -> bytes:
    body = sound()[44:]
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * 2 % (1 << 32), 2, width)
    return (
        b"RIFF"
        + struct.pack("<I", 0xFFFFFFFF)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", data_bytes)
        + body
    )


def epub(page: bytes, **files: bytes) -> bytes:
    container = b'<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles><rootfile full-path="c.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
    package = (
        b'<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata/><manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest><spine>'
        + b'<itemref idref="a"/>' * int(files.pop("spine", b"1"))
        + b"</spine></package>"
    )
    members = {
        "mimetype": b"application/epub+zip",
        "META-INF/container.xml": container,
        "c.opf": package,
        "a.xhtml": page,
    }
    return zipped(
        *{**members, **{name.replace("__", "/"): data for name, data in files.items()}}.items(), form=zipfile.ZIP_STORED
    )


def pdf(*objects: bytes) -> bytes:
    body, places = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, text)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return body + b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (
        len(places) + 1,
        table,
        len(places) + 1,
        len(body),
    )


def pdf_bomb(mib: int) -> bytes:
    packed = zeros_packed(mib)
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]/Contents 4 0 R/Resources<<>>>>"
    stream = b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(packed), packed)
    return pdf(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>", page, stream)


def parquet(table: pa.Table, **options: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def texts(count: int = 3) -> pa.Table:
    return pa.table({"text": [f"{GOOD} {number}" for number in range(count)]})


def nested_lists(depth: int) -> bytes:
    kind: pa.DataType = pa.int8()
    value: object = 1
    for _ in range(depth):
        kind, value = pa.list_(kind), [value]
    return parquet(pa.table({"text": pa.array([GOOD]), "deep": pa.array([value], kind)}))


def wrong_footer(form: int) -> bytes:
    data = parquet(texts())
    length = struct.unpack("<I", data[-8:-4])[0]
    if form == 0:
        return data[:-8] + struct.pack("<I", 0x7FFFFFFF) + b"PAR1"
    if form == 1:
        return data[: -8 - length] + b"\xff" * length + data[-8:]
    return data[: len(data) // 2] + data[-8:]


def repeated(mib: int) -> bytes:
    """A column that is one long text, a million times by dictionary: kilobytes on disk, terabytes as strings."""
    dictionary = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), pa.array(["x" * (mib << 20)]))
    return parquet(pa.table({"text": dictionary}), compression="zstd")


def warc_record(block: bytes, *headers: bytes, length: int | None = None) -> bytes:
    size = len(block) if length is None else length
    lines = [b"WARC/1.0", b"WARC-Type: response", b"WARC-Record-ID: <urn:a>", *headers, b"Content-Length: %d" % size]
    return b"\r\n".join(lines) + b"\r\n\r\n" + block + b"\r\n\r\n"


def answer(body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", *(headers or (b"Content-Type: text/html",))]
    return warc_record(b"\r\n".join(lines) + b"\r\n\r\n" + body, b"Content-Type: application/http")


def laughs(head: bytes, tail: bytes) -> bytes:
    entities = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10))
    return b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "lol">' + entities + b"]>" + head + b"&l9;" + tail


def cues(count: int) -> bytes:
    return b"".join(
        b"%d\n%02d:%02d:%02d,000 --> %02d:%02d:%02d,500\nline\n\n" % (n, n // 3600 % 100, n // 60 % 60, n % 60, n // 3600 % 100, n // 60 % 60, n % 60)
        for n in range(count)
    )  # fmt: skip


FILES: dict[str, Callable[[], bytes]] = {
    "absolute.zip": lambda: zipped(
        ("/etc/passwd.txt", b"x"),
        ("C:\\x.txt", b"x"),
        ("..\\..\\y.txt", b"x"),
        ("a/../../z.txt", b"x"),
        zip_link("link", "/etc/passwd"),
        ("ok.html", PAGE),
    ),
    "nested.zip": lambda: nested(12, PAGE),
    "many.zip": lambda: zip_of_many(1_000_000),
    "overlap.zip": lambda: overlapping_zip(31, 2000),
    "locked.zip": lambda: (
        zipped(("a.txt", b"x"))
        .replace(b"PK\3\4\x14\0\0", b"PK\3\4\x14\0\1")
        .replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1")
    ),
    "cut.zip": lambda: zipped(("a.html", PAGE))[:-30],
    "quine.gz": lambda: gzip.compress(gzip.compress(gzip.compress(gzip.compress(gzip.compress(PAGE))))),
    "trailing.html.gz": lambda: gzip.compress(PAGE, mtime=0) + b"these bytes belong to nothing" * 9,
    "two.html.gz": lambda: gzip.compress(PAGE[:100], mtime=0) + gzip.compress(PAGE[100:], mtime=0),
    "bomb.bz2": lambda: bz2.compress(bytes(64 * MIB)),
    "bomb.xz": lambda: lzma.compress(bytes(128 * MIB), preset=1),
    "long_name.tar.gz": lambda: huge_long_name(300),
    "pax.tar.gz": lambda: huge_pax(300),
    "sparse.tar.gz": lambda: sparse_chain(1 << 19),
    "chain.tar": lambda: (
        b"".join(tar_block(b"././@LongLink", b"L", 2) + b"a\0".ljust(512, b"\0") for _ in range(3000)) + bytes(1024)
    ),
    "tricks.tar": lambda: tarred(
        (member("pages/good.html"), PAGE),
        (member("dev", type=tarfile.CHRTYPE), b""),
        (member("block", type=tarfile.BLKTYPE), b""),
        (member("a\nb.html"), PAGE),
        (member("nul\0.html"), PAGE),
        (member("x/" * 90 + "deep.html"), PAGE),
        form=tarfile.PAX_FORMAT,
    ),
    "pax_size.tar": lambda: tarred(
        (member("a.html", pax_headers={"size": "99999999999999"}), PAGE), form=tarfile.PAX_FORMAT
    ),
    "pax_path.tar": lambda: tarred(
        (member("a.html", pax_headers={"path": "../../out.html"}), PAGE), form=tarfile.PAX_FORMAT
    ),
    "long_line.jsonl": lambda: (
        b'{"text": "' + b"a" * (100 * MIB) + b'"}\n' + json.dumps({"text": GOOD}).encode() + b"\n"
    ),
    "numbers.jsonl": lambda: (
        b'{"text": ' + b"9" * 100_000 + b"}\n" + b'{"text": 1e999}\n' + json.dumps({"text": GOOD}).encode() + b"\n"
    ),
    "surrogates.jsonl": lambda: (
        b'{"text": "\\ud800 half"}\n{"te\\udc00xt": "a"}\n{"text": "\xed\xa0\x80"}\n'
        + json.dumps({"text": GOOD}).encode()
        + b"\n"
    ),
    "deep.jsonl": lambda: b'{"text": ' + b"[" * 100_000 + b"\n" + json.dumps({"text": GOOD}).encode() + b"\n",
    "keys.jsonl": lambda: json.dumps({"text": GOOD, **{f"k{n}": n for n in range(150_000)}}).encode() + b"\n",
    "footer_long.parquet": lambda: wrong_footer(0),
    "footer_noise.parquet": lambda: wrong_footer(1),
    "footer_cut.parquet": lambda: wrong_footer(2),
    "lists.parquet": lambda: nested_lists(60),
    "dictionary.parquet": lambda: repeated(4),
    "headers.warc": lambda: warc_record(b"x", *(b"X-%d: a" % n for n in range(1_000_000))) + answer(PAGE),
    "http_headers.warc": lambda: answer(PAGE, b"Content-Type: text/html", *(b"X-%d: a" % n for n in range(300_000))),
    "chunks.warc": lambda: answer(
        b"1\r\na\r\n" * 1_000_000 + b"0\r\n\r\n", b"Content-Type: text/html", b"Transfer-Encoding: chunked"
    ),
    "negative.warc": lambda: warc_record(b"x", length=-5) + answer(PAGE),
    "coded.warc": lambda: answer(
        gzip_of(bytes(MIB) for _ in range(64)), b"Content-Type: text/html", b"Content-Encoding: gzip"
    ),
    "entity.epub": lambda: epub(
        b'<?xml version="1.0"?><!DOCTYPE html [<!ENTITY f SYSTEM "file:///etc/hostname">]><html xmlns="http://www.w3.org/1999/xhtml"><body><p>'
        + GOOD.encode() * 3
        + b"&f;</p></body></html>"
    ),
    "laughs.epub": lambda: epub(laughs(b"<html><body><p>" + GOOD.encode(), b"</p></body></html>")),
    "spine.epub": lambda: epub(PAGE * 20, spine=b"100000"),
    "bomb.epub": lambda: zipped(("mimetype", b"application/epub+zip"), ("META-INF/container.xml", bytes(40 * MIB))),
    "loop.pdf": lambda: pdf(
        b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 1000000000/Parent 2 0 R>>"
    ),
    "bomb.pdf": lambda: pdf_bomb(300),
    "no_end.pdf": lambda: b"%PDF-1.4\n" + b"1 0 obj\n<<" * 100_000,
    "ages.mp4": mp4_of_ages,
    "boxes.mp4": lambda: mp4_of_boxes(5000),
    "million.srt": lambda: cues(500_000),
    "half.wav": lambda: wav(1 << 31),
    "rate.wav": lambda: wav(32_000, rate=0xFFFFFFFF),
    "channels.wav": lambda: wav(32_000, channels=65_535),
    "text_bomb.png": lambda: png(*[png_chunk(b"zTXt", b"Comment\0\0" + zeros_packed(260)) for _ in range(1)]),
    "profile_bomb.png": lambda: png(png_chunk(b"iCCP", b"icc\0\0" + zeros_packed(260))),
    "data_bomb.png": lambda: (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4000, 4000, 8, 2, 0, 0, 0))
        + png_chunk(b"IDAT", zeros_packed(100))
        + png_chunk(b"IEND", b"")
    ),
    "frames.gif": lambda: frames_of_many(200_000),
    "wide.jpg": lambda: jpeg_header(65_500, 65_500),
    "laughs.svg": lambda: laughs(b'<svg xmlns="http://www.w3.org/2000/svg"><text>', b"</text></svg>"),
    "laughs.xml": lambda: laughs(b"<x>", b"</x>"),
    "outside.xml": lambda: (
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><x><p>'
        + GOOD.encode() * 3
        + b"&f;</p></x>"
    ),
    "utf7.html": lambda: (
        b'<html><head><meta charset="utf-7"></head><body><p>'
        + GOOD.encode() * 3
        + b"+ADw-script+AD4-alert(1)+ADw-/script+AD4- +2AA-</p></body></html>"
    ),
    "cesu.txt": lambda: GOOD.encode() * 3 + b"\xed\xa0\xbd\xed\xb8\x80 \xed\xa0\x80 end",
    "combining.txt": lambda: ("a" + "\u0301" * 200_000).encode(),
    "scripts.html": lambda: b"<script>" * 200_000 + PAGE,
    "attributes.html": lambda: b"<p " + b" ".join(b"a%d='x'" % n for n in range(150_000)) + b">" + PAGE,
    "tables.html": lambda: b"<table><tr><td>" * 60_000 + GOOD.encode(),
    "columns.csv": lambda: b"text" + b",c" * 200_000 + b"\n" + b"x" + b",1" * 200_000 + b"\n",
    "quotes.csv": lambda: b'text,b\n"' + b'""' * 2_000_000 + b"\n",
    "anchors.yaml": lambda: b"".join(
        b"a%d: &a%d [%s]\n" % (n, n, b",".join(b"*a%d" % (n - 1) for _ in range(9)) if n else b"x") for n in range(30)
    ),
    "deep.yaml": lambda: b"[" * 100_000,
    "zero.robots.txt": lambda: b"User-agent: *\nDisallow: /" + b"*" * 5000 + b"$\n",
}


def jpeg_header(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def write(folder: Path) -> Path:
    """Write all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in FILES.items():
        (folder / name).write_bytes(make())
    return folder
