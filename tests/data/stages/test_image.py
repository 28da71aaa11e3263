"""Pictures: what is dropped, and hashes that stay near under re-encoding."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from expedition.data.records import Document, Insert, documents_of
from expedition.data.stages.dedup.media import media_keys, media_near
from expedition.data.stages.image import ImageFilter, hash_distance, perceptual_hash
from expedition.data.stages.image.captions import caption_fault
from expedition.data.stages.image.image import without
from expedition.data.stages.media_phash import media_phash
from tests.data.stages.documents import photograph, picture, picture_document, run


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
        assert media_near(*hashes), hash_distance(*hashes)


def test_different_pictures_are_far() -> None:
    hashes = [perceptual_hash(picture(seed, 128)) for seed in range(30)]
    assert not any(media_near(a, b) for number, a in enumerate(hashes) for b in hashes[:number])


def test_colour_alone_tells_pictures_apart() -> None:
    red = np.full((64, 64, 3), 200, np.uint8)
    blue = red.copy()
    red[20:40, 20:40] = (180, 40, 40)
    blue[20:40, 20:40] = (40, 40, 180)
    assert not media_near(perceptual_hash(encoded(red)), perceptual_hash(encoded(blue)))


def test_every_picture_of_a_document_counts() -> None:
    good, bad = Insert("image", data=picture(1)), Insert("image", data=b"broken")
    words = "\ufffc\n\nfirst comes a harbour at dawn\n\n\ufffc\n\nthen the boats go out"
    one = run(ImageFilter(), Document("d", "s", "image-text", "d", words, (bad, good)))
    kept = documents_of(one.batch)[0]
    assert kept.text == "first comes a harbour at dawn\n\n\ufffc\n\nthen the boats go out"
    assert [insert.data for insert in kept.inserts] == [good.data]
    assert one.changed == {"left out: unreadable picture": 1}
    none = run(ImageFilter(), Document("d", "s", "image-text", "d", words, (bad, bad)))
    assert [item.reason for item in none.dropped] == ["unreadable picture"]
    both = Document("d", "s", "image-text", "d", words, (good, good))
    assert len(documents_of(run(ImageFilter(), both).batch)[0].meta["phash"].split(",")) == 2


def jpeg(image: Image.Image, quality: int = 80) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    width, height = image.size
    return image.crop((int(left * width), int(top * height), int((1 - right) * width), int((1 - bottom) * height)))


EDITS = {
    "half size": lambda image: jpeg(image.resize((image.width // 2, image.height // 2))),
    "quality 30": lambda image: jpeg(image, 30),
    "stretched": lambda image: jpeg(image.resize((image.width, int(0.8 * image.height)))),
    "mirrored": lambda image: jpeg(ImageOps.mirror(image)),
    "cropped": lambda image: jpeg(cropped(image, 0.04, 0.03, 0.05, 0.04)),
    "mirrored and cropped": lambda image: jpeg(cropped(ImageOps.mirror(image), 0.03, 0.04, 0.02, 0.05), 60),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=list(EDITS))
def test_edits_of_a_photograph_are_proposed_and_near(edit: Callable[[Image.Image], bytes]) -> None:
    met = near = 0
    for seed in range(20):
        original, other = perceptual_hash(jpeg(photograph(seed), 92)), perceptual_hash(edit(photograph(seed)))
        keys = [set(media_keys(media_phash("image", "en", each), words)[0].tolist()) for words, each in
                enumerate((original, other))]  # fmt: skip
        met += not keys[0].isdisjoint(keys[1])
        near += media_near(original, other)
    assert met >= 19
    assert near >= 19


def test_different_photographs_are_never_near() -> None:
    hashes = [perceptual_hash(jpeg(photograph(seed))) for seed in range(24)]
    assert not any(media_near(a, b) for number, a in enumerate(hashes) for b in hashes[:number])


def test_a_picture_captioned_in_two_languages_is_kept_twice() -> None:
    value = perceptual_hash(jpeg(photograph(1)))
    assert not media_near(media_phash("image", "en", value), media_phash("image", "zh-Hans", value))
    assert media_near(media_phash("image", "en", value), media_phash("image", None, value))


def test_open_pictures_survive_and_are_told_apart(open_data: Path) -> None:
    """Every open caption is sound, and of 164 pictures only those that show one picture are near."""
    folder = open_data / "image_text"
    rows = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()][::4]
    assert [row["caption"] for row in rows if row["caption"] and caption_fault(row["caption"])] == []
    hashes = {row["image"]: perceptual_hash((folder / row["image"]).read_bytes()) for row in rows}
    near = [(a, b) for a in hashes for b in hashes if a < b and media_near(hashes[a], hashes[b])]
    assert len(near) <= 1


@pytest.mark.parametrize(
    ("caption", "fault"),
    [
        ("a harbour at dawn", None),
        ("An image of a dog on a beach", None),
        ("สุนัขบนชายหาด", None),
        ("ཁྱི་ཞིག", None),
        ("कुत्ता समुद्र तट पर", None),
        ("الكلب على الشاطئ", None),
        ("image of", "caption is boilerplate"),
        ("Photo 3 of 12", "caption is boilerplate"),
        ("Click here to enlarge", "caption is boilerplate"),
        ("点击放大", "caption is boilerplate"),
        ("https://example.org/a/b.html", "caption is an address"),
        ("my-holiday-photo.jpg", "caption says nothing"),
        ("a=1; b={c}; <%= $$ ## %> || &&", "caption is mostly symbols"),
        ("buy cheap shoes " * 8, "caption repeats itself"),
    ],
)
def test_captions_are_judged_by_name(caption: str, fault: str | None) -> None:
    assert caption_fault(caption) == fault


@given(st.text(max_size=300))
def test_any_caption_is_judged(caption: str) -> None:
    assert caption_fault(caption) is None or caption_fault(caption).startswith("caption ")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "pictures", "reason"),
    [
        ("\ufffc\n\n" * 9 + "word " * 60, 9, "gallery"),
        ("one two\n\n\ufffc\n\nthree\n\n\ufffc", 2, "too few words for its pictures"),
        ("some more words here\n\n\ufffc\n\n" * 31, 31, "too many pictures"),
        ("a text of several words about boats\n\n\ufffc\n\nand some more", 1, None),
    ],
)
def test_interleaved_documents_are_judged_as_a_whole(text: str, pictures: int, reason: str | None) -> None:
    inserts = tuple(Insert("image", data=picture(seed)) for seed in range(pictures))
    result = run(ImageFilter(), Document("d", "s", "image-text", "d", text, inserts))
    assert [item.reason for item in result.dropped] == ([reason] if reason else [])


def test_a_caption_over_half_of_a_batch_is_boilerplate() -> None:
    shared = [picture_document(str(seed), picture(seed), "our shop at the market") for seed in range(12)]
    others = [picture_document(str(seed), picture(seed), f"boat number {seed}") for seed in range(20, 30)]
    result = run(ImageFilter(), *shared, *others)
    assert {item.reason for item in result.dropped} == {"caption of many pictures"}
    assert len(result.dropped) == 12


@given(st.lists(st.sampled_from(["\ufffc", "\n\n", "words", " "]), max_size=30), st.data())
def test_leaving_pictures_out_keeps_words_and_order(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    count = text.count("\ufffc")
    places = frozenset(data.draw(st.sets(st.integers(0, max(0, count - 1)), max_size=count))) if count else frozenset()
    left = without(text, places)
    assert left.count("\ufffc") == count - len(places)
    assert "".join(left.replace("\ufffc", "").split()) == "".join(text.replace("\ufffc", "").split())


def test_alternative_text_about_something_else_is_counted() -> None:
    for alternative, name in (("a red ring and another", "agrees"), ("portrait of the founder", "differs")):
        document = picture_document("a", picture(1), "two red rings on a table")
        told = Document(
            **{**{name: getattr(document, name) for name in Document.__slots__}, "meta": {"alt": alternative}}
        )
        assert run(ImageFilter(), told).counts[f"alternative text {name}"] == 1
