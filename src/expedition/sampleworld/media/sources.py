"""The media sources: pictures, clips, utterances and drives beside a manifest, with what is planted in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from expedition.sampleworld.defects import Role, damaged, roles
from expedition.sampleworld.media import clips, driving, pictures, speech
from expedition.sampleworld.media.cameras import RIG, calibration
from expedition.sampleworld.parcel import Order, Parcel
from expedition.sampleworld.sizes import SampleSize
from expedition.sampleworld.truth import Planted
from expedition.sampleworld.world import (
    WORDS,
    Scene,
    Thing,
    movements,
    pick,
    scenes,
    stream,
    successions,
)

SPEAKERS = 40
"""Speakers of the training side."""

LONG_CLIP_EVERY = 20
"""Every so many clips one is long: four things, two seconds each."""

OFFSETS_S = (1.0, 1.5, 2.5, 4.0)
"""Delays of misaligned subtitles, seconds."""


@lru_cache(maxsize=16)
def media_roles(seed: int, source: str, size: SampleSize, kind: str) -> dict[int, Role]:
    """The defects of a media source; `kind` is "pictures", "clips", "utterances" or "drives"."""
    count, few = size.planted, max(1, size.planted // 2)
    if kind == "clips":
        two_cues = [n for n in range(size.clips) if n % 2 == 1]
        moved = roles(seed, f"{source}/offset", two_cues, (("misaligned", count),))
        rest = [n for n in range(size.clips) if n % 2 == 0]
        return {**moved, **roles(seed, source, rest, (("exact_duplicate", few), ("corrupt", few)))}
    if kind == "drives":
        return roles(seed, source, range(size.drives), (("corrupt", max(1, few // 2)),))
    items = size.pictures if kind == "pictures" else size.utterances
    return roles(seed, source, range(items), (("exact_duplicate", count), ("corrupt", few)))


def write_pictures(order: Order) -> Parcel:
    """Pictures `start`..`stop` and their lines of captions.jsonl."""
    parcel = Parcel()
    planted = _planted(order, "pictures")
    for number in range(order.start, order.stop):
        role = planted.get(number)
        origin = number if role is None or role.of is None else role.of
        scene, data = _picture(order, origin)
        name = _picture_name(origin).replace(f"{origin:06d}", f"{number:06d}")
        _put(order, name, data, role, parcel, _picture_name)
        parcel.rows.append(
            {
                "image": name,
                "caption": scene.caption,
                "alt": "",
                "credit": "",
                "width": pictures.SIDE,
                "height": pictures.SIDE,
                "source": order.source,
            }
        )
    return parcel


def write_utterances(order: Order) -> Parcel:
    """Utterances `start`..`stop` and their lines of transcripts.jsonl; every second line gives the IPA."""
    parcel = Parcel()
    planted = _planted(order, "utterances")
    for number in range(order.start, order.stop):
        role = planted.get(number)
        origin = number if role is None or role.of is None else role.of
        rng = stream(order.seed, order.source, "utterance", origin)
        word = list(WORDS)[origin % len(WORDS)]
        speaker = speech.voice(order.seed, int(rng.integers(SPEAKERS)), held_out=False)
        wave = speech.say(word, speaker, rng)
        extension = "wav" if origin % 10 == 0 else "flac"
        name = f"utterance_{number:06d}.{extension}"
        _put(order, name, speech.encode(wave, extension), role, parcel, _utterance_name)
        row = {"file": name, "text": word, "lang": "en"}
        if origin % 2:
            row["ipa"] = speech.ipa(word)
        parcel.rows.append(
            row
            | {
                "speaker": speaker.name,
                "duration_s": round(wave.size / speech.SAMPLE_RATE, 4),
                "sample_rate": speech.SAMPLE_RATE,
                "channels": 1,
                "source": order.source,
                "transcript": "reference",
            }
        )
    return parcel


def write_clips(order: Order) -> Parcel:
    """Clips `start`..`stop`, their subtitles and their lines of videos.jsonl."""
    parcel = Parcel()
    planted = _planted(order, "clips")
    for number in range(order.start, order.stop):
        role = planted.get(number)
        origin = number if role is None or role.of is None else role.of
        frames, cues = _clip(order, origin)
        name = _clip_name(number)
        _put(order, name, clips.encode_mp4(frames), role, parcel, _clip_name)
        offset_s = 0.0
        if role is not None and role.kind == "misaligned":
            offset_s = OFFSETS_S[role.number % len(OFFSETS_S)]
            details = {"offset_s": offset_s, "subtitles": f"{order.source}/{name[:-4]}.srt"}
            parcel.truth.append(Planted("misaligned", order.source, f"{order.source}/{name}", None, details))
        (order.folder / f"{name[:-4]}.srt").write_text(clips.subrip(cues, offset_s), "utf-8")
        parcel.rows.append(
            {
                "video": name,
                "subtitles": f"{name[:-4]}.srt",
                "subtitle_kind": "description of what is shown",
                "duration_s": len(frames) / clips.FRAMES_PER_S,
                "width": pictures.SIDE,
                "height": pictures.SIDE,
                "fps": f"{clips.FRAMES_PER_S}/1",
                "video_codec": "h264",
                "audio": False,
            }
        )
    return parcel


def write_drives(order: Order) -> Parcel:
    """Drives `start`..`stop`: a folder each with six clips, calibration and trajectory; lines of scenes.jsonl."""
    parcel = Parcel()
    planted = _planted(order, "drives")
    for number in range(order.start, order.stop):
        name = f"scene_{number:05d}"
        folder = order.folder / name
        folder.mkdir()
        scene, frames = drive_frames(order.seed, order.source, number)
        for camera in RIG:
            data = clips.encode_mp4(frames[camera.name], crf=20)
            if number in planted and camera.name == RIG[number % len(RIG)].name:
                data, reason = damaged(data, 0)
                path = f"{order.source}/{name}/{camera.name}.mp4"
                parcel.truth.append(Planted("corrupt", order.source, path, name, {"reason": reason}))
            (folder / f"{camera.name}.mp4").write_bytes(data)
        (folder / "calibration.json").write_text(json.dumps(calibration(), indent=1) + "\n", "utf-8")
        (folder / "trajectory.json").write_text(json.dumps(driving.trajectory(scene), indent=1) + "\n", "utf-8")
        parcel.rows.append(
            {
                "scene": name,
                "cameras": {camera.name: f"{name}/{camera.name}.mp4" for camera in RIG},
                "calibration": f"{name}/calibration.json",
                "trajectory": f"{name}/trajectory.json",
                "description": scene.description,
                "fps": f"{driving.FRAMES_PER_S}/1",
                "duration_s": driving.FRAMES / driving.FRAMES_PER_S,
            }
        )
    return parcel


def drive_frames(seed: int, source: str, number: int) -> tuple[driving.Drive, dict[str, list[pictures.Picture]]]:
    """Drive `number` of a source and its frames by camera."""
    rng = stream(seed, source, "drive", number)
    scene = driving.drive(rng, number)
    return scene, driving.film(scene, rng)


def _planted(order: Order, kind: str) -> dict[int, Role]:
    return media_roles(order.seed, order.source, order.size, kind) if order.wave == 1 else {}


def _put(
    order: Order, name: str, data: bytes, role: Role | None, parcel: Parcel, name_of: Callable[[int], str]
) -> None:
    """Write one media file, whole, copied or damaged as its role says, and note it in the truth."""
    path = f"{order.source}/{name}"
    if role is not None and role.kind == "corrupt":
        data, reason = damaged(data, role.number)
        parcel.truth.append(Planted("corrupt", order.source, path, None, {"reason": reason}))
    elif role is not None and role.of is not None:
        of = {"path": f"{order.source}/{name_of(role.of)}", "item": None}
        parcel.truth.append(Planted(role.kind, order.source, path, None, {"of": of}))
    (order.folder / name).write_bytes(data)


def _picture(order: Order, number: int) -> tuple[Scene, bytes]:
    rng = stream(order.seed, order.source, "picture", number)
    scene = pick(rng, scenes(False))
    return scene, pictures.encode(pictures.draw(scene, rng), _picture_name(number)[-3:])


def _clip(order: Order, number: int) -> tuple[list[pictures.Picture], list[clips.Cue]]:
    """Even numbers move, odd ones show one thing after another; some of these are long."""
    rng = stream(order.seed, order.source, "clip", number)
    if number % 2 == 0:
        thing, direction = pick(rng, movements(False))
        frames = clips.movement_frames(thing, direction, rng)
        return frames, [clips.Cue(0.0, 1.0, clips.movement_text(thing, direction))]
    if number % LONG_CLIP_EVERY == LONG_CLIP_EVERY - 1:
        things = _chain(rng, 4)
        return clips.succession_frames(things, 8, rng), clips.succession_cues(things, 2.0)
    things = list(pick(rng, successions(False)))
    return clips.succession_frames(things, 2, rng), clips.succession_cues(things, 0.5)


def _chain(rng: np.random.Generator, length: int) -> list[Thing]:
    """Things of which each two neighbours are a pair of the training side."""
    chain = list(pick(rng, successions(False)))
    while len(chain) < length:
        chain.append(pick(rng, [then for first, then in successions(False) if first == chain[-1]]))
    return chain


def _picture_name(number: int) -> str:
    return f"picture_{number:06d}.{'png' if number % 10 == 0 else 'jpg'}"


def _utterance_name(number: int) -> str:
    return f"utterance_{number:06d}.{'wav' if number % 10 == 0 else 'flac'}"


def _clip_name(number: int) -> str:
    return f"clip_{number:06d}.mp4"
