"""Items and documents: order, parts, sidecars, ids, licences."""

from __future__ import annotations

import gzip
import json
import pickle
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.records import CAMERAS, DOCUMENT_SCHEMA, PLACEHOLDER, Document, documents_of
from expedition.data.sources import Rejected, SourceFolder, discover, list_items, read_documents, read_file, work_units
from expedition.data.sources.items import ItemRef
from expedition.data.sources.ranges import part_of
from tests.data.decode.test_containers import page, record
from tests.data.decode.test_media import clip, picture
from tests.data.sources.test_folder import FOLDERS, put, rows, sound


def read(source: SourceFolder, items: list[ItemRef] | None = None) -> tuple[list[Document], list[Rejected]]:
    documents: list[Document] = []
    rejects: list[Rejected] = []
    for found in read_documents(source, list_items(source) if items is None else items):
        if isinstance(found, Rejected):
            rejects.append(found)
        else:
            assert found.schema == DOCUMENT_SCHEMA
            documents += documents_of(found)
    return documents, rejects


def source_of(root: Path, files: dict[str, bytes | str], name: str = "source") -> SourceFolder:
    put(root / name, files)
    return discover(root)[0]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, (_, files) in FOLDERS.items():
        put(tmp_path / name, files)
    return tmp_path


def test_every_kind_gives_documents_of_its_kind(data: Path) -> None:
    for source in discover(data):
        documents, _ = read(source)
        assert {document.kind for document in documents} == {source.kind}, source.name
        for document in documents:
            assert document.path.startswith(source.name + "/")
            assert document.text.count(PLACEHOLDER) == len(document.inserts)


def test_sidecars_are_no_documents(tmp_path: Path) -> None:
    source = source_of(
        tmp_path,
        {
            "a/1.jpg": picture("JPEG"),
            "a/captions.jsonl": rows({"image": "1.jpg", "caption": "from the row", "license": "CC0-1.0"}),
            "b/2.jpg": picture("JPEG", size=(48, 24)),
            "b/2.txt": "from the file beside it",
            "c/3.jpg": picture("JPEG", size=(56, 24)),
            "metadata.csv": "file_name,text\nc/3.jpg,from the table\n",
            "gold.jsonl": rows({"image": "c/3.jpg", "caption": "never read"}),
            "d/4.jpg": picture("JPEG", size=(64, 24)),
        },
    )
    documents, rejects = read(source)
    assert [document.text for document in documents] == [
        "\ufffc from the row",
        "\ufffc from the file beside it",
        "\ufffc from the table",
    ]
    assert [document.licence for document in documents] == ["CC0-1.0", None, None]
    assert [(reject.path, reject.reason.value) for reject in rejects] == [("source/d/4.jpg", "missing text")]


def test_transcripts_of_other_houses_are_understood(tmp_path: Path) -> None:
    source = source_of(
        tmp_path,
        {
            "lj/wavs/LJ-1.wav": sound(),
            "lj/metadata.csv": "LJ-1|Dr. Smith|Doctor Smith\n",
            "libri/84-1.flac": sound(),
            "libri/84.trans.txt": "84-1 A QUIET MORNING\n",
            "cv/clips/c1.wav": sound(),
            "cv/validated.tsv": "client_id\tpath\tsentence\tlocale\nx\tclips/c1.wav\tGuten Morgen\tde\n",
        },
    )
    documents, rejects = read(source)
    assert sorted(document.text for document in documents) == [
        "\ufffc A QUIET MORNING",
        "\ufffc Doctor Smith",
        "\ufffc Guten Morgen",
    ]
    assert not rejects


def test_subtitles_follow_their_clip_by_name_or_row(tmp_path: Path) -> None:
    cue = "1\n00:00:00,000 --> 00:00:00,300\n{}\n"
    source = source_of(
        tmp_path,
        {
            "a.mp4": clip(0.3),
            "a.de.srt": cue.format("hallo"),
            "b.mp4": clip(0.4),
            "subs/b-text.srt": cue.format("by row"),
            "videos.jsonl": rows({"video": "b.mp4", "subtitles": "subs/b-text.srt"}),
            "alone.en.vtt": "WEBVTT\n\n00:00.000 --> 00:01.000\nno clip\n",
        },
    )
    documents, _ = read(source)
    assert [(document.text, document.language) for document in documents] == [
        ("\ufffc hallo", "de"),
        ("no clip", None),
        ("\ufffc by row", None),
    ] or sorted(document.text for document in documents) == ["no clip", "\ufffc by row", "\ufffc hallo"]


def test_rigs_are_one_document(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"s/{camera}.mp4": clip(0.3) for camera in CAMERAS}
    files |= {f"t/cam_{name}.mp4": clip(0.3) for name in ("left", "front", "right")}
    files |= {
        "s/trajectory.json": json.dumps([[0, 0, 0], [0.5, 4, 0], [1, 8, 0]]),
        "s/calibration.json": '{"cameras": {"front": {}}}',
    }
    files |= {
        "scenes.jsonl": rows(
            {
                "scene": "u",
                "cameras": {camera: f"s/{camera}.mp4" for camera in CAMERAS},
                "trajectory": "s/trajectory.json",
                "description": "a road",
            }
        )
    }
    documents, rejects = read(source_of(tmp_path, files))
    assert {(document.path, document.kind) for document in documents} == {
        ("source/u", "driving"),
        ("source/t", "video-text"),
    }
    drive = next(document for document in documents if document.kind == "driving")
    assert drive.text.strip(PLACEHOLDER) == " a road"
    assert not rejects


def test_repositories_have_their_licence(tmp_path: Path) -> None:
    mit = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software"
    source = source_of(
        tmp_path,
        {
            "a/LICENSE": mit,
            "a/x.py": "x = 1\n",
            "a/y.py": "# SPDX-License-Identifier: Apache-2.0\ny = 1\n",
            "b/z.c": "int z;\n",
            "c/w.go": "package w\n",
            "c/COPYING": mit,
            "licenses.jsonl": rows({"repo": "c", "license": "GPL-3.0"}, {"repo": "b", "license": None}),
            "a/image.bin": bytes(range(256)),
        },
    )
    documents, rejects = read(source)
    assert {document.path: document.licence for document in documents} == {
        "source/a/x.py": "MIT",
        "source/a/y.py": "Apache-2.0",
        "source/b/z.c": None,
        "source/c/w.go": "GPL-3.0",
    }
    assert [reject.path for reject in rejects] == ["source/a/image.bin"]


def test_ids_depend_on_content_and_path_alone(data: Path) -> None:
    for source in discover(data):
        documents, _ = read(source)
        items = list_items(source)
        one_by_one = [document for item in items for document in read(source, [item])[0]]
        assert one_by_one == documents
        assert len({document.id for document in documents}) == len(documents)
        assert pickle.loads(pickle.dumps((source, items))) == (source, items)
        assert all(len(document.id) == 32 for document in documents)


def test_items_are_small_enough_to_blame(data: Path) -> None:
    """A crash loses one unit; run again item by item, it names its file."""
    for source in discover(data):
        items = list_items(source)
        units = work_units(items, target_bytes=1000, most=3)
        assert [item for unit in units for item in unit] == items
        assert all(len(unit) <= 3 for unit in units)
        assert len({(item.path, item.start) for item in items}) == len(items)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=30), st.integers(1, 900))
def test_parts_of_lines_tile_the_file(lengths: list[int], step: int) -> None:
    import tempfile

    data = b"".join(b"x" * length + b"\n" for length in lengths)
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        parts = [part_of(Path(file.name), "lines", start, start + step).read() for start in range(0, len(data), step)]
    assert b"".join(parts) == data
    assert all(part.endswith(b"\n") or not part for part in parts)


@pytest.mark.parametrize("packed", [False, True])
def test_parts_hold_each_record_once(tmp_path: Path, packed: bool) -> None:
    rng = random.Random(7)
    records = [
        record(number, page(number).replace("small", "small " + "word " * rng.randrange(300))) for number in range(40)
    ]
    content = b"".join(gzip.compress(r, mtime=0) for r in records) if packed else b"".join(records)
    source = source_of(tmp_path, {"crawl.warc.gz" if packed else "crawl.warc": content})
    urls = [f"http://example.org/{number}" for number in range(40)]
    for split in (len(content) // 3, len(content) // 17, 997):
        items = list_items(source, split_bytes=split)
        assert len(items) > 2
        documents, rejects = read(source, items)
        assert [document.url for document in documents] == urls
        assert not rejects


def test_one_large_member_is_not_cut(tmp_path: Path) -> None:
    rng = random.Random(3)
    body = "".join(rng.choice("abcdefghij klm") for _ in range(4000))
    content = gzip.compress(b"".join(record(number, page(number).replace("small", body)) for number in range(10)))
    source = source_of(tmp_path, {"crawl.warc.gz": content})
    items = list_items(source, split_bytes=len(content) // 4)
    assert [item.role for item in items] == ["file"]
    documents, _ = read(source, items)
    assert len(documents) == 10


def test_links_out_of_a_source_are_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", {"secret.html": page(5)})
    put(tmp_path / "data" / "site", {"a.html": page(1)})
    (tmp_path / "data" / "site" / "out.html").symlink_to(tmp_path / "elsewhere" / "secret.html")
    (tmp_path / "data" / "site" / "folder").symlink_to(tmp_path / "elsewhere")
    source = discover(tmp_path / "data")[0]
    items = list_items(source)
    assert [item.path for item in items if item.role == "file"] == ["a.html"]
    documents, rejects = read(source, items)
    assert len(documents) == 1
    assert {reject.path: reject.detail for reject in rejects} == {
        "site/out.html": "a link that leads out of the folder",
        "site/folder": "a link that leads out of the folder",
    }


def test_interleaved_pictures_never_come_from_outside(tmp_path: Path) -> None:
    put(tmp_path, {"outside.jpg": picture("JPEG")})
    items = [
        {"type": "text", "text": "words"},
        {"type": "image", "image": "../outside.jpg"},
        {"type": "image", "image": "in.jpg"},
    ]
    source = source_of(
        tmp_path, {"in.jpg": picture("JPEG", size=(64, 64)), "in.txt": "inside", "pages.jsonl": rows({"items": items})}
    )
    documents, _ = read(source)
    page_document = next(document for document in documents if "words" in document.text)
    assert len(page_document.inserts) == 1
    assert page_document.meta["repairs"] == {"unsafe path": 1}


def test_one_file_by_itself(tmp_path: Path) -> None:
    put(tmp_path, {"p.jpg": picture("JPEG"), "n.txt": "A note.", "q.jpg": picture("JPEG"), "q.txt": "a caption"})
    assert [document.text for document in read_file(tmp_path / "p.jpg").documents] == [PLACEHOLDER]
    assert [document.text for document in read_file(tmp_path / "q.jpg").documents] == ["\ufffc a caption"]
    assert read_file(tmp_path / "n.txt", "books").documents[0].kind == "books"
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none.txt")


def test_real_sources_are_read(open_data: Path) -> None:
    for source in discover(open_data):
        if source.name == "books":
            continue
        documents, rejects = read(source)
        kinds = Counter(document.kind for document in documents)
        assert (
            kinds[source.kind]
            >= {"web": 215, "code": 290, "image-text": 205, "video-text": 9, "audio-text": 44}[source.kind]
        )
        assert len(rejects) < 16
