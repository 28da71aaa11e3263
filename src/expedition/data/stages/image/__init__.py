"""image: pictures judged by size, content and caption, with a perceptual hash for finding copies.

Why a room: everything that looks at pixels of still pictures.
Verbs (all that other rooms may call):
    perceptual_hash(data) -> str            "dhash-colours", for encoded bytes
    hash_distance(a, b) -> Distance         bits and colour steps between two hashes
    ImageFilter(kinds, limits)              the stage
Seams: none.
Imports: data.stages.stage.  Imported by: data.stages.catalogue, data.stages.dedup, data.stages.video.
Reads / writes in the workspace: nothing.
Invariants: re-encoding keeps the hash near [test_reencoding_keeps_the_hash_near].
Read in this order:
    perceptual_hash.py      gradient and colour grid
    image.py                the stage
Try: pytest tests/data/stages/test_image.py
"""

from expedition.data.stages.image.image import ImageFilter, ImageLimits
from expedition.data.stages.image.perceptual_hash import Distance, hash_distance, perceptual_hash

__all__ = ["Distance", "ImageFilter", "ImageLimits", "hash_distance", "perceptual_hash"]
