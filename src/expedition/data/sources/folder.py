"""A data folder to its sources: each first-level folder is one, its kind found by what it holds."""

from __future__ import annotations

import itertools
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from expedition.data.decode.sniff import HEAD_BYTES, Format, sniff
from expedition.data.sources.declaration import Declaration, Declarations, read_declarations
from expedition.data.sources.manifest import Manifest, _rows, manifest_of
from expedition.data.sources.walk import Found, walk
from expedition.data.stages.code.licence import is_licence_file
from expedition.errors import InputError

LABELLED_NAMES = frozenset(
    {"eval", "evaluation", "evals", "benchmarks", "pii", "toxicity", "dedup", "languages", "logs", "bad"}
)
"""Folders of these names hold labelled tests: they are read by quality and decontamination, never trained on."""
_LABELS = frozenset(
    [
        "label",
        "labels",
        "spans",
        "entities",
        "similarity",
        "answer_key",
        "answerkey",
        "choices",
        "target_scores",
        "gold",
    ]
)
_SNIFFED = 300
_SHARD_MEMBERS = 8
_LONG_TEXT_BYTES = 8_000


@dataclass(frozen=True, slots=True)
class SourceFolder:
    """A source: a folder of raw files of mostly one kind. Picklable; holds no open file."""

    name: str
    root: Path
    """The data folder; the source's own folder is `root / name`."""
    kind: str
    licence: str | None = None
    since: str | None = None
    disputed: bool = False
    exclude: tuple[str, ...] = ()
    files: int = 0
    size_bytes: int = 0
    told: dict[str, Any] = field(default_factory=dict)
    """Other keys of sources.yaml (approval, policy, reason, languages, …)."""

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.root / self.name


@dataclass(frozen=True, slots=True)
class Survey:
    """What a data folder holds: sources, folders of labelled tests, and what is neither with the cause."""

    sources: tuple[SourceFolder, ...]
    labelled: tuple[str, ...]
    ignored: dict[str, str]


def discover(data_dir: Path, declarations: Declarations | None = None) -> list[SourceFolder]:
    """The training sources of a data folder, sorted by name.

    `declarations` defaults to its sources.yaml. Raises InputError where the folder is missing or a declaration names
    a folder that is not there.
    """
    return list(survey(data_dir, declarations).sources)


def survey(data_dir: Path, declarations: Declarations | None = None) -> Survey:
    """Sources, labelled folders and ignored ones of a data folder. Raises InputError as `discover` does."""
    data_dir = Path(data_dir).absolute()
    if not data_dir.is_dir():
        raise InputError("is not a folder", where=str(data_dir), fix="name a folder with one folder a source in it")
    stated = read_declarations(data_dir) if declarations is None else declarations
    folders = sorted(
        path.name for path in data_dir.iterdir() if path.is_dir() and not path.name.startswith((".", "__MACOSX"))
    )
    not_fetched = {name for name in stated if name not in folders and stated[name].origin is not None}
    for name in stated:
        if name not in folders and name not in not_fetched:
            raise InputError(f"sources.yaml names {name!r}, which is not there", where=str(data_dir), fix="remove it")
    sources, labelled = [], []
    ignored = {name: f"not fetched yet: expedition data acquire --source {name}" for name in sorted(not_fetched)}
    for name in folders:
        declaration = stated.get(name, Declaration())
        if name.lower() in LABELLED_NAMES and declaration.kind is None:
            labelled.append(name)
            continue
        files = list(walk(data_dir / name, declaration.exclude))
        if not files:
            ignored[name] = "excluded" if declaration.exclude else "no files"
            continue
        if declaration.kind is None and _only_labels(data_dir / name, files):
            labelled.append(name)
            continue
        kind = declaration.kind or kind_of(data_dir / name, files, declaration.exclude)
        if kind is None:
            ignored[name] = "no content of a known kind"
            continue
        sources.append(_source(name, data_dir, kind, declaration, files))
    return Survey(tuple(sources), tuple(labelled), ignored)


def kind_of(folder: Path, files: list[Found], exclude: tuple[str, ...] = ()) -> str | None:
    """The kind that most of a folder's content is, by its bytes and structure; None where it holds none."""
    manifest = manifest_of(folder, exclude)
    forms: Counter[Format] = Counter()
    long_texts = 0
    content = [file for file in files if file.path not in manifest.metadata and file.size]
    step = max(1, len(content) // _SNIFFED)
    for file in content[::step]:
        form = _form(folder, file)
        forms[form] += 1
        long_texts += form is Format.TEXT and file.size >= _LONG_TEXT_BYTES
    driven = [drive for drive in manifest.drives.values() if drive.trajectory or drive.calibration]
    if len(driven) * 2 > forms[Format.VIDEO] + len(manifest.drives) - len(driven):
        return "driving"
    return _by_media(forms, manifest) or _by_texts(folder, content, forms, long_texts)


def _by_media(forms: Counter[Format], manifest: Manifest) -> str | None:
    videos = forms[Format.VIDEO] + len(manifest.drives)
    counts = {"video-text": videos, "audio-text": forms[Format.AUDIO], "image-text": forms[Format.IMAGE]}
    kind, most = max(counts.items(), key=lambda item: item[1])
    pages = forms[Format.HTML] + forms[Format.WARC] + forms[Format.ARC] + forms[Format.CODE]
    documents = pages + forms[Format.EPUB] + forms[Format.PDF]
    if videos and videos >= documents:
        return "video-text"
    return kind if most and most >= documents else None


def _by_texts(folder: Path, content: list[Found], forms: Counter[Format], long_texts: int) -> str | None:
    licensed = sum(is_licence_file(file.path) for file in content)
    pages = forms[Format.HTML] + forms[Format.WARC] * 100 + forms[Format.ARC] * 100
    code = forms[Format.CODE] + (forms[Format.TEXT] + forms[Format.YAML] + forms[Format.JSON] if licensed else 0)
    books = forms[Format.EPUB] + forms[Format.PDF] + long_texts
    rows = forms[Format.JSONL] + forms[Format.PARQUET] + forms[Format.TABLE] + forms[Format.JSON]
    if code and code >= pages and code >= books:
        return "code"
    if pages and pages >= books:
        return "web"
    if books and books >= rows:
        return "books"
    if rows:
        return "web" if _has_urls(folder, content) else "synthetic"
    if forms[Format.TEXT] or forms[Format.XML] or forms[Format.TAR] or forms[Format.ZIP]:
        return "web"
    return None


def _form(folder: Path, file: Found) -> Format:
    """Format of a file's content; compressed files count as what they hold."""
    from expedition.data.decode.archives import stream_head

    try:
        with (folder / file.path).open("rb") as stream:
            form = sniff(stream.read(HEAD_BYTES), file.path)
            if form in (Format.GZIP, Format.ZSTANDARD, Format.BZIP2, Format.XZ):
                stream.seek(0)
                inside = stream_head(stream, form, HEAD_BYTES)
                form = sniff(inside, file.path.rsplit(".", 1)[0]) if inside else Format.BINARY
            if form is Format.TAR:
                return _form_inside(stream)
        return _form_of_rows(folder / file.path) if form is Format.PARQUET else form
    except OSError:
        return Format.BINARY


def _form_inside(stream: BinaryIO) -> Format:
    """The format of the media in a shard's first members, or TAR where there are none."""
    stream.seek(0)
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in itertools.islice(archive, _SHARD_MEMBERS):
                opened = archive.extractfile(member) if member.isfile() else None
                form = sniff(opened.read(HEAD_BYTES), member.name) if opened is not None else Format.EMPTY
                if form in (Format.IMAGE, Format.AUDIO, Format.VIDEO):
                    return form
    except (tarfile.TarError, EOFError):
        pass
    return Format.TAR


def _form_of_rows(path: Path) -> Format:
    """The format of the media in a Parquet file's first row, or PARQUET where it holds none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from expedition.data.decode.parquet import media_columns

    try:
        table = pq.ParquetFile(path)
        names = media_columns(table.schema_arrow)
        batch = next(table.iter_batches(batch_size=1, columns=list(names)), None) if names else None
    except (pa.ArrowException, ValueError):
        return Format.PARQUET
    for value in batch.to_pylist()[0].values() if batch is not None else ():
        data = value.get("bytes") if isinstance(value, dict) else value
        form = sniff(data[:HEAD_BYTES], "medium") if isinstance(data, bytes) else Format.EMPTY
        if form in (Format.IMAGE, Format.AUDIO, Format.VIDEO):
            return form
    return Format.PARQUET


def _has_urls(folder: Path, content: list[Found]) -> bool:
    for file in content[:5]:
        row = next(_rows(folder / file.path), None)
        if row is not None and any(key in row for key in ("url", "source_url", "warc_record_id")):
            return True
    return False


def _only_labels(folder: Path, files: list[Found]) -> bool:
    """Whether every file is a table and rows carry labels: a test set, whatever its folder's name."""
    if not all(file.path.endswith((".jsonl", ".json", ".csv", ".tsv", ".md")) for file in files):
        return False
    rows = [next(_rows(folder / file.path), None) for file in files[:20]]
    known = [row for row in rows if row is not None]
    return bool(known) and all(_LABELS & {str(key).lower() for key in row} for row in known)


def _source(name: str, root: Path, kind: str, declaration: Declaration, files: list[Found]) -> SourceFolder:
    return SourceFolder(
        name=name,
        root=root,
        kind=kind,
        licence=declaration.licence,
        since=declaration.since,
        disputed=declaration.disputed,
        exclude=declaration.exclude,
        files=len(files),
        size_bytes=sum(file.size for file in files),
        told=dict(declaration.told),
    )
