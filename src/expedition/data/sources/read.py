"""Items to documents in Arrow batches, and a reason for everything that gives none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from expedition.data.decode.archives import open_stream
from expedition.data.decode.driving import drive_piece
from expedition.data.decode.piece import Decoded, Fault, Piece, Refused, Repair
from expedition.data.decode.reasons import Reason
from expedition.data.decode.route import Raw, decode, decode_lines
from expedition.data.decode.rules import DecodeRules
from expedition.data.decode.sniff import SUFFIXES, Format, suffix_of
from expedition.data.decode.webarchive import archive_pieces
from expedition.data.records import KINDS, Document, document_batch
from expedition.data.sources.folder import SourceFolder
from expedition.data.sources.items import ItemRef
from expedition.data.sources.manifest import manifest_of, read_manifest
from expedition.data.sources.ranges import part_of
from expedition.data.sources.walk import walk

_TEXT_KINDS = frozenset({"web", "code", "books", "synthetic", "chat"})
_BATCH_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Rejected:
    """An input, or a part of one (`inner`), that gave no document. `path` is relative to the data folder."""

    source: str
    path: str
    inner: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Repaired:
    """A document that something was put right in."""

    document: str
    inner: str
    reason: Reason
    count: int
    detail: str


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one file."""

    documents: tuple[Document, ...]
    rejects: tuple[Rejected, ...]
    repairs: tuple[Repaired, ...]


def read_documents(
    source: SourceFolder,
    items: Sequence[ItemRef],
    rules: DecodeRules | None = None,
    batch_documents: int = 256,
) -> Iterator[pa.RecordBatch | Rejected]:
    """Documents of `items` in their order, as batches of DOCUMENT_SCHEMA, and rejects as they come.

    A pure function of the files' bytes and the arguments: any way of cutting a source's items gives the same documents
    with the same ids. What was repaired stands in a document's meta under `repairs` ({reason: count}). Raises nothing
    for bad input. A decoder that crashes takes its process with it: the caller knows the items it handed out.
    """
    rules = rules or DecodeRules()
    waiting: list[Document] = []
    size = 0
    manifest = manifest_of(source.folder, source.exclude)
    for item in items:
        for found in _item_pieces(source, item, rules):
            if isinstance(found, Fault):
                yield Rejected(source.name, _path(source, item), _place(item, found.inner), found.reason, found.detail)
                continue
            document = _document(source, item, found, manifest.licence(item.path), manifest.url(item.path))
            waiting.append(document)
            size += len(document.text) + sum(len(insert.data) for insert in document.inserts)
            if len(waiting) >= batch_documents or size >= _BATCH_BYTES:
                yield document_batch(waiting)
                waiting, size = [], 0
    if waiting:
        yield document_batch(waiting)


def read_file(path: Path, source_kind: str | None = None, rules: DecodeRules | None = None) -> FileOutcome:
    """What becomes of one file by itself, with the texts that lie beside it. A medium without a text is kept.

    Raises nothing for bad input; FileNotFoundError where there is no such file.
    """
    path = Path(path).absolute()
    path.stat()
    rules = replace(rules or DecodeRules(), require_text=False)
    source = SourceFolder(path.parent.name, path.parent.parent, source_kind or "web")
    item = ItemRef(source.name, path.name, "file", path.stat().st_size)
    medium = SUFFIXES.get(suffix_of(path.name)) in (Format.IMAGE, Format.AUDIO, Format.VIDEO)
    files = list(walk(path.parent, deep=False)) if medium else []
    companion = read_manifest(path.parent, files).companion(path.name)
    documents, rejects, repairs = [], [], []
    for found in decode(Raw(path.name, path=path, kind=source_kind, companion=companion), rules):
        if isinstance(found, Fault):
            rejects.append(Rejected(source.name, _path(source, item), found.inner, found.reason, found.detail))
            continue
        document = _document(source, item, found, None)
        documents.append(document)
        repairs += [Repaired(document.id, found.inner, r.reason, r.count, r.detail) for r in found.repairs]
    return FileOutcome(tuple(documents), tuple(rejects), tuple(repairs))


def document_id(source: str, path: str, inner: str, piece: Piece) -> str:
    """First 32 hex digits of a SHA-256 over source, path, place in the file, text and media."""
    digest = hashlib.sha256()
    parts = [source, path, inner, piece.text]
    for part in [*(part.encode("utf-8") for part in parts), *(i.name.encode() + i.data for i in piece.inserts)]:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:32]


def _item_pieces(source: SourceFolder, item: ItemRef, rules: DecodeRules) -> Decoded:
    if item.role.startswith("passed:"):
        yield Fault(Reason.NOT_A_PLAIN_FILE, item.role.removeprefix("passed:"))
        return
    manifest = manifest_of(source.folder, source.exclude)
    if item.role == "drive":
        try:
            yield drive_piece(manifest.drives[item.path], rules)
        except Refused as refused:
            yield Fault(refused.reason, refused.detail, refused.inner)
        except OSError as error:
            yield Fault(Reason.UNREADABLE, str(error.strerror or error))
        return
    raw = Raw(
        name=item.path,
        path=source.folder / item.path,
        kind=source.kind if source.kind in _TEXT_KINDS else None,
        companion=manifest.companion(item.path),
    )
    yield from decode(raw, rules) if item.role == "file" else _part_pieces(raw, item, rules)


def _part_pieces(raw: Raw, item: ItemRef, rules: DecodeRules) -> Decoded:
    form = item.role.removeprefix("part:")
    path, end = raw.path or Path(), item.end if item.end is not None else item.start + item.size_bytes
    try:
        with part_of(path, form.split("-")[0], item.start, end) as stream:
            if form == "lines":
                yield from decode_lines(raw, stream, rules)
                return
            opened = open_stream(stream, Format.GZIP) if form.startswith("gzip") else stream
            archive = Format.WARC if form.endswith("warc") else Format.ARC
            yield from archive_pieces(opened, archive, raw, rules)
    except OSError as error:
        yield Fault(Reason.UNREADABLE, str(error.strerror or error))


def _path(source: SourceFolder, item: ItemRef) -> str:
    return f"{source.name}/{item.path}" if item.path != "." else source.name


def _place(item: ItemRef, inner: str) -> str:
    return f"@{item.start} {inner}".strip() if item.role.startswith("part:") else inner


def _document(
    source: SourceFolder, item: ItemRef, piece: Piece, licence: str | None, url: str | None = None
) -> Document:
    inner, path = _place(item, piece.inner), _path(source, item)
    kind = piece.kind if piece.kind in KINDS else source.kind if source.kind in _TEXT_KINDS else "web"
    meta: dict[str, Any] = dict(piece.meta)
    if inner:
        meta["inner"] = inner
    if piece.repairs:
        meta["repairs"] = _counted(piece.repairs)
    return Document(
        id=document_id(source.name, path, inner, piece),
        source=source.name,
        kind=kind,
        path=path,
        text=piece.text,
        inserts=piece.inserts,
        url=piece.url or url,
        licence=piece.licence or licence or source.licence,
        language=piece.language,
        meta=meta,
    )


def _counted(repairs: Sequence[Repair]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for repair in repairs:
        counts[str(repair.reason)] = counts.get(str(repair.reason), 0) + repair.count
    return counts
