"""Bodies within bounds: how much may come in, and how much may come out of a compressed one."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from expedition.data.connectors.failure import FetchFailed, FetchReason

_OUT_BYTES = 1 << 20


def bounded(pieces: Iterator[bytes], max_bytes: int, reason: FetchReason, url: str) -> Iterator[bytes]:
    """`pieces` until they are more than `max_bytes` in all. Raises FetchFailed with `reason`."""
    count = 0
    for piece in pieces:
        count += len(piece)
        if count > max_bytes:
            raise FetchFailed(reason, f"the body is longer than {max_bytes} bytes", url)
        yield piece


def inflated(pieces: Iterator[bytes], max_bytes: int, url: str) -> Iterator[bytes]:
    """gzip or deflate, unpacked at most 1 MiB at a time and `max_bytes` in all.

    Raises FetchFailed: BOMB, ENCODING (not what the header says), TRUNCATED.
    """
    unpack, count, begun = zlib.decompressobj(47), 0, False
    try:
        for piece in pieces:
            if not begun and piece and piece[0] & 0x0F != 8 and piece[:1] != b"\x1f":
                unpack = zlib.decompressobj(-15)
            begun = begun or bool(piece)
            while piece:
                out = unpack.decompress(piece, _OUT_BYTES)
                count += len(out)
                if count > max_bytes:
                    raise FetchFailed(FetchReason.BOMB, f"unpacks to more than {max_bytes} bytes", url)
                if out:
                    yield out
                if unpack.eof:
                    piece = unpack.unused_data
                    unpack = zlib.decompressobj(47)
                    begun = bool(piece)
                    if not piece:
                        break
                else:
                    piece = unpack.unconsumed_tail
    except zlib.error as error:
        raise FetchFailed(FetchReason.ENCODING, f"the body is not what its header says: {error}", url) from error
    if begun and not unpack.eof:
        raise FetchFailed(FetchReason.TRUNCATED, "the compressed body ends too early", url)
