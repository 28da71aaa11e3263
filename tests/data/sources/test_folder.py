"""Which folders are sources, of which kind, and what sources.yaml may say."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest
import soundfile as sf

from expedition.data.records import CAMERAS
from expedition.data.sources import Declaration, discover, read_declarations, survey
from expedition.errors import InputError
from tests.data.decode.test_containers import page, record
from tests.data.decode.test_media import clip, picture, tone
from tests.data.decode.test_rows_and_books import epub


def put(folder: Path, files: dict[str, bytes | str]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def sound() -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, tone(16_000, 0.3), 16_000, format="WAV")
    return buffer.getvalue()


def rows(*values: dict[str, object]) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


FOLDERS: dict[str, tuple[str, dict[str, bytes | str]]] = {
    "crawl": ("web", {"a.warc.gz": gzip.compress(record(0, page(0)))}),
    "site": ("web", {"one.html": page(1), "two.htm": page(2), "logo.png": picture("PNG")}),
    "repos": ("code", {"tool/LICENSE": "MIT License", "tool/main.py": "print(1)\n", "tool/README.md": "# Tool\n"}),
    "library": ("books", {"a.epub": epub({"a": "<p>A.</p>"}, ["a"]), "b.txt": "A long tale. " * 2000}),
    "photos": (
        "image-text",
        {
            "1.jpg": picture("JPEG"),
            "2.png": picture("PNG"),
            "captions.jsonl": rows({"image": "1.jpg", "caption": "one"}),
        },
    ),
    "clips": ("video-text", {"a.mp4": clip(0.3), "a.srt": "1\n00:00:00,000 --> 00:00:01,000\nhi\n"}),
    "speech": ("audio-text", {"a.wav": sound(), "transcripts.jsonl": rows({"file": "a.wav", "text": "hi"})}),
    "drives": (
        "driving",
        {
            **{f"s1/{camera}.mp4": clip(0.3) for camera in CAMERAS},
            "s1/trajectory.json": "[[0,0,0],[0.5,4,0]]",
            "s1/calibration.json": "{}",
        },
    ),
    "notes": ("synthetic", {"n.jsonl": rows({"id": 1, "text": "a"}, {"id": 2, "text": "b"})}),
    "pages": (
        "web",
        {
            "p.jsonl": rows({"url": "http://x", "text": "a"}),
            "q.jsonl.gz": gzip.compress(b'{"url":"http://y","text":"b"}\n'),
        },
    ),
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, (_, files) in FOLDERS.items():
        put(tmp_path / name, files)
    return tmp_path


def test_kinds_are_found_by_content(data: Path) -> None:
    assert {source.name: source.kind for source in discover(data)} == {
        name: kind for name, (kind, _) in FOLDERS.items()
    }


def test_labelled_folders_are_no_sources(data: Path) -> None:
    for name in ("eval", "pii", "toxicity", "dedup", "languages", "logs", "bad", "Eval"):
        put(data / name, {"x.txt": "text"})
    put(data / "hidden-test", {"t.jsonl": rows({"text": "a", "label": 1}, {"text": "b", "label": 0})})
    found = survey(data)
    assert {source.name for source in found.sources} == set(FOLDERS)
    assert {"eval", "pii", "hidden-test"} <= set(found.labelled)


def test_empty_and_unknown_folders_are_named_not_guessed(data: Path) -> None:
    (data / "nothing").mkdir()
    put(data / "blobs", {"a.bin": bytes(range(256)) * 20})
    assert survey(data).ignored == {"nothing": "no files", "blobs": "no content of a known kind"}


def test_what_is_declared_goes_first(data: Path) -> None:
    put(
        data,
        {
            "sources.yaml": "sources:\n"
            "  notes: {kind: web, licence: CC0-1.0, since: v0.2, disputed: true, approval: refuse}\n"
            "  site: {exclude: ['*.htm', 'logo.png']}\n"
        },
    )
    found = {source.name: source for source in discover(data)}
    notes = found["notes"]
    assert (notes.kind, notes.licence, notes.since, notes.disputed, notes.told) == (
        "web",
        "CC0-1.0",
        "v0.2",
        True,
        {"approval": "refuse"},
    )
    assert found["site"].files == 1


@pytest.mark.parametrize(
    "text",
    [
        "sources: {notes: {kind: musics}}",
        "sources: {nowhere: {kind: web}}",
        "sources: {notes: [1]}",
        "sources: {notes: {disputed: 3}}",
        "sources: {notes: {exclude: 3}}",
        "sources: {notes: {licence: [a]}}",
        "sources: 7",
        "x: !!python/object/apply:os.getcwd []",
        "a: [",
    ],
)
def test_wrong_declarations_say_where_and_what_fits(data: Path, text: str) -> None:
    put(data, {"sources.yaml": text})
    with pytest.raises(InputError) as error:
        discover(data)
    assert error.value.exit_code == 2
    assert error.value.where is not None
    assert error.value.fix


def test_a_missing_folder_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        discover(tmp_path / "nowhere")


def test_declarations_have_two_forms(tmp_path: Path) -> None:
    put(tmp_path, {"sources.yaml": "sources:\n- {name: a, kind: web}\n- {name: b, license: MIT}\n"})
    assert read_declarations(tmp_path) == {"a": Declaration(kind="web"), "b": Declaration(licence="MIT")}


def test_real_folders_have_their_kinds(open_data: Path) -> None:
    found = survey(open_data)
    assert {source.name: source.kind for source in found.sources} == {
        "audio_text": "audio-text",
        "books": "books",
        "code": "code",
        "image_text": "image-text",
        "video_text": "video-text",
        "web": "web",
    }
    assert set(found.labelled) == {"bad", "dedup", "eval", "languages", "logs", "pii", "toxicity"}
