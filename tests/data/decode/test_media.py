"""Pictures, sounds and clips: kept as found or stored again, damaged ones named, equal bytes for equal input."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from PIL import Image

from expedition.data.decode.audio import Sound, read_sound, resampled, sound_insert
from expedition.data.decode.companion import Companion, companion_of_row
from expedition.data.decode.image import image_insert
from expedition.data.decode.media import clip_pieces, picture_piece, sound_pieces
from expedition.data.decode.piece import Piece, Refused
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import DecodeRules

RULES = DecodeRules()
SOURCES = Path(__file__).resolve().parents[3] / "src" / "expedition"


def picture(form: str, mode: str = "RGB", size: tuple[int, int] = (40, 24), **options: object) -> bytes:
    rng = np.random.default_rng(7)
    pixels = rng.integers(0, 255, (size[1] // 8 + 1, size[0] // 8 + 1, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    buffer = io.BytesIO()
    image = Image.fromarray(pixels[: size[1], : size[0]]).convert(mode)
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("data", [picture("JPEG"), picture("PNG"), picture("JPEG", "L"), picture("PNG", "L")])
def test_plain_pictures_are_kept_byte_for_byte(data: bytes) -> None:
    insert, repairs = image_insert(data, RULES)
    assert insert.data == data
    assert insert.meta == {"width": 40, "height": 24}
    assert repairs == ()


@pytest.mark.parametrize(
    ("form", "mode"),
    [
        ("PNG", "P"),
        ("PNG", "RGBA"),
        ("PNG", "LA"),
        ("PNG", "1"),
        ("PNG", "I;16"),
        ("JPEG", "CMYK"),
        ("GIF", "P"),
        ("WEBP", "RGB"),
        ("BMP", "RGB"),
        ("TIFF", "RGB"),
    ],
)
def test_other_pictures_are_stored_again_as_rgb(form: str, mode: str) -> None:
    data = picture(form, mode)
    insert, repairs = image_insert(data, RULES)
    stored = Image.open(io.BytesIO(insert.data))
    assert stored.mode == "RGB"
    assert stored.format in ("JPEG", "PNG")
    assert [repair.reason for repair in repairs] == [Reason.RECODED]
    assert image_insert(data, RULES)[0].data == insert.data


def test_transparency_becomes_white() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (16, 16), (255, 0, 0, 0)).save(buffer, "PNG")
    insert, _ = image_insert(buffer.getvalue(), RULES)
    assert Image.open(io.BytesIO(insert.data)).getpixel((3, 3)) == (255, 255, 255)


def test_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    insert, repairs = image_insert(picture("JPEG", exif=exif), RULES)
    assert insert.meta == {"width": 24, "height": 40}
    assert "orientation" in repairs[0].detail


def test_large_pictures_are_stored_smaller() -> None:
    insert, repairs = image_insert(picture("JPEG", size=(400, 200)), DecodeRules(image_max_pixels=20_000))
    assert insert.meta == {"width": 200, "height": 100}
    assert repairs[-1].reason is Reason.RESIZED


def huge_png(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (huge_png(50_000, 50_000), Reason.TOO_MANY_PIXELS),
        (picture("PNG", size=(40, 4)), Reason.TOO_SMALL),
        (picture("JPEG", size=(320, 240))[:-900], Reason.TRUNCATED),
        (picture("JPEG", size=(320, 240))[:-2], Reason.TRUNCATED),
        (picture("PNG", size=(320, 240))[:-60], Reason.TRUNCATED),
        (b"<html>not found</html>", Reason.WRONG_FORMAT),
        (b"\x89PNG\r\n\x1a\nnothing", Reason.CORRUPT),
        (b"", Reason.EMPTY),
    ],
)
def test_unusable_pictures_are_refused_by_reason(data: bytes, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        image_insert(data, RULES)
    assert refused.value.reason is reason


def test_a_caption_follows_its_picture_and_none_is_a_reason() -> None:
    data = picture("JPEG")
    assert picture_piece(data, Companion(text="two boats"), RULES).text == "\ufffc two boats"
    with pytest.raises(Refused) as refused:
        picture_piece(data, Companion(), RULES)
    assert refused.value.reason is Reason.MISSING_TEXT


def tone(rate: int, seconds: float, channels: int = 1) -> np.ndarray:
    wave = 0.4 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)
    return np.repeat(wave[:, None], channels, axis=1)


def sound_file(form: str, rate: int = 22_050, seconds: float = 0.5, channels: int = 1, **options: str) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, tone(rate, seconds, channels), rate, format=form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (44_100, 2)])
def test_every_sound_becomes_16_khz_mono_flac(form: str, rate: int, channels: int) -> None:
    pieces = list(sound_pieces(sound_file(form, rate, 0.5, channels), Companion(text="la"), RULES))
    assert isinstance(pieces[0], Piece)
    insert = pieces[0].inserts[0]
    samples, stored_rate = sf.read(io.BytesIO(insert.data))
    assert (stored_rate, samples.ndim) == (16_000, 1)
    assert abs(len(samples) - 8_000) < 900
    spectrum = np.abs(np.fft.rfft(samples[1000:5000] * np.hanning(4000)))
    assert abs(np.argmax(spectrum) * 16_000 / 4000 - 440) < 8
    assert pieces[0].text == "\ufffc la"


def test_phonemes_follow_the_transcript_after_their_token() -> None:
    told = companion_of_row({"file": "x.wav", "text": "soda", "ipa": "sodɑ", "transcript": "reference"})
    piece = next(iter(sound_pieces(sound_file("WAV"), told, RULES)))
    assert isinstance(piece, Piece)
    assert piece.text == "\ufffc soda\ufffcsodɑ"
    assert [insert.name for insert in piece.inserts] == ["", "<|ipa_phoneme|>"]


def test_a_cut_sound_is_refused_and_a_streamed_header_is_not() -> None:
    whole = sound_file("WAV", 16_000, 1.0)
    with pytest.raises(Refused) as refused:
        list(sound_pieces(whole[: len(whole) // 2], Companion(text="la"), RULES))
    assert refused.value.reason is Reason.TRUNCATED
    streamed = whole[:40] + b"\xff\xff\xff\xff" + whole[44:]
    piece = next(iter(sound_pieces(streamed, Companion(text="la"), RULES)))
    assert isinstance(piece, Piece)
    assert Reason.DECLARED_LENGTH in {repair.reason for repair in piece.repairs}


def test_a_long_sound_is_split_by_its_cues_or_refused(tmp_path: Path) -> None:
    data = sound_file("WAV", 16_000, 70.0)
    with pytest.raises(Refused) as refused:
        list(sound_pieces(data, Companion(text="a long speech"), RULES))
    assert refused.value.reason is Reason.TOO_LONG
    cues = [f"{n}\n00:00:{n * 10:02d},000 --> 00:00:{n * 10 + 9:02d},000\nline {n}\n" for n in range(6)]
    track = tmp_path / "speech.srt"
    track.write_text("\n".join(cues))
    pieces = [piece for piece in sound_pieces(data, Companion(tracks=(track,)), RULES) if isinstance(piece, Piece)]
    assert [piece.text for piece in pieces] == ["\ufffc line 0\nline 1\nline 2", "\ufffc line 3\nline 4\nline 5"]
    assert all(piece.inserts[0].meta["samples"] <= 30 * 16_000 for piece in pieces)
    start_s, end_s, words = pieces[1].meta["cues"][0]
    assert words == "line 3"
    # Cut within the pause before the first cue, and the cue is where it was.
    assert 0.0 <= start_s <= 1.0
    assert pieces[1].meta["start_s"] + start_s == pytest.approx(30.0, abs=0.01)
    assert end_s - start_s == pytest.approx(9.0, abs=0.01)


def test_resampling_is_deterministic_and_keeps_the_length() -> None:
    sound = Sound(tone(44_100, 0.25)[:, 0].astype(np.float32), 44_100)
    first, second = resampled(sound, 16_000), resampled(sound, 16_000)
    assert np.array_equal(first, second)
    assert abs(len(first) - 4000) <= 1
    assert sound_insert(sound, RULES)[0].data == sound_insert(sound, RULES)[0].data


def test_reading_is_bounded_by_what_is_asked_for() -> None:
    with pytest.raises(Refused):
        read_sound(io.BytesIO(sound_file("WAV", 16_000, 3.0)), most_s=2.0)
    part = read_sound(io.BytesIO(sound_file("WAV", 16_000, 3.0)), most_s=5.0, start_s=1.0, end_s=1.5)
    assert part.duration_s == pytest.approx(0.5)


def clip(seconds: float, fps: int = 10, size: tuple[int, int] = (64, 48)) -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        track = container.add_stream("libx264", rate=fps)
        track.width, track.height, track.pix_fmt = *size, "yuv420p"
        track.codec_context.thread_count = 1
        for number in range(int(seconds * fps)):
            level = int(255 * number / max(1, seconds * fps - 1))
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), level, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(track.encode(frame))
        container.mux(track.encode())
    return buffer.getvalue()


def levels(piece: Piece) -> list[int]:
    """Mean brightness of each stored frame."""
    insert = piece.inserts[0]
    found, at = [], 0
    for size in insert.meta["sizes"]:
        found.append(int(np.asarray(Image.open(io.BytesIO(insert.data[at : at + size]))).mean()))
        at += size
    assert at == len(insert.data)
    return found


def test_a_clip_becomes_frames_in_order_with_times() -> None:
    rules = DecodeRules(video_fps=4.0, video_max_frames=4)
    data = clip(2.0)
    pieces = list(clip_pieces(data, Companion(text="it gets brighter"), rules))
    assert len(pieces) == 1 and isinstance(pieces[0], Piece)
    insert = pieces[0].inserts[0]
    assert pieces[0].text == "\ufffc it gets brighter"
    assert (insert.meta["frames"], insert.meta["width"], insert.meta["height"]) == (4, 64, 48)
    assert levels(pieces[0]) == sorted(levels(pieces[0]))
    assert insert.meta["timestamps_s"] == sorted(insert.meta["timestamps_s"])
    assert insert.meta["timestamps_s"][-1] - insert.meta["timestamps_s"][0] > 1.2
    again = next(iter(clip_pieces(data, Companion(text="it gets brighter"), rules)))
    assert isinstance(again, Piece) and again.inserts[0].data == insert.data


def test_a_long_clip_becomes_segments_with_their_own_subtitles(tmp_path: Path) -> None:
    rules = DecodeRules(video_fps=2.0, video_max_frames=4, video_segment_s=2.0)
    track = tmp_path / "clip.en.srt"
    track.write_text(
        "1\n00:00:00,000 --> 00:00:01,500\nfirst\n\n2\n00:00:02,200 --> 00:00:03,500\nsecond\n\n"
        "3\n00:00:04,100 --> 00:00:05,000\nthird\n"
    )
    pieces = [p for p in clip_pieces(clip(6.0), Companion(tracks=(track,)), rules) if isinstance(p, Piece)]
    assert [piece.text for piece in pieces] == ["\ufffc first", "\ufffc second", "\ufffc third"]
    assert [piece.meta["start_s"] for piece in pieces] == [0.0, 2.0, 4.0]
    assert pieces[1].meta["cues"] == [[0.2, 1.5, "second"]]
    assert {piece.language for piece in pieces} == {"en"}


def test_subtitles_past_a_short_clip_are_left_to_the_alignment_stage(tmp_path: Path) -> None:
    track = tmp_path / "clip.srt"
    track.write_text("1\n00:00:40,000 --> 00:00:41,000\nfar too late\n")
    piece = next(iter(clip_pieces(clip(1.0), Companion(tracks=(track,)), RULES)))
    assert isinstance(piece, Piece)
    assert piece.meta["cues"] == [[40.0, 41.0, "far too late"]]


@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_cut_clip_is_named_truncated(part: float) -> None:
    data = clip(2.0)
    with pytest.raises(Refused) as refused:
        list(clip_pieces(data[: int(len(data) * part)], Companion(text="x"), RULES))
    assert refused.value.reason is Reason.TRUNCATED


def test_only_one_module_imports_av() -> None:
    importing = [
        p.name
        for p in (SOURCES / "data").rglob("*.py")
        if "\nimport av" in (text := p.read_text()) or "\nfrom av" in text
    ]
    assert importing == ["video.py"]
    code = (
        "import sys, expedition.data.sources; from expedition.data.decode import decode; "
        "print('av' in sys.modules or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def bursts(seconds: float, on_s: float, off_s: float) -> bytes:
    """Tones with pauses, as WAV."""
    times = np.arange(int(seconds * RULES.sample_rate)) / RULES.sample_rate
    heard = (times % (on_s + off_s)) < on_s
    noise = np.random.default_rng(3).normal(0, 0.001, len(times))
    buffer = io.BytesIO()
    sf.write(buffer, (0.3 * heard * np.sin(2 * np.pi * 300 * times) + noise).astype(np.float32), RULES.sample_rate,
             format="WAV")  # fmt: skip
    return buffer.getvalue()


def test_a_long_sound_is_cut_in_pauses_by_the_segments_of_its_row() -> None:
    data = bursts(60.0, 4.0, 1.0)
    segments = [{"start": 5.0 * n, "end": 5.0 * n + 4.0, "text": f"line {n}"} for n in range(12)]
    row = {"text": " ".join(part["text"] for part in segments), "segments": segments}
    pieces = [piece for piece in sound_pieces(data, companion_of_row(row), RULES) if isinstance(piece, Piece)]
    assert "".join(piece.text for piece in pieces).count("line") == 12
    sounds = [sf.read(io.BytesIO(piece.inserts[0].data))[0] for piece in pieces]
    assert all(len(samples) <= 30 * RULES.sample_rate for samples in sounds)
    # Where one part ends and the next begins there is no tone.
    assert all(np.abs(samples[-160:]).max() < 0.02 for samples in sounds)
    assert all(np.abs(samples[:160]).max() < 0.02 for samples in sounds[1:])


def test_a_long_sound_without_words_is_cut_in_pauses_where_words_are_not_asked_for() -> None:
    data = bursts(70.0, 4.0, 1.0)
    rules = DecodeRules(require_text=False)
    pieces = [piece for piece in sound_pieces(data, Companion(), rules) if isinstance(piece, Piece)]
    assert len(pieces) >= 3
    assert sum(piece.inserts[0].meta["samples"] for piece in pieces) == pytest.approx(70 * RULES.sample_rate, abs=32)
    ends = [piece.meta["end_s"] for piece in pieces[:-1]]
    assert all(4.0 <= end % 5.0 <= 5.0 for end in ends)


def test_voice_of_a_clip_is_measured_for_its_subtitles(tmp_path: Path) -> None:
    clip, track = tmp_path / "clip.mp4", tmp_path / "clip.srt"
    spoken_clip(clip, ((0.5, 1.5), (2.5, 3.5)), seconds=5.0)
    track.write_text("1\n00:00:00,500 --> 00:00:01,500\none\n\n2\n00:00:02,500 --> 00:00:03,500\ntwo\n")
    piece = next(piece for piece in clip_pieces(clip, Companion(tracks=(track,)), RULES) if isinstance(piece, Piece))
    assert piece.meta["voice_s"] == [
        [pytest.approx(0.5, abs=0.1), pytest.approx(1.5, abs=0.1)],
        [pytest.approx(2.5, abs=0.1), pytest.approx(3.5, abs=0.1)],
    ]


def spoken_clip(path: Path, spans: tuple[tuple[float, float], ...], seconds: float) -> None:
    """A grey clip with a tone in these spans, written in a process of its own: PyAV is imported in none but one module."""
    code = f"""
import av, numpy as np
rate, spans = 16000, {spans!r}
times = np.arange(int({seconds} * rate)) / rate
tone = sum(((times >= a) & (times < b)) * np.sin(2 * np.pi * 300 * times) for a, b in spans)
samples = (0.3 * tone + np.random.default_rng(1).normal(0, 1e-3, len(times))).astype(np.float32)
with av.open({str(path)!r}, "w") as out:
    video = out.add_stream("mpeg4", rate=10); video.width = video.height = 64; video.pix_fmt = "yuv420p"
    sound = out.add_stream("aac", rate=rate, layout="mono")
    for number in range(int({seconds} * 10)):
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 100 + number, np.uint8), format="rgb24")
        out.mux(video.encode(frame))
    out.mux(video.encode(None))
    for at in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, at : at + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, at
        out.mux(sound.encode(frame))
    out.mux(sound.encode(None))
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
