"""imagehash: pHash of every picture of a folder, in the order of their names."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import imagehash
from PIL import Image


def main(folder: str) -> None:
    """Print {version, hashes, cpu_s}."""
    started = time.process_time()
    hashes = [str(imagehash.phash(Image.open(path))) for path in sorted(Path(folder).glob("*.jpg"))]
    print(json.dumps({"version": imagehash.__version__, "hashes": hashes, "cpu_s": time.process_time() - started}))


if __name__ == "__main__":
    main(*sys.argv[1:])
