"""The stage: documents with a picture of nakedness above their source's threshold are dropped."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from expedition.data.stages.document_map import Outcome, Row, map_documents
from expedition.data.stages.image.perceptual_hash import decode
from expedition.data.stages.stage import StageResult
from expedition.errors import MissingExtra

EXPLICIT: Final = frozenset(
    {
        "ANUS_EXPOSED",
        "BUTTOCKS_EXPOSED",
        "FEMALE_BREAST_EXPOSED",
        "FEMALE_GENITALIA_EXPOSED",
        "MALE_GENITALIA_EXPOSED",
    }
)
"""Classes of NudeNet that count; faces, feet, bellies and covered parts do not."""


@dataclass(frozen=True, slots=True)
class NsfwPolicy:
    """Thresholds on the score of a document's worst picture."""

    threshold: float = 0.5
    """Confidence above which a document is dropped."""
    by_source: Mapping[str, float] = field(default_factory=dict)
    """Source name to threshold; 1.0 keeps everything."""

    def threshold_for(self, source: str) -> float:
        return self.by_source.get(source, self.threshold)


def require_detector() -> None:
    """Raises MissingExtra where NudeNet is not installed, so that a plan is refused before any work."""
    if importlib.util.find_spec("nudenet") is None:
        raise MissingExtra(
            "the stage nsfw needs NudeNet and ONNX Runtime",
            where="data.stages",
            fix="pip install 'expedition-programme[nsfw]', or take nsfw off the lists of stages",
        )


def nsfw_score(data: bytes) -> float:
    """Confidence (0..1) of the surest explicit class in encoded picture bytes; 0 where none is found.

    Raises OSError or ValueError on bytes that are no picture, MissingExtra without the extra.
    """
    pixels = np.ascontiguousarray(np.asarray(decode(data), np.uint8)[:, :, ::-1])
    found = _detector().detect(pixels)
    return max((float(item["score"]) for item in found if item["class"] in EXPLICIT), default=0.0)


@functools.cache
def _detector() -> Any:
    require_detector()
    import onnxruntime
    from nudenet import NudeDetector

    detector = NudeDetector()
    # The engine runs a process a core; a session with a thread a core in each would fight over them.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = detector.onnx_session._model_path
    detector.onnx_session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return detector


@dataclass(frozen=True, slots=True)
class Nsfw:
    """Documents with a picture of exposed nakedness are dropped, by a threshold for each source.

    Every picture is decoded at reduced size within the bound of the picture filter and shown to NudeNet's detector (320 pixels,
    its weights come inside the package, nothing is fetched); the surest of the five exposed classes is the picture's
    score, the highest of its pictures the document's. It stays in meta as `nsfw`. Not in the standard lists: name it
    after image_filter. Needs `expedition-programme[nsfw]`; without it a plan that names it is refused.

    Reasons:
    nsfw picture: the score of one picture is above the source's threshold.

    Thresholds:
    nsfw_threshold: 0.5 (confidence of the detector, by source; 1 keeps everything). NudeNet lists findings from 0.2
    (its post-processing); 0.5 is an own choice, not measured: no labelled set of such pictures may be kept here.

    Keeps: pictures that cannot be read are left to image_filter, which names the reason; faces, feet, arms and covered
    parts count for nothing, whatever their confidence.
    """

    kinds: frozenset[str]
    policy: NsfwPolicy = NsfwPolicy()
    name: str = "nsfw"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        return map_documents(batch, self.kinds, self._decide, media=True)

    def _decide(self, row: Row) -> Outcome:
        scores, unread = list[float](), 0
        for insert in row.inserts:
            if insert.kind == "image":
                try:
                    scores.append(nsfw_score(insert.data))
                except (OSError, ValueError, SyntaxError):
                    unread += 1
        worst = round(max(scores, default=0.0), 3)
        counts = {"pictures judged": len(scores), "pictures not judged": unread}
        counts = {name: count for name, count in counts.items() if count}
        if worst > self.policy.threshold_for(row.source):
            return Outcome(drop="nsfw picture", counts=counts)
        return Outcome(meta={"nsfw": worst} if scores else {}, counts=counts)
