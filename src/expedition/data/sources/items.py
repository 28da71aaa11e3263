"""The items of a source in one fixed order: what can be read alone, and large files in parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from expedition.data.decode.sniff import HEAD_BYTES, Format, sniff
from expedition.data.sources.folder import SourceFolder
from expedition.data.sources.manifest import Manifest, manifest_of
from expedition.data.sources.ranges import divides
from expedition.data.sources.walk import Found, not_read, walk
from expedition.data.stages.code.licence import is_licence_file

SPLIT_BYTES = 64 << 20
"""Larger WARC, ARC and JSON-lines files are read in parts of this size."""


@dataclass(frozen=True, slots=True)
class ItemRef:
    """One item to read. `path` lies below the source's folder; a part covers records that begin in [start, end)."""

    source: str
    path: str
    role: str
    """file, drive (the clips of one rig), part:FORM of a large file, or passed:CAUSE of what is never opened."""
    size_bytes: int
    start: int = 0
    end: int | None = None


def list_items(source: SourceFolder, split_bytes: int = SPLIT_BYTES) -> list[ItemRef]:
    """Every item of a source, sorted by path and start; metadata and excluded files are not among them."""
    manifest = manifest_of(source.folder, source.exclude)
    files = walk(source.folder, source.exclude)
    items = [item for file in files for item in _file_items(source, file, manifest, split_bytes)]
    items += _drive_items(source, manifest)
    items += [
        ItemRef(source.name, path, f"passed:{cause}", 0) for path, cause in not_read(source.folder, source.exclude)
    ]
    return sorted(items, key=lambda item: (item.path, item.start))


def work_units(items: Sequence[ItemRef], target_bytes: int = 16 << 20, most: int = 512) -> list[tuple[ItemRef, ...]]:
    """Items in order, cut into units of about `target_bytes` and at most `most` items; depends on the list alone."""
    units: list[tuple[ItemRef, ...]] = []
    unit: list[ItemRef] = []
    size = 0
    for item in items:
        if unit and (size + item.size_bytes > target_bytes or len(unit) >= most):
            units.append(tuple(unit))
            unit, size = [], 0
        unit.append(item)
        size += item.size_bytes
    return [*units, tuple(unit)] if unit else units


def _file_items(source: SourceFolder, file: Found, manifest: Manifest, split_bytes: int) -> Iterator[ItemRef]:
    if file.path in manifest.metadata or (source.kind == "code" and is_licence_file(file.path)):
        return
    form = _part_form(source, file, split_bytes) if file.size > split_bytes else None
    if form is None:
        yield ItemRef(source.name, file.path, "file", file.size)
        return
    for start in range(0, file.size, split_bytes):
        end = min(start + split_bytes, file.size)
        yield ItemRef(source.name, file.path, f"part:{form}", end - start, start, end)


def _part_form(source: SourceFolder, file: Found, split_bytes: int) -> str | None:
    """How a large file may be cut, or None."""
    from expedition.data.decode.archives import stream_head

    with (source.folder / file.path).open("rb") as stream:
        form = sniff(stream.read(HEAD_BYTES), file.path)
        if form is Format.GZIP:
            stream.seek(0)
            inside = sniff(stream_head(stream, form, HEAD_BYTES), file.path.rsplit(".", 1)[0])
            if not divides(source.folder / file.path, "gzip", split_bytes):
                return None
            return {Format.WARC: "gzip-warc", Format.ARC: "gzip-arc"}.get(inside)
    return {Format.WARC: "warc", Format.ARC: "arc", Format.JSONL: "lines"}.get(form)


def _drive_items(source: SourceFolder, manifest: Manifest) -> Iterator[ItemRef]:
    for name, drive in manifest.drives.items():
        size = sum(clip.stat().st_size for clip in drive.clips.values() if clip.is_file())
        yield ItemRef(source.name, name, "drive", size)
