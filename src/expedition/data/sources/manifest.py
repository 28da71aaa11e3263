"""What lies beside the documents of a source: captions, transcripts, subtitles, licences — metadata, never documents.

A file is a manifest by its content: its rows name files of the source. Files named gold* and labels* hold labelled
truth: they are recognised by name and never opened.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from expedition.data.decode.charset import readable_text
from expedition.data.decode.chat import media_names
from expedition.data.decode.companion import NOTHING, Companion, companion_of_row
from expedition.data.decode.driving import Drive, camera_of
from expedition.data.decode.interleaved import parts_of
from expedition.data.decode.jsonl import json_lines, json_value
from expedition.data.decode.piece import Fault, Refused
from expedition.data.decode.rules import Limits
from expedition.data.decode.sniff import SUFFIXES, Format, suffix_of
from expedition.data.decode.tables import table_rows
from expedition.data.sources.provenance import kept
from expedition.data.sources.walk import Found, walk
from expedition.data.stages.code.licence import is_licence_evidence, repository_licence

_REFERENCES = (
    "image", "file", "file_name", "filename", "video", "audio", "path", "image_path", "audio_path", "audio_filepath",
    "video_path", "img", "clip", "wav", "media", "key",
)  # fmt: skip
_TRUTH = re.compile(r"^(?:gold|labels?)[\w.-]*\.(?:jsonl?|csv|tsv)$", re.I)
_MEDIA = frozenset({Format.IMAGE, Format.AUDIO, Format.VIDEO})
_TABLES = frozenset({Format.JSONL, Format.JSON, Format.TABLE})
_TRAJECTORIES = ("trajectory", "trajectories", "ego_motion", "egomotion", "ego_pose", "poses", "waypoints", "motion")
_CALIBRATIONS = ("calibration", "calib", "cameras", "intrinsics", "sensors")
_SAMPLE_ROWS = 20
_TABLE_BYTES = 32 << 20
_NOTE_BYTES = 1 << 20


@dataclass(slots=True)
class Manifest:
    """Everything beside the documents, by path below the source's folder."""

    folder: Path
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What a manifest says about a file."""
    beside: dict[str, list[str]] = field(default_factory=dict)
    """Files of a medium's stem: texts and subtitles."""
    metadata: set[str] = field(default_factory=set)
    """Files that are no documents themselves."""
    drives: dict[str, Drive] = field(default_factory=dict)
    """Drives by the folder (or scene name) that they are listed under."""
    repositories: dict[str, str | None] = field(default_factory=dict)
    """Licence by the first folder below the source, None where it is known to have none."""
    fetched: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    """(URL, licence) of files that were fetched, from the provenance log."""

    def companion(self, path: str) -> Companion:
        """The text that belongs to a medium."""
        row = dict(self.rows.get(path, {}))
        tracks = [self.folder / name for name in self._tracks(path, row)]
        for name in self.beside.get(path, []):
            if SUFFIXES.get(suffix_of(name)) is not Format.SUBTITLES:
                row = {**_note(self.folder / name), **row}
        return companion_of_row(row, tuple(tracks)) if row or tracks else NOTHING

    def licence(self, path: str) -> str | None:
        """Licence of the repository that a path lies in, else that under which the file was fetched, or None."""
        return self.repositories.get(path.split("/", 1)[0]) or self.fetched.get(path, (None, None))[1]

    def url(self, path: str) -> str | None:
        """Where the file was fetched from, or None."""
        return self.fetched.get(path, (None, None))[0]

    def _tracks(self, path: str, row: Mapping[str, Any]) -> list[str]:
        stated = row.get("subtitles")
        names = [stated] if isinstance(stated, str) else stated if isinstance(stated, list) else []
        parent = PurePosixPath(path).parent
        found = [str(parent / name) for name in names if isinstance(name, str) and ".." not in name]
        found += [str(name) for name in names if isinstance(name, str) and ".." not in name]
        beside = [n for n in self.beside.get(path, []) if SUFFIXES.get(suffix_of(n)) is Format.SUBTITLES]
        return [n for n in dict.fromkeys([*found, *beside]) if (self.folder / n).is_file()]


@functools.lru_cache(maxsize=16)
def manifest_of(folder: Path, exclude: tuple[str, ...] = ()) -> Manifest:
    """The manifest of a source's folder; read once a process. The folder is taken as unchanging meanwhile."""
    return read_manifest(folder, list(walk(folder, exclude)))


def read_manifest(folder: Path, files: list[Found]) -> Manifest:
    """The manifest of `files` below `folder`, read now."""
    manifest = Manifest(folder)
    names = {file.path for file in files}
    stems = _media_stems(names)
    for file in files:
        _sort(file, names, stems, manifest)
    _attach(names, manifest)
    _find_drives(names, manifest)
    _complete_drives(names, manifest)
    _find_licences(files, manifest)
    _take_provenance(names, manifest)
    return manifest


def _take_provenance(names: set[str], manifest: Manifest) -> None:
    """URL, licence and what the origin said (a caption, a title) of files that were fetched."""
    for record in kept(manifest.folder).values():
        if record.path not in names:
            continue
        # Where people find it, if the origin says so: an API's or a mirror's address is in the record alone.
        page = record.meta.get("page_url") or record.url
        url = page if str(page).startswith(("https://", "http://", "s3://")) else None
        manifest.fetched[record.path] = (url, record.licence)
        if record.path in manifest.metadata:
            continue
        told = {"url": url, "licence": record.licence}
        said = {name.lower(): value for name, value in record.meta.items()}
        row = {**said, **{name: value for name, value in told.items() if value is not None}}
        manifest.rows[record.path] = {**row, **manifest.rows.get(record.path, {})}


def _sort(file: Found, names: set[str], stems: Mapping[str, str], manifest: Manifest) -> None:
    """Recognise one file as truth, robots rules, a manifest, or none of these."""
    name = PurePosixPath(file.path).name
    form = SUFFIXES.get(suffix_of(name))
    if _TRUTH.match(name) or name.endswith("robots.txt"):
        manifest.metadata.add(file.path)
    elif form is Format.JSONL or (form in _TABLES and file.size <= _TABLE_BYTES):
        _read_rows(file.path, names, stems, manifest)
    elif name.endswith(".trans.txt") or (stems and name in ("metadata.txt", "transcripts.txt", "captions.txt", "text")):
        _read_lines(file.path, stems, manifest)


def _read_rows(path: str, names: set[str], stems: Mapping[str, str], manifest: Manifest) -> None:
    """Take a table's rows if they are about files; leave it as documents if its rows hold texts of their own."""
    rows = _rows(manifest.folder / path)
    first = list(itertools.islice(rows, _SAMPLE_ROWS))
    if any(parts_of(row) is not None for row in first):
        return
    if any(media_names(row) for row in first):
        parent = PurePosixPath(path).parent
        named = (str(parent / name) for row in itertools.chain(first, rows) for name in media_names(row))
        manifest.metadata.update(names.intersection(named))
        return
    if any(_is_scene(row) for row in first):
        _take_scenes(path, itertools.chain(first, rows), manifest)
        return
    if first and all(_is_licence(row) for row in first):
        manifest.metadata.add(path)
        for row in itertools.chain(first, rows):
            manifest.repositories[str(row.get("repo", row.get("repository")))] = _licence(row)
        return
    about = [_target(row, path, names) for row in first]
    if not any(about):
        if stems and path.endswith((".csv", ".tsv")):
            _read_lines(path, stems, manifest)
        return
    manifest.metadata.add(path)
    for row in itertools.chain(first, rows):
        target = _target(row, path, names)
        if target is not None:
            manifest.rows.setdefault(target, {}).update(row)


def _is_scene(row: Mapping[str, Any]) -> bool:
    """Whether a row names a clip a camera (a calibration file has cameras too, but no clips)."""
    cameras = row.get("cameras")
    return isinstance(cameras, dict) and bool(cameras) and all(isinstance(file, str) for file in cameras.values())


def _is_licence(row: Mapping[str, Any]) -> bool:
    return bool({"repo", "repository"} & row.keys()) and bool({"license", "licence"} & row.keys())


def _licence(row: Mapping[str, Any]) -> str | None:
    value = row.get("license", row.get("licence"))
    return value if isinstance(value, str) and value else None


def _target(row: Mapping[str, Any], path: str, names: set[str]) -> str | None:
    """The file that a row is about: named from the manifest's own folder, or from the source's."""
    parent = PurePosixPath(path).parent
    for field_name in _REFERENCES:
        value = row.get(field_name)
        if isinstance(value, str) and value and len(value) < 1000:
            for candidate in (str(parent / value), value.removeprefix("./")):
                if candidate in names and candidate != path:
                    return candidate
    return None


def _take_scenes(path: str, rows: Iterable[Mapping[str, Any]], manifest: Manifest) -> None:
    manifest.metadata.add(path)
    parent = PurePosixPath(path).parent
    for number, row in enumerate(rows):
        cameras = row.get("cameras")
        if not isinstance(cameras, dict) or not _is_scene(row):
            continue
        clips: dict[str, Path] = {}
        for name, file in sorted(cameras.items()):
            camera = camera_of(str(name))
            if camera is not None and isinstance(file, str) and ".." not in PurePosixPath(file).parts:
                clips.setdefault(camera, manifest.folder / parent / file)
        name = str(parent / str(row.get("scene", row.get("id", f"scene {number}"))))
        told = {key: value for key, value in row.items() if key not in ("cameras", "calibration")}
        calibration, trajectory = (_stated(row, key, manifest.folder / parent) for key in ("calibration", "trajectory"))
        manifest.drives[name] = Drive(name, clips, calibration, trajectory, told)
        for used in (*clips.values(), calibration, trajectory):
            if used is not None:
                manifest.metadata.add(used.relative_to(manifest.folder).as_posix())


def _stated(row: Mapping[str, Any], key: str, folder: Path) -> Path | None:
    value = row.get(key)
    if not isinstance(value, str) or ".." in PurePosixPath(value).parts:
        return None
    return folder / value


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The readable rows of a JSON, JSON-lines or delimited file."""
    form = SUFFIXES.get(suffix_of(path.name))
    try:
        if form is Format.TABLE:
            yield from (row for _, row in table_rows(path.read_bytes()) if not isinstance(row, Fault))
        elif form is Format.JSONL and path.suffix.lower() not in (".gz", ".zst", ".bz2", ".xz"):
            with path.open("rb") as stream:
                yield from (row for _, row in json_lines(stream, Limits()) if isinstance(row, dict))
        elif form is Format.JSON and path.suffix.lower() == ".json":
            value = json_value(path.read_bytes())
            yield from (row for row in (value if isinstance(value, list) else [value]) if isinstance(row, dict))
    except (Refused, OSError):
        return


def _media_stems(names: Iterable[str]) -> dict[str, str]:
    return {PurePosixPath(name).stem: name for name in sorted(names) if SUFFIXES.get(suffix_of(name)) in _MEDIA}


def _read_lines(path: str, stems: Mapping[str, str], manifest: Manifest) -> None:
    """Lines that begin with a medium's name or stem: `id|text`, `id<TAB>text`, `id text`."""
    try:
        text = readable_text((manifest.folder / path).read_bytes())[0]
    except (Refused, OSError):
        return
    found: dict[str, str] = {}
    lines = [line for line in text.split("\n") if line.strip()]
    for line in lines:
        parts = re.split(r"\||\t", line) if re.search(r"\||\t", line) else line.split(" ", 1)
        stem = PurePosixPath(parts[0].strip()).stem if "." in parts[0] else parts[0].strip()
        said = next((part.strip() for part in reversed(parts[1:]) if part.strip()), "")
        if stem in stems and said:
            found[stems[stem]] = said
    if len(found) * 2 >= len(lines) > 0:
        manifest.metadata.add(path)
        for target, said in found.items():
            manifest.rows.setdefault(target, {}).setdefault("text", said)


def _attach(names: set[str], manifest: Manifest) -> None:
    """Texts and subtitles of a medium's stem belong to it: clip.mp4 with clip.srt, clip.en.vtt, clip.txt, clip.json."""
    media: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        if SUFFIXES.get(suffix_of(name)) in _MEDIA:
            media[str(PurePosixPath(name).with_suffix(""))].append(name)
    for name in sorted(names):
        form = SUFFIXES.get(suffix_of(name))
        beside = form in (Format.SUBTITLES, Format.TEXT, Format.JSON) or name.endswith((".lab", ".caption"))
        if not beside or name in manifest.metadata:
            continue
        stem = str(PurePosixPath(name).with_suffix(""))
        owners = media.get(stem) or (form is Format.SUBTITLES and media.get(stem.rsplit(".", 1)[0])) or []
        for owner in owners:
            manifest.beside.setdefault(owner, []).append(name)
            manifest.metadata.add(name)
    for row_path, row in manifest.rows.items():
        for track in manifest._tracks(row_path, row):
            manifest.metadata.add(track)


def _note(path: Path) -> dict[str, Any]:
    """What a text or JSON file beside a medium says, as a manifest row."""
    try:
        if path.stat().st_size > _NOTE_BYTES:
            return {}
        if path.suffix.lower() == ".json":
            value = json_value(path.read_bytes())
            return value if isinstance(value, dict) else {}
        return {"text": readable_text(path.read_bytes())[0]}
    except (Refused, OSError):
        return {}


def _find_drives(names: set[str], manifest: Manifest) -> None:
    """Folders whose clips are all cameras of a rig, two or more; calibration and trajectory beside them or above."""
    clips: dict[str, dict[str, str]] = defaultdict(dict)
    others: set[str] = set()
    for name in sorted(names - manifest.metadata):
        if SUFFIXES.get(suffix_of(name)) is not Format.VIDEO:
            continue
        path = PurePosixPath(name)
        camera = camera_of(path.stem)
        place = str(path.parent)
        if camera is None and len(path.parts) > 1 and camera_of(path.parent.name):
            camera, place = camera_of(path.parent.name), str(path.parent.parent)
        if camera is None or camera in clips[place]:
            others.add(place)
        else:
            clips[place][camera] = name
    for place, cameras in sorted(clips.items()):
        if len(cameras) < 2 or place in others:
            continue
        manifest.drives[place] = _drive(place, cameras, names, manifest)


def _complete_drives(names: set[str], manifest: Manifest) -> None:
    """Calibration and trajectory that lie beside a listed drive's clips, where its row does not name them."""
    for name, drive in manifest.drives.items():
        clip = next(iter(drive.clips.values()), None)
        if clip is None:
            continue
        place = clip.parent.relative_to(manifest.folder).as_posix()
        calibration, trajectory = _beside(place, _CALIBRATIONS, names), _beside(place, _TRAJECTORIES, names)
        manifest.metadata.update(path for path in (calibration, trajectory) if path is not None)
        manifest.drives[name] = replace(
            drive,
            calibration=drive.calibration or (None if calibration is None else manifest.folder / calibration),
            trajectory=drive.trajectory or (None if trajectory is None else manifest.folder / trajectory),
        )


def _drive(place: str, cameras: dict[str, str], names: set[str], manifest: Manifest) -> Drive:
    folder = manifest.folder
    trajectory = _beside(place, _TRAJECTORIES, names)
    calibration = _beside(place, _CALIBRATIONS, names)
    rows = [manifest.rows.get(name, {}) for name in cameras.values()]
    told = {key: row[key] for row in rows for key in ("description", "caption", "license", "licence") if row.get(key)}
    manifest.metadata.update(cameras.values(), (name for name in (trajectory, calibration) if name is not None))
    return Drive(
        place,
        {camera: folder / name for camera, name in cameras.items()},
        None if calibration is None else folder / calibration,
        None if trajectory is None else folder / trajectory,
        told,
    )


def _beside(place: str, stems: tuple[str, ...], names: set[str]) -> str | None:
    for parent in (PurePosixPath(place), PurePosixPath(place).parent):
        for stem in stems:
            for suffix in (".json", ".csv"):
                candidate = str(parent / f"{stem}{suffix}")
                if candidate in names:
                    return candidate
    return None


def _find_licences(files: list[Found], manifest: Manifest) -> None:
    """Licences of first-level folders from their own files, where no table states them."""
    texts: dict[str, dict[str, str]] = defaultdict(dict)
    for file in files:
        repository, _, inside = file.path.partition("/")
        wanted = inside.count("/") == inside.startswith("LICENSES/") and is_licence_evidence(inside)
        if wanted and file.size < _NOTE_BYTES:
            try:
                texts[repository][inside] = readable_text((manifest.folder / file.path).read_bytes())[0]
            except (Refused, OSError):
                continue
    for repository, found in texts.items():
        if repository not in manifest.repositories:
            licence = repository_licence(found)
            manifest.repositories[repository] = None if licence is None else licence.spdx
