"""alt-profanity-check: `score FILE ROUNDS` reads JSON lines {"text"}, prints scores and the best process time of rounds."""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

from profanity_check import predict_prob

texts = [json.loads(line)["text"] for line in Path(sys.argv[2]).read_text("utf-8").splitlines()]
best = float("inf")
for _ in range(int(sys.argv[3])):
    started = time.process_time()
    scores = [float(value) for value in predict_prob(texts)]
    best = min(best, time.process_time() - started)
print(json.dumps({"version": version("alt-profanity-check"), "process_s": best, "scores": scores}))
