"""Pictures: size by the header first, then a whole decode as proof, stored as found or again as RGB where needed."""

from __future__ import annotations

import io
import math
import warnings

import numpy as np
import simplejpeg
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from expedition.data.decode.piece import Refused, Repair
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import DecodeRules
from expedition.data.records import Insert

ImageFile.LOAD_TRUNCATED_IMAGES = False
_READ = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
_LOSSLESS = frozenset({"PNG", "GIF", "BMP", "PPM"})
_ORIENTATION = 0x0112


def image_insert(data: bytes, rules: DecodeRules) -> tuple[Insert, tuple[Repair, ...]]:
    """A picture as an insert: JPEG or PNG, RGB or grey, upright, at most `rules.image_max_pixels`.

    Bytes are kept as found where they are that already; every picture is decoded whole once. Raises Refused: EMPTY,
    WRONG_FORMAT, UNSUPPORTED_FORMAT, TOO_MANY_PIXELS (before decoding), TOO_SMALL, TRUNCATED, CORRUPT.
    """
    picture = _opened(data)
    width, height = picture.size
    form = picture.format or ""
    limit = rules.limits.jpeg_pixels if form in ("JPEG", "MPO") else rules.limits.pixels
    if width * height > limit:
        raise Refused(Reason.TOO_MANY_PIXELS, f"{width} x {height} pixels declared, limit {limit}")
    if min(width, height) < rules.image_min_side:
        raise Refused(Reason.TOO_SMALL, f"{width} x {height} pixels, least side {rules.image_min_side}")
    causes = _causes(picture, data)
    oversized = width * height > rules.image_max_pixels
    if form == "JPEG" and not causes and not oversized:
        _prove_jpeg(data)
        return Insert("image", data=data, meta={"width": width, "height": height}), ()
    pixels = _decoded(picture, data, rules)
    if not causes and not oversized:
        return Insert("image", data=data, meta={"width": width, "height": height}), ()
    return _stored_again(pixels, form, causes, rules)


def jpeg_bytes(pixels: np.ndarray, quality: int) -> bytes:
    """RGB pixels [height, width, 3] uint8 as a JPEG; equal pixels give equal bytes."""
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=quality, colorsubsampling="420"))


def fitted(width: int, height: int, max_pixels: int) -> tuple[int, int]:
    """Width and height at the same ratio within `max_pixels`, at least 1 each."""
    if width * height <= max_pixels:
        return width, height
    scale = math.sqrt(max_pixels / (width * height))
    return max(1, math.floor(width * scale)), max(1, math.floor(height * scale))


def _opened(data: bytes) -> ImageFile.ImageFile:
    if not data:
        raise Refused(Reason.EMPTY)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.MAX_IMAGE_PIXELS = None
            return Image.open(io.BytesIO(data), formats=_READ)
    except UnidentifiedImageError:
        text = data[:64].lstrip()[:1] in (b"<", b"{")
        known = data[:3] == b"\xff\xd8\xff" or data[:8] == b"\x89PNG\r\n\x1a\n"
        reason = Reason.WRONG_FORMAT if text else Reason.CORRUPT if known else Reason.UNSUPPORTED_FORMAT
        raise Refused(reason, "no readable picture header") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        cut = "runcated" in str(error)
        raise Refused(Reason.TRUNCATED if cut else Reason.CORRUPT, str(error)[:120]) from None


def _causes(picture: ImageFile.ImageFile, data: bytes) -> list[str]:
    """Why the bytes cannot be kept as they are."""
    causes = []
    if picture.format not in ("JPEG", "PNG"):
        causes.append(f"{picture.format} format")
    if picture.mode not in ("RGB", "L"):
        causes.append(f"{picture.mode} mode")
    elif "transparency" in picture.info:
        causes.append("transparency")
    if data[:3] == b"\xff\xd8\xff" and b"Exif" in data[: 64 * 1024]:
        try:
            if picture.getexif().get(_ORIENTATION, 1) not in (0, 1):
                causes.append("rotated by its orientation tag")
        except (OSError, ValueError, SyntaxError):
            causes.append("broken Exif")
    return causes


def _prove_jpeg(data: bytes) -> None:
    """Decode all of a JPEG's coefficients (pixels at 1/8 size); strict, so a cut or damaged stream raises."""
    try:
        simplejpeg.decode_jpeg(data, colorspace="GRAY", min_height=1, min_width=1, min_factor=8, fastdct=True)
    except ValueError as error:
        raise _jpeg_refusal(str(error), data) from None
    if b"\xff\xd9" not in data[-64 * 1024 :]:
        raise Refused(Reason.TRUNCATED, "no end marker")


def _jpeg_refusal(message: str, data: bytes) -> Refused:
    cut = "remature end" in message or b"\xff\xd9" not in data[-64 * 1024 :]
    return Refused(Reason.TRUNCATED if cut else Reason.CORRUPT, message[:120])


def _decoded(picture: ImageFile.ImageFile, data: bytes, rules: DecodeRules) -> Image.Image:
    if picture.format in ("JPEG", "MPO"):
        _prove_jpeg(data)
        target = fitted(*picture.size, 4 * rules.image_max_pixels)
        picture.draft(None, target)
    try:
        picture.load()
    except (OSError, ValueError, SyntaxError, IndexError, EOFError, MemoryError) as error:
        text = str(error)
        cut = "truncated" in text or "broken data stream" in text or "end of file" in text.lower()
        raise Refused(Reason.TRUNCATED if cut else Reason.CORRUPT, text[:120]) from None
    return picture


def _stored_again(
    picture: Image.Image, form: str, causes: list[str], rules: DecodeRules
) -> tuple[Insert, tuple[Repair, ...]]:
    repairs = [Repair(Reason.RECODED, 1, ", ".join(causes))] if causes else []
    upright = ImageOps.exif_transpose(picture) or picture
    size = fitted(*upright.size, rules.image_max_pixels)
    factor = min(upright.width // size[0], upright.height // size[1])
    flat = _rgb(upright.reduce(factor) if factor > 1 and upright.mode not in ("P", "PA", "1") else upright)
    if size != flat.size:
        flat = flat.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    if size[0] * size[1] < picture.size[0] * picture.size[1]:
        repairs.append(Repair(Reason.RESIZED, 1, f"{picture.size[0]} x {picture.size[1]} pixels"))
    if form in _LOSSLESS:
        buffer = io.BytesIO()
        flat.save(buffer, "PNG", compress_level=6)
        stored = buffer.getvalue()
    else:
        stored = jpeg_bytes(np.asarray(flat), rules.jpeg_quality)
    return Insert("image", data=stored, meta={"width": flat.width, "height": flat.height}), tuple(repairs)


def _rgb(picture: Image.Image) -> Image.Image:
    """RGB over white where there was transparency; 16-bit grey is scaled, not clipped."""
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        ground = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, layered).convert("RGB")
    if picture.mode.startswith("I"):
        values = np.asarray(picture, dtype=np.float64)
        top = max(float(values.max(initial=0.0)), 255.0)
        return Image.fromarray((values / top * 255).astype(np.uint8)).convert("RGB")
    return picture.convert("RGB")
