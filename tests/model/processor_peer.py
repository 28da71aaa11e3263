"""What transformers' own processor makes of `processor_cases`: python -m tests.model.processor_peer EXPORT OUT.npz

A process of its own: PYTHONPATH holds torchvision, whose wheels for this torch are built for CUDA and look for two
operators of its C++ library at import; they are declared here, and never called.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch

_DECLARED = torch.library.Library("torchvision", "DEF")
if not torch.cuda.is_available():
    _DECLARED.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _DECLARED.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from expedition.model.processor import call_arguments  # noqa: E402
from tests.model.processor_cases import FRAMES_PER_S, RULE, Document, cases, media  # noqa: E402

MARKS = {
    "image": "<|vision_start|><|image_pad|><|vision_end|>",
    "video": "<|vision_start|><|video_pad|><|vision_end|>",
    "heard": "<|vision_start|><|video_pad|><|vision_end|>",
    "audio": "<|audio_start|><|audio_pad|><|audio_end|>",
}


def text_of(document: Document) -> str:
    return "".join(content[0] if kind == "text" else MARKS[kind] for kind, *content in document)


def processed(processor: Any, documents: list[Document]) -> dict[str, np.ndarray[Any, Any]]:
    heard = any(part[0] == "heard" for document in documents for part in document)
    given = {
        "images": list(media(documents, "image")),
        "videos": [np.stack(frames) for frames in media(documents, "video")],
        "audio": list(media(documents, "audio")),
    }
    inputs = processor(
        text=[text_of(document) for document in documents],
        **{name: items for name, items in given.items() if items},
        padding=True,
        return_tensors="pt",
        **call_arguments(RULE.model_copy(update={"audio_in_video": heard}), FRAMES_PER_S),
    )
    return {name: np.asarray(value) for name, value in inputs.items()}


def main() -> None:
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(sys.argv[1])
    found = {
        f"{case}/{name}": array
        for case, documents in cases().items()
        for name, array in processed(processor, documents).items()
    }
    found["classes"] = np.array(
        [
            type(getattr(processor, name)).__name__
            for name in ("image_processor", "video_processor", "feature_extractor")
        ]
    )
    np.savez(sys.argv[2], **found)


if __name__ == "__main__":
    main()
