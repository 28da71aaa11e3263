"""Video decoding in a process of its own: a codec that crashes, hangs or eats memory costs one clip, not the loader."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from expedition.data.loading.shared import WorkerPool
from expedition.errors import InputError

MEMORY_BYTES = 4 << 30
"""Address space of the decoding process."""
TIMEOUT_S = 60.0
"""A clip that takes longer is given up."""
MAX_FRAME_PIXELS = 1 << 24

Frames = npt.NDArray[np.uint8]


class VideoDecoder:
    """Encoded clips (MP4, WebM, Matroska, … as PyAV reads them) to frames. Used by one thread; `close` it, or `with`.

    The process is started at the first clip and again after it died.
    """

    def __init__(
        self, *, max_frames: int = 256, memory_bytes: int = MEMORY_BYTES, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._start = partial(_begin, max_frames, memory_bytes)
        self._timeout_s = timeout_s
        self._pool: WorkerPool | None = None
        self._asked = 0

    @property
    def deaths(self) -> int:
        """Processes that died or hung."""
        return self._pool.deaths if self._pool is not None else 0

    def decode(self, data: bytes) -> tuple[Frames, float]:
        """Frames [n, height, width, 3], evenly spread over the clip (at most `max_frames`), and frames a second.

        Raises InputError if the clip does not decode, hangs, or kills its process.
        """
        if self._pool is None:
            self._pool = WorkerPool(self._start, 1, max_deaths=1, timeout_s=self._timeout_s)
        position = self._asked
        self._asked += 1
        self._pool.ask(position, data)
        frames, frames_per_s = self._pool.take(position)
        return frames, frames_per_s

    def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def __enter__(self) -> VideoDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _begin(max_frames: int, memory_bytes: int) -> Any:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return partial(_decode, max_frames)


def _decode(max_frames: int, data: bytes) -> tuple[Frames, float]:
    import av

    try:
        with av.open(io.BytesIO(data), "r", metadata_errors="ignore") as container:
            if not container.streams.video:
                raise InputError(f"a clip of {len(data)} bytes has no pictures")
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            rate = float(stream.average_rate or 0)
            length_s = float((stream.duration or 0) * (stream.time_base or 0))
            total = stream.frames or int(length_s * rate)
            step = max(1, -(-total // max_frames))
            kept: list[Frames] = []
            for number, frame in enumerate(container.decode(stream)):
                if frame.width * frame.height > MAX_FRAME_PIXELS:
                    raise InputError(f"{frame.width} x {frame.height} pixels are more than {MAX_FRAME_PIXELS}")
                if number % step == 0 and len(kept) < max_frames:
                    kept.append(np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8))
    except (av.FFmpegError, ValueError, MemoryError, OSError) as error:
        raise InputError(f"a clip of {len(data)} bytes does not decode: {error}") from error
    if not kept:
        raise InputError(f"a clip of {len(data)} bytes holds no frame")
    return np.stack(kept), rate / step
