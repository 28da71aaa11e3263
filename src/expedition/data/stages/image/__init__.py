"""image: pictures judged by size, content and caption, with a perceptual hash for finding copies.

Why a room: everything that looks at pixels of still pictures.
Verbs (all that other rooms may call):
    perceptual_hash(data) -> str            "dhash-colours-thumbnail", for encoded bytes
    hash_distance(a, b) -> Distance         bits and colour steps between two hashes
    ImageFilter(kinds, limits)              the stage
    Nsfw(kinds, policy)                     the stage of nakedness
    nsfw_score(data) -> float               0..1 by NudeNet
    require_detector()                      raises MissingExtra where it is not installed
Seams: none.
Imports: data.stages.stage.  Imported by: data.stages.catalogue, data.stages.dedup, data.stages.video.
Reads / writes in the workspace: nothing.
Invariants: re-encoding keeps the hash near [test_reencoding_keeps_the_hash_near].
Read in this order:
    perceptual_hash.py      gradient, colour grid, thumbnail
    likeness.py             keys and alignment of thumbnails
    captions.py             what a caption is worth
    image.py                the stage
    nsfw.py                 nakedness, by an optional detector
Try: pytest tests/data/stages/test_image.py
"""

from expedition.data.stages.image.image import ImageFilter, ImageLimits
from expedition.data.stages.image.nsfw import Nsfw, NsfwPolicy, nsfw_score, require_detector
from expedition.data.stages.image.perceptual_hash import Distance, hash_distance, perceptual_hash

__all__ = [
    "Distance",
    "ImageFilter",
    "ImageLimits",
    "Nsfw",
    "NsfwPolicy",
    "hash_distance",
    "nsfw_score",
    "perceptual_hash",
    "require_detector",
]
