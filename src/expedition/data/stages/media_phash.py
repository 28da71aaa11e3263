"""The string by which copies of pictures, clips and sounds are found: kind, language of the words, fingerprint."""

from __future__ import annotations


def media_phash(kind: str, language: str | None, body: str) -> str:
    """The `phash` of a document: `kind` is image (a picture with its caption), article (pictures in a text), video or
    audio; `language` is the tag of its words."""
    main = (language or "").split("-")[0]
    return f"{kind}:{'' if main == 'und' else main}:{body}"


def phash_parts(phash: str) -> tuple[str, str, str]:
    """Kind, language and body of a fingerprint; a bare one is a picture's."""
    kind, _, rest = phash.partition(":")
    if kind not in ("image", "article", "video", "audio"):
        return "image", "", phash
    language, _, body = rest.partition(":")
    return kind, language, body
