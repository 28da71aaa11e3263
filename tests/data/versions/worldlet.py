"""A handful of documents of several kinds, and a version sealed from them without sources or stages."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from expedition.data.compliance import Acquired
from expedition.data.engine import Limits
from expedition.data.engine.tables import TableWriter, write_batches
from expedition.data.records import DOCUMENT_SCHEMA, PLACEHOLDER, Document, Insert, document_batch
from expedition.data.tokenizer import Tokenizer, compact, count_ids, qwen_vocabulary
from expedition.data.versions.assemble import Prepared, Tokenise, assemble
from expedition.data.versions.index import DROPPED_SCHEMA, Provenance
from expedition.data.versions.plan import plan_shards
from expedition.data.versions.seal import Build, seal
from expedition.plan.media import MediaRule
from expedition.workspace import Workspace, layout

ACQUIRED = "2031-05-01T00:00:00.000000Z"


def document(number: int, source: str, kind: str, text: str, *inserts: Insert) -> Document:
    name = hashlib.sha256(f"{source}/{number}".encode()).hexdigest()[:32]
    return Document(name, source, kind, f"{source}/{number}.txt", text, inserts, language="en", licence="CC0-1.0")


def documents() -> list[Document]:
    jpeg = b"\xff\xd8\xff\xe0 a picture \xff\xd9"
    picture = Insert("image", data=jpeg, meta={"width": 64, "height": 48})
    clip = Insert("video", data=jpeg * 2, meta={"width": 64, "height": 64, "frames": 2, "sizes": [len(jpeg)] * 2})
    sound = Insert("audio", data=b"fLaC...", meta={"samples": 16_000, "sample_rate": 16_000})
    ipa = Insert("special", "<|ipa_phoneme|>")
    made = [document(n, "pages", "web", f"Page {n} about a ship <|im_end|> that sails. 船{n}") for n in range(40)]
    made += [document(n, "code", "code", f"def sail_{n}(x):\n    return x + {n}\n") for n in range(20)]
    made += [document(n, "pictures", "image-text", f"{PLACEHOLDER} a red ship {n}", picture) for n in range(20)]
    made += [document(n, "clips", "video-text", f"{PLACEHOLDER} it turns left {n}", clip) for n in range(10)]
    made += [
        document(n, "speech", "audio-text", f"{PLACEHOLDER} ahoy {n} {PLACEHOLDER}ɐˈhɔɪ", sound, ipa) for n in range(10)
    ]
    return made


@lru_cache(maxsize=1)
def tokenizer() -> Tokenizer:
    whole = Tokenizer(qwen_vocabulary(), padded_size=152_064)
    texts = [item.text.replace(PLACEHOLDER, "") for item in documents()]
    return Tokenizer(compact(whole.vocabulary, count_ids(whole.encode_batch(texts), len(whole.vocabulary)), 512))


def dropped_rows(path: Path, names: frozenset[str]) -> Path:
    row = {"source": "pages", "kind": "web", "path": "p", "stage": "dedup", "reason": "repeats"}
    with TableWriter(path, DROPPED_SCHEMA) as table:
        table.add({"id": name, **row} for name in sorted(names))
    return path


def sealed(
    folder: Path, *, version: str = "v0.1", workers: int = 0, parts: int = 2, without: frozenset[str] = frozenset()
) -> tuple[Workspace, dict[str, dict[str, Any]]]:
    """A workspace in `folder` with a sealed version of `documents()`, which arrive in `parts` files."""
    ws = Workspace.open(folder / "ws", create=True)
    scratch = folder / f"scratch-{version}"
    tokenizer().save(scratch / "tokenizer")
    every = documents()
    prepared = []
    for part in range(parts):
        path = scratch / f"part-{part}.arrow"
        write_batches(path, DOCUMENT_SCHEMA, [document_batch(every[part::parts])])
        prepared.append(Prepared(f"part-{part}", path, without))
    sizes = {kind: 4000 for kind in ("web", "code", "image-text", "video-text", "audio-text")}
    plan = plan_shards(sizes, 2000, 0.2, layout.DATASET)
    work = Tokenise(scratch / "tokenizer", MediaRule(), plan)
    outcomes = assemble(prepared, work, scratch / "assemble", Limits(workers=workers))
    names = ("pages", "code", "pictures", "clips", "speech")
    build = Build(
        identity={
            "version": version,
            "parent": None,
            "seed": 7,
            "stages": {},
            "tokenizer_fingerprint": tokenizer().fingerprint,
            "code_version": "test",
            "scope": "training",
        },
        provenance={name: Provenance(Acquired(name, ACQUIRED), "L000001") for name in names},
        sources=[{"name": name, "kind": "web", "approval_id": "L000001", "licence": "CC0-1.0"} for name in names],
        dropped=[dropped_rows(scratch / "dropped.arrow", without)],
        report={"conditions": [], "stages": []},
        tokenizer_folder=scratch / "tokenizer",
    )
    with ws.lease(layout.dataset(version)) as lease:
        return ws, seal(ws, lease, build, plan, outcomes, scratch)
