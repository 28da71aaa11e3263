"""An object of a store as a file that is read at places: for Parquet readers, which seek."""

from __future__ import annotations

import io

from expedition.workspace import Store


class RangedFile(io.RawIOBase):
    """Read-only, seekable; each read is one ranged request. Raises NotFound at opening if `key` is not there."""

    def __init__(self, store: Store, key: str) -> None:
        super().__init__()
        self._store, self._key, self._size, self._at = store, key, store.size(key), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._size, self._at + size)
        data = self._store.read_range(self._key, self._at, end - self._at) if end > self._at else b""
        self._at += len(data)
        return data

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
