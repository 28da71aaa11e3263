"""Pictures for reports, without any drawing library: an SVG of a grid, thumbnails as data URIs."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from expedition.data.loading.mel import decode_audio, log_mel
from expedition.data.records import Insert
from expedition.plan.media import MediaRule

CELL_W, CELL_H, LEFT, TOP = 110, 46, 90, 56


def grid_svg(cells: Sequence[Mapping[str, Any]], chance: float, title: str) -> str:
    """Accuracy by depth (rows) and length (columns); white is chance or less, dark is 1."""
    lengths = sorted({cell["length"] for cell in cells})
    depths = sorted({cell["depth"] for cell in cells})
    width, height = LEFT + CELL_W * len(lengths) + 10, TOP + CELL_H * len(depths) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="12">',
        f"<title>Recall by length and depth, {html.escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="10" y="20" font-size="14">Recall of a fact, {html.escape(title)}; chance {chance:.2f}</text>',
    ]
    for number, length in enumerate(lengths):
        middle = LEFT + CELL_W * number + CELL_W / 2
        parts.append(f'<text x="{middle}" y="{TOP - 8}" text-anchor="middle">{length} tokens</text>')
    for number, depth in enumerate(depths):
        parts.append(f'<text x="10" y="{TOP + CELL_H * number + CELL_H / 2 + 4}">depth {depth:.0%}</text>')
    for cell in cells:
        x, y = LEFT + CELL_W * lengths.index(cell["length"]), TOP + CELL_H * depths.index(cell["depth"])
        share = max(0.0, (cell["accuracy"] - chance) / (1 - chance))
        ink = "#ffffff" if share > 0.55 else "#102a43"
        level = [round(255 - share * (255 - part)) for part in (16, 78, 139)]
        fill = "#" + "".join(f"{part:02x}" for part in level)
        parts += [
            f'<rect x="{x}" y="{y}" width="{CELL_W - 3}" height="{CELL_H - 3}" fill="{fill}" stroke="#9fb3c8"/>',
            f'<text x="{x + CELL_W / 2}" y="{y + 19}" text-anchor="middle" fill="{ink}">{cell["accuracy"]:.2f}</text>',
            f'<text x="{x + CELL_W / 2}" y="{y + 34}" text-anchor="middle" font-size="10" fill="{ink}">'
            f"{cell['ci_low']:.2f}–{cell['ci_high']:.2f}, n={cell['n']}</text>",
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def thumbnails(insert: Insert, media: MediaRule) -> list[str]:
    """Data URIs of what an insert shows: the picture, the frames of a clip, the mel picture of a sound."""
    if insert.kind == "image":
        kind = "png" if insert.data.startswith(b"\x89PNG") else "jpeg"
        return [_uri(insert.data, kind)]
    if insert.kind == "video":
        ends = np.cumsum([0, *insert.meta["sizes"]]).tolist()
        frames = [insert.data[start:end] for start, end in pairwise(ends)]
        return [_uri(frame, "jpeg") for frame in frames[:: max(1, len(frames) // media.video_max_frames)]]
    if insert.kind == "audio":
        return [_uri(_mel_png(log_mel(decode_audio(insert.data, media), media)), "png")]
    return []


def _mel_png(mel_MF: npt.NDArray[np.float32]) -> bytes:
    from PIL import Image

    low, high = float(mel_MF.min(initial=0.0)), float(mel_MF.max(initial=1.0))
    grey = ((mel_MF[::-1] - low) / max(high - low, 1e-6) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.repeat(grey, 2, axis=1)).save(buffer, "PNG")
    return buffer.getvalue()


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
