"""The signal is there: simple classifiers without any training loop tell the attributes apart across the split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from expedition.sampleworld.media import driving, pictures, speech
from expedition.sampleworld.world import COLOURS, SHAPES, WORDS, pick, scenes, stream

Features = NDArray[np.float64]


def ridge_accuracy(train: Features, labels: NDArray[np.int64], test: Features, wanted: NDArray[np.int64]) -> float:
    """Share of `wanted` that a linear classifier with a squared penalty finds."""
    mean = train.mean(0)
    kernel = (train - mean) @ (train - mean).T
    weights = np.linalg.solve(
        kernel + 0.02 * np.trace(kernel) / len(train) * np.eye(len(train)), np.eye(labels.max() + 1)[labels]
    )
    guesses = ((test - mean) @ (train - mean).T @ weights).argmax(1)
    return float((guesses == wanted).mean())


def spectrum(wave: Features) -> Features:
    """Log energies of 32 bands in 16 slices of the sounding part."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, 400)[::160] * np.hanning(400)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    mel = 2595 * np.log10(1 + np.fft.rfftfreq(400, 1 / speech.SAMPLE_RATE) / 700)
    edges = np.linspace(0, mel[-1], 34)
    bands = [
        np.clip(np.minimum((mel - a) / (b - a), (c - mel) / (c - b)), 0, None)
        for a, b, c in zip(edges, edges[1:], edges[2:], strict=False)
    ]
    log = np.log10(np.maximum(power @ np.stack(bands).T, 1e-6))
    log = np.clip(log - log.max(), -5, 0)
    loud = np.where(log.max(1) > -2.2)[0]
    log = log[loud[0] : loud[-1] + 1]
    return np.asarray(log[np.linspace(0, len(log) - 1, 16).astype(int)].ravel())


def utterances(count: int, held_out: bool) -> tuple[Features, NDArray[np.int64]]:
    words = list(WORDS)
    features, labels = [], []
    for number in range(count):
        rng = stream(3, "learnable", str(held_out), number)
        speaker = speech.voice(7, int(rng.integers(20)), held_out)
        features.append(spectrum(speech.say(words[number % 20], speaker, rng)))
        labels.append(number % 20)
    return np.array(features), np.array(labels)


def test_words_are_told_apart_across_speakers() -> None:
    assert ridge_accuracy(*utterances(400, False), *utterances(200, True)) > 0.9


def test_colours_and_shapes_of_held_out_pictures_are_told_apart() -> None:
    def shown(count: int, held: bool) -> tuple[Features, NDArray[np.int64], NDArray[np.int64]]:
        features, colours, shapes = [], [], []
        for number in range(count):
            rng = stream(5, "pictures", str(held), number)
            scene = pick(rng, [scene for scene in scenes(held) if scene.count == 1])
            picture = pictures.draw(scene, rng).astype(np.float64)
            ink = np.abs(picture - np.median(picture, axis=(0, 1))).sum(-1) > 60
            rows, columns = np.where(ink)
            top, left = rows.min(), columns.min()
            crop = np.zeros((20, 20))
            part = ink[top : top + 20, left : left + 20]
            crop[: part.shape[0], : part.shape[1]] = part
            features.append(np.concatenate([crop.ravel(), picture[ink].mean(0) / 64]))
            colours.append(list(COLOURS).index(scene.colour))
            shapes.append(SHAPES.index(scene.shape))
        return np.array(features), np.array(colours), np.array(shapes)

    train, test = shown(400, False), shown(150, True)
    inks = np.stack([train[0][train[1] == colour, -3:].mean(0) for colour in range(len(COLOURS))])
    nearest = ((test[0][:, None, -3:] - inks) ** 2).sum(-1).argmin(1)
    assert (nearest == test[1]).mean() > 0.95
    assert ridge_accuracy(train[0][:, :-3], train[2], test[0][:, :-3], test[2]) > 0.9


def test_the_front_camera_shows_what_the_car_does() -> None:
    def seen(start: int, count: int) -> tuple[Features, NDArray[np.int64]]:
        features, labels = [], []
        for number in range(start, start + count):
            rng = stream(9, "drives", number)
            scene = driving.drive(rng, number)
            features.append(driving.film(scene, rng)["front"][-1].astype(np.float64)[::2, ::2].ravel() / 255)
            labels.append(list(driving.BENDS).index(scene.bend) * 2 + scene.blocked)
        return np.array(features), np.array(labels)

    assert ridge_accuracy(*seen(0, 90), *seen(1000, 60)) > 0.9
