"""Ask the released model: `python kit/inference.py [--prompt TEXT] [--image FILE] [--new-tokens N]`.

Without options it goes on with a text and describes the kit's sample picture. The model is a base model: it continues
documents, it does not follow instructions.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

started = time.monotonic()  # before torch is imported

from documents import RELEASE, answer, load_release  # type: ignore[import-not-found]  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description="Ask the released model.")
    parser.add_argument("--prompt", default=None, help="text that the model continues")
    parser.add_argument("--image", type=Path, default=None, help="picture that stands before the prompt")
    parser.add_argument("--new-tokens", type=int, default=16, help="tokens to generate")
    parser.add_argument("--release", type=Path, default=RELEASE, help="folder of the release")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    options = parser.parse_args()
    release = load_release(options.release)
    loaded = time.monotonic()
    questions: list[tuple[str, list[Path]]]
    if options.prompt is None and options.image is None:
        samples = sorted((Path(__file__).parent / "sample_data").glob("sample.*"))
        questions = [("The", []), *((" ", [picture]) for picture in samples[:1])]
    else:
        questions = [(options.prompt or "", [options.image] if options.image else [])]
    answers = []
    for text, pictures in questions:
        found = answer(release, text.rstrip(" ") if pictures else text, pictures, options.new_tokens)
        answers.append({"prompt": text, "pictures": [str(picture) for picture in pictures], "answer": found})
        if not options.json:
            print(f"{' '.join(picture.name for picture in pictures)} {text!r} -> {found!r}", flush=True)
        if len(answers) == 1:
            first_answer_s = time.monotonic() - started
    times = {"load_s": round(loaded - started, 3), "first_answer_s": round(first_answer_s, 3)}
    result = {"device": str(release.device), "class": type(release.model).__name__, **times, "answers": answers}
    print(json.dumps(result, ensure_ascii=False) if options.json else f"{times} on {release.device}")


if __name__ == "__main__":
    main()
