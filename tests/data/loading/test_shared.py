"""Results from processes: through shared memory, in order, through deaths of workers, with nothing left behind."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from expedition.data.loading import VideoDecoder
from expedition.data.loading.prefetch import Waiting, ahead, ahead_in_processes
from expedition.data.loading.shared import MAX_BLOCKS
from expedition.errors import InputError


def start(mark: str = ""):
    return partial(make, mark)


def make(mark: str, number: int):
    if number < 0:
        raise InputError(f"number {number}")
    if mark and number == 3 and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    if mark == "always" and number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    array = np.full((50 + number % 7 * 40_000,), number, dtype=np.int64)
    return {"array": array, "empty": np.zeros((0, 3)), "number": number}


def check(results, numbers) -> None:
    for result, number in zip(results, numbers, strict=True):
        assert result["number"] == number and (result["array"] == number).all() and result["empty"].shape == (0, 3)


def test_results_that_are_kept_stay_as_they_are() -> None:
    numbers = list(range(MAX_BLOCKS + 20))
    check(list(ahead_in_processes(start, numbers, 4, 1)), numbers)


def test_arrays_can_be_written_and_memory_has_no_name() -> None:
    before = set(os.listdir("/dev/shm"))
    results = ahead_in_processes(start, range(6), 2, 2)
    first = next(results)
    first["array"][:] = -1
    assert set(os.listdir("/dev/shm")) - before == set()
    check(results, range(1, 6))
    assert (first["array"] == -1).all()


def test_a_worker_that_dies_is_replaced_and_its_work_done_again(tmp_path) -> None:
    check(ahead_in_processes(partial(start, str(tmp_path / "mark")), range(8), 3, 2), range(8))


def test_a_number_that_ends_its_worker_again_and_again_is_named() -> None:
    results = ahead_in_processes(partial(start, "always"), range(3), 1, 1)
    assert next(results)["number"] == 0
    with pytest.raises(InputError, match="step 1 ended its worker process 3 times"):
        next(results)


def test_error_of_a_process_comes_out_in_its_place() -> None:
    results = ahead_in_processes(start, [5, -2, 7], 3, 2)
    assert next(results)["number"] == 5
    with pytest.raises(InputError, match="number -2"):
        next(results)


def test_waiting_is_measured() -> None:
    waiting = Waiting()
    results = ahead(lambda number: time.sleep(0.05) or number, range(4), 1, 1, waiting)
    assert list(results) == [0, 1, 2, 3]
    assert waiting.results == 4 and 0.1 < waiting.starved_s < 1 and waiting.first_s > 0.04
    idle = Waiting()
    for _ in ahead(lambda number: number, range(4), 2, 1, idle):
        time.sleep(0.01)
    assert idle.starved_s < 0.01


def clip() -> bytes:
    import io

    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for number in range(20):
            picture = np.full((64, 64, 3), number * 10, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def test_video_is_decoded_apart_and_survives_bad_clips_and_a_killed_process() -> None:
    data = clip()
    with VideoDecoder(max_frames=10, timeout_s=20) as decoder:
        frames, frames_per_s = decoder.decode(data)
        assert frames.shape == (10, 64, 64, 3) and frames_per_s == pytest.approx(5.0)
        assert abs(int(frames[5].mean()) - 100) < 12
        for bad in (b"", b"no clip", data[: len(data) // 3]):
            with pytest.raises(InputError, match="clip of"):
                decoder.decode(bad)
        assert decoder.deaths == 0
        decoder._pool._workers[0].process.kill()
        decoder._pool._workers[0].process.join()
        try:
            decoder.decode(data)
        except InputError as error:
            assert "ended its worker" in str(error)
        assert decoder.decode(data)[0].shape == frames.shape and decoder.deaths == 1
