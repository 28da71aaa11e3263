"""Pictures: what is dropped, and hashes that stay near under re-encoding."""

import io

import numpy as np
import pytest
from PIL import Image

from expedition.data.records import Document, Insert, documents_of
from expedition.data.stages.dedup.media import picture_edges
from expedition.data.stages.image import ImageFilter, hash_distance, perceptual_hash
from tests.data.stages.documents import picture, picture_document, run


def encoded(pixels: np.ndarray, fmt: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, fmt)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "caption", "reason"),
    [
        (picture(1), "two red rings", None),
        (picture(1), "图片", "caption says nothing"),
        (picture(1), "猫", None),
        (picture(1), "IMG_2034.jpg", "caption says nothing"),
        (picture(1), "", "caption says nothing"),
        (picture(1)[:80], "two red rings", "unreadable picture"),
        (b"<html>not found</html>", "two red rings", "unreadable picture"),
        (picture(1, side=16), "two red rings", "picture too small"),
        (encoded(np.zeros((32, 400, 3), np.uint8)), "two red rings", "picture too narrow"),
        (encoded(np.full((64, 64, 3), 90, np.uint8)), "two red rings", "blank picture"),
    ],
)
def test_pictures_and_captions_are_judged(data: bytes, caption: str, reason: str | None) -> None:
    result = run(ImageFilter(), picture_document("a", data, caption))
    assert [item.reason for item in result.dropped] == ([reason] if reason else [])


def test_reencoding_keeps_the_hash_near() -> None:
    for seed in range(20):
        original = Image.open(io.BytesIO(picture(seed, 128)))
        buffer = io.BytesIO()
        original.save(buffer, "JPEG", quality=80)
        hashes = perceptual_hash(picture(seed, 128)), perceptual_hash(buffer.getvalue())
        assert picture_edges([("a", hashes[0]), ("b", hashes[1])]), hash_distance(*hashes)


def test_different_pictures_are_far() -> None:
    hashes = [(str(seed), perceptual_hash(picture(seed, 128))) for seed in range(30)]
    assert picture_edges(hashes) == []


def test_colour_alone_tells_pictures_apart() -> None:
    red = np.full((64, 64, 3), 200, np.uint8)
    blue = red.copy()
    red[20:40, 20:40] = (180, 40, 40)
    blue[20:40, 20:40] = (40, 40, 180)
    assert picture_edges([("a", perceptual_hash(encoded(red))), ("b", perceptual_hash(encoded(blue)))]) == []


def test_every_picture_of_a_document_counts() -> None:
    good, bad = Insert("image", data=picture(1)), Insert("image", data=b"broken")
    document = Document("d", "s", "image-text", "d", "\ufffc first \ufffc second", (good, bad))
    assert [item.reason for item in run(ImageFilter(), document).dropped] == ["unreadable picture"]
    both = Document("d", "s", "image-text", "d", "\ufffc first \ufffc second", (good, good))
    assert len(documents_of(run(ImageFilter(), both).batch)[0].meta["phash"].split(",")) == 2
