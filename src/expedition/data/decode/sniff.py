"""What a file is, by its first bytes; names decide only between kinds of text, and are then checked."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Final

HEAD_BYTES: Final = 8192
"""Bytes that `sniff` wants to see."""


class Format(StrEnum):
    """A file format that has a decoder, or a reason to be refused."""

    EMPTY = "empty"
    WARC = "warc"
    ARC = "arc"
    HTML = "html"
    XML = "xml"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    ZSTANDARD = "zstandard"
    ZIP = "zip"
    EPUB = "epub"
    TAR = "tar"
    PDF = "pdf"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    PARQUET = "parquet"
    SUBTITLES = "subtitles"
    ROBOTS = "robots"
    JSON = "json"
    JSONL = "jsonl"
    TABLE = "table"
    YAML = "yaml"
    CODE = "code"
    TEXT = "text"
    PICKLE = "pickle"
    BINARY = "binary"


_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"WARC/", Format.WARC),
    (b"filedesc://", Format.ARC),
    (b"\x1f\x8b", Format.GZIP),
    (b"BZh", Format.BZIP2),
    (b"\xfd7zXZ\x00", Format.XZ),
    (b"\x28\xb5\x2f\xfd", Format.ZSTANDARD),
    (b"%PDF-", Format.PDF),
    (b"\xff\xd8\xff", Format.IMAGE),
    (b"\x89PNG\r\n\x1a\n", Format.IMAGE),
    (b"GIF87a", Format.IMAGE),
    (b"GIF89a", Format.IMAGE),
    (b"II*\x00", Format.IMAGE),
    (b"MM\x00*", Format.IMAGE),
    (b"PAR1", Format.PARQUET),
    (b"fLaC", Format.AUDIO),
    (b"OggS", Format.AUDIO),
    (b"ID3", Format.AUDIO),
    (b".snd", Format.AUDIO),
    (b"caff", Format.AUDIO),
    (b"\x1aE\xdf\xa3", Format.VIDEO),
    (b"FLV\x01", Format.VIDEO),
    (b"\x00\x00\x01\xba", Format.VIDEO),
    (b"0&\xb2u\x8ef\xcf\x11", Format.VIDEO),
    (b"\x93NUMPY", Format.BINARY),
    (b"\x7fELF", Format.BINARY),
    (b"SQLite format 3", Format.BINARY),
    (b"Rar!", Format.BINARY),
    (b"7z\xbc\xaf", Format.BINARY),
)
_RIFF = {b"WAVE": Format.AUDIO, b"WEBP": Format.IMAGE, b"AVI ": Format.VIDEO}
_AUDIO_BRANDS = (b"M4A ", b"M4B ")
_IMAGE_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"avif", b"avis")
_PICKLE_SUFFIXES = frozenset({".pkl", ".pickle", ".pt", ".pth", ".joblib", ".ckpt", ".dill"})
_GLOBAL_OPCODE = re.compile(rb"\A\(?c[\w.]{1,200}\r?\n[\w.]{1,200}\r?\n")
_HTML = re.compile(rb"<!doctype\s+html|<(?:html|head|body|title|meta|div|table|p|h1|article|script)[\s>/]", re.I)
_SUBTITLES = re.compile(rb"\A\s*(?:WEBVTT|(?:\d+\s*\r?\n)?\d{1,3}:\d\d(?::\d\d)?[.,]\d{1,3}\s*-->)")
_CONTROLS: Final = bytes((*range(1, 9), *range(14, 27), *range(28, 32), 127))
_ROBOTS = re.compile(rb"^\s*(?:user-agent|disallow|allow|sitemap)\b", re.I | re.M)
SUFFIXES: Final[dict[str, Format]] = {
    **dict.fromkeys((".html", ".htm", ".xhtml", ".mhtml"), Format.HTML),
    **dict.fromkeys((".jsonl", ".ndjson", ".jsonlines"), Format.JSONL),
    **dict.fromkeys((".csv", ".tsv"), Format.TABLE),
    **dict.fromkeys((".srt", ".vtt"), Format.SUBTITLES),
    **dict.fromkeys((".yaml", ".yml"), Format.YAML),
    ".json": Format.JSON,
    ".txt": Format.TEXT,
    ".text": Format.TEXT,
    **dict.fromkeys((".warc", ".wet", ".wat"), Format.WARC),
    ".arc": Format.ARC,
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic"), Format.IMAGE),
    **dict.fromkeys((".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".m4a", ".au"), Format.AUDIO),
    **dict.fromkeys((".mp4", ".m4v", ".webm", ".mkv", ".mov", ".avi", ".mpg", ".mpeg", ".ts", ".flv"), Format.VIDEO),
    ".pdf": Format.PDF,
    ".epub": Format.EPUB,
    ".zip": Format.ZIP,
    ".tar": Format.TAR,
    ".parquet": Format.PARQUET,
}
"""Format that a name's last suffix promises."""
CODE_LANGUAGES: Final[dict[str, str]] = {
    ".py": "python", ".pyi": "python", ".pyx": "cython", ".c": "c", ".h": "c", ".cc": "c++", ".cpp": "c++",
    ".cxx": "c++", ".hpp": "c++", ".hh": "c++", ".cu": "cuda", ".java": "java", ".kt": "kotlin", ".scala": "scala",
    ".go": "go", ".rs": "rust", ".js": "javascript", ".mjs": "javascript", ".cjs": "javascript", ".jsx": "javascript",
    ".ts": "typescript", ".tsx": "typescript", ".rb": "ruby", ".php": "php", ".pl": "perl", ".pm": "perl",
    ".lua": "lua", ".r": "r", ".jl": "julia", ".swift": "swift", ".m": "objective-c", ".mm": "objective-c",
    ".cs": "c#", ".fs": "f#", ".vb": "visual-basic", ".hs": "haskell", ".ml": "ocaml", ".mli": "ocaml",
    ".ex": "elixir", ".exs": "elixir", ".erl": "erlang", ".clj": "clojure", ".lisp": "lisp", ".el": "emacs-lisp",
    ".scm": "scheme", ".sh": "shell", ".bash": "shell", ".zsh": "shell", ".fish": "shell", ".ps1": "powershell",
    ".sql": "sql", ".dart": "dart", ".zig": "zig", ".nim": "nim", ".v": "verilog", ".sv": "verilog",
    ".vhd": "vhdl", ".asm": "assembly", ".s": "assembly", ".f": "fortran", ".f90": "fortran", ".cob": "cobol",
    ".pas": "pascal", ".groovy": "groovy", ".gradle": "groovy", ".tf": "terraform", ".proto": "protobuf",
    ".css": "css", ".scss": "scss", ".less": "less", ".vue": "vue", ".tex": "latex", ".rst": "restructuredtext",
    ".md": "markdown", ".cmake": "cmake", ".toml": "toml", ".ini": "ini", ".cfg": "ini",
}  # fmt: skip
"""Programming or markup language of a source file's suffix."""


@lru_cache(maxsize=4096)
def suffix_of(name: str) -> str:
    """Last suffix in lower case, a compression suffix taken off first."""
    path = PurePosixPath(name.lower())
    if path.suffix in (".gz", ".bz2", ".xz", ".zst", ".bad"):
        path = path.with_suffix("")
        if path.suffix in (".gz", ".bz2", ".xz", ".zst"):
            path = path.with_suffix("")
    return path.suffix


def sniff(head: bytes, name: str) -> Format:
    """Format of a file from its first `HEAD_BYTES` bytes, and its name where bytes cannot tell."""
    if not head:
        return Format.EMPTY
    found = _by_magic(head)
    if PurePosixPath(name.lower()).suffix in _PICKLE_SUFFIXES or _pickled(head):
        return Format.PICKLE
    if found is Format.VIDEO and suffix_of(name) in (".weba", ".mka"):
        return Format.AUDIO
    if found is not None:
        return found
    return _text_format(head, name)


def _by_magic(head: bytes) -> Format | None:
    for magic, form in _MAGIC:
        if head.startswith(magic):
            return form
    if head.startswith(b"PK\x03\x04") or head.startswith(b"PK\x05\x06"):
        return Format.EPUB if b"application/epub+zip" in head[:200] else Format.ZIP
    if head[:4] == b"RIFF" or head[:4] == b"RF64":
        return _RIFF.get(head[8:12], Format.BINARY)
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return Format.AUDIO
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return Format.AUDIO if brand in _AUDIO_BRANDS else Format.IMAGE if brand in _IMAGE_BRANDS else Format.VIDEO
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free"):
        return Format.VIDEO
    if head[257:262] == b"ustar":
        return Format.TAR
    if head[:2] == b"BM" and len(head) > 26 and head[6:10] == b"\x00" * 4:
        return Format.IMAGE
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return Format.VIDEO
    if head[0] == 0xFF and len(head) > 4 and head[1] & 0xE6 in (0xE2, 0xE4, 0xE6) and head[2] & 0xF0 != 0xF0:
        return Format.AUDIO if b"\x00" in head[:1024] or not _texty(head[:1024]) else None
    return None


def _pickled(head: bytes) -> bool:
    protocol = head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    return protocol or _GLOBAL_OPCODE.match(head) is not None


def _texty(head: bytes) -> bool:
    """Whether control bytes are rare enough for text in some encoding (UTF-16 and 32 have zero bytes at one side)."""
    controls = len(head) - len(head.translate(None, _CONTROLS))
    zeros = head.count(0)
    one_sided = min(head[0::2].count(0), head[1::2].count(0)) * 20 <= zeros
    marked = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    return (marked or controls <= max(0.05 * len(head), 32)) and (
        zeros <= 0.05 * len(head) or one_sided or marked or zeros < 256
    )


def _text_format(head: bytes, name: str) -> Format:
    suffix = suffix_of(name)
    promised = SUFFIXES.get(suffix)
    stripped = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not _texty(head):
        return Format.BINARY
    if PurePosixPath(name.lower()).name.endswith("robots.txt") or (
        PurePosixPath(name.lower()).name.startswith("robots") and _ROBOTS.search(head)
    ):
        return Format.ROBOTS
    if suffix in CODE_LANGUAGES and promised in (None, Format.VIDEO):
        return Format.CODE
    if promised in (Format.JSON, Format.JSONL, Format.TABLE, Format.YAML, Format.SUBTITLES):
        return promised
    if stripped[:5].lower() == b"<?xml":
        return Format.HTML if b"<html" in head.lower() else Format.XML
    if stripped[:1] == b"<" and (promised is Format.HTML or _HTML.search(stripped[:1024])):
        return Format.HTML
    if promised is Format.HTML or promised is Format.TEXT:
        return promised
    if _SUBTITLES.match(stripped):
        return Format.SUBTITLES
    if stripped[:1] in (b"{", b"[") and promised is None:
        return Format.JSONL if stripped[:1] == b"{" and re.search(rb"\}\s*\n\s*\{", head) else Format.JSON
    return Format.TEXT


def mismatched(found: Format, name: str) -> bool:
    """Whether a name promises a medium, page or container that the content is not."""
    promised = SUFFIXES.get(suffix_of(name))
    texts = (Format.TEXT, Format.CODE, Format.XML, Format.ROBOTS, Format.SUBTITLES)
    if found is Format.CODE and suffix_of(name) in CODE_LANGUAGES:
        return False
    pairs = {frozenset((Format.AUDIO, Format.VIDEO)), frozenset((Format.ZIP, Format.EPUB))}
    if promised is None or found is promised or frozenset((found, promised)) in pairs:
        return False
    if promised in (Format.TEXT, Format.HTML, Format.YAML, Format.TABLE):
        return False
    return found in (*texts, Format.HTML, Format.JSON, Format.BINARY) or promised in _MEDIA


_MEDIA = frozenset({Format.IMAGE, Format.AUDIO, Format.VIDEO, Format.PDF, Format.EPUB, Format.PARQUET})
