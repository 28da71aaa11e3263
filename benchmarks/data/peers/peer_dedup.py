"""datasketch and datatrove: near copies among documents of JSON lines {id, text}.

`datasketch DOCS OUT BANDS VALUES THRESHOLD HASH` writes pairs [a, b, similarity], proposed by MinHashLSH and verified by the
Jaccard similarity of the shingles themselves; `datatrove DOCS OUT` runs its MinHash pipeline at its defaults (5-grams,
14 x 8) in one process and writes the pairs inside its clusters. Both get the tokens they do best with: words, characters in
Chinese. Prints processor seconds, reading excluded.
"""

import itertools
import json
import os
import re
import shutil
import struct
import sys
import time
from importlib.metadata import version
from pathlib import Path

CHINESE = re.compile("[㐀-鿿]")


def read(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def is_chinese(text):
    return 2 * len(CHINESE.findall(text)) > sum(map(str.isalpha, text))


def shingles(text):
    text = text.lower()
    units = re.findall(r"\w", text) if is_chinese(text) else re.findall(r"\w+", text)
    return {" ".join(units[start : start + 5]).encode() for start in range(len(units) - 4)}


def run_datasketch(docs, out, bands, values, threshold, hashed):
    import xxhash
    from datasketch import MinHash, MinHashLSH

    rows = read(docs)
    function = {} if hashed == "sha1" else {"hashfunc": xxhash.xxh32_intdigest}
    bands, values, threshold = int(bands), int(values), float(threshold)
    started = time.process_time()
    sets = [shingles(row["text"]) for row in rows]
    hashes = MinHash.bulk([list(found) for found in sets], num_perm=bands * values, **function)
    index = MinHashLSH(num_perm=bands * values, params=(bands, values))
    pairs = []
    for number, (found, sketch) in enumerate(zip(sets, hashes, strict=True)):
        if not found:
            continue
        for other in index.query(sketch):
            similarity = len(found & sets[other]) / len(found | sets[other])
            if similarity >= threshold:
                pairs.append([rows[other]["id"], rows[number]["id"], similarity])
        index.insert(number, sketch, check_duplication=False)
    seconds = time.process_time() - started
    Path(out).write_text(json.dumps(pairs))
    return {"documents": len(rows), "cpu_s": seconds, "version": version("datasketch")}


def run_datatrove(docs, out):
    from datatrove.data import Document
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.utils.logging import logger
    from datatrove.utils.typeshelper import Languages

    logger.remove()
    rows = read(docs)
    work = Path(out + ".work")
    pairs, seconds = [], 0.0
    # Its word tokenizer is that of one language.
    for language, wanted in ((Languages.english, False), (Languages.mandarin_chinese, True)):
        mine = [row for row in rows if is_chinese(row["text"]) == wanted]
        shutil.rmtree(work, ignore_errors=True)
        config = MinhashConfig()
        signature = MinhashDedupSignature(str(work / "signatures"), config=config, language=language)
        signature.get_shingles("a first text loads the tokenizer")
        started = time.process_time()
        signature.run(Document(text=row["text"], id=row["id"]) for row in mine)
        buckets = MinhashDedupBuckets(str(work / "signatures"), str(work / "buckets"), config=config)
        for rank in range(config.num_buckets):
            buckets.run(None, rank, config.num_buckets)
        cluster = MinhashDedupCluster(str(work / "buckets"), str(work / "remove"), config=config, save_cluster_id=True)
        cluster.run(None, 0, 1)
        seconds += time.process_time() - started
        pairs += clusters(work / "buckets", mine)
    shutil.rmtree(work, ignore_errors=True)
    Path(out).write_text(json.dumps(pairs))
    return {"documents": len(rows), "cpu_s": seconds, "version": version("datatrove")}


def clusters(folder, rows):
    """Pairs of documents that the matches of all buckets join."""
    parent = list(range(len(rows)))

    def root(node):
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for path in folder.glob("*.dups"):
        for _, a, _, b in struct.iter_unpack("<4I", path.read_bytes()):
            parent[root(a)] = root(b)
    groups = {}
    for node in range(len(rows)):
        groups.setdefault(root(node), []).append(rows[node]["id"])
    return [[a, b, None] for group in groups.values() for a, b in itertools.combinations(group, 2)]


if __name__ == "__main__":
    verb = {"datasketch": run_datasketch, "datatrove": run_datatrove}[sys.argv[1]]
    print(json.dumps(verb(*sys.argv[2:])))
    sys.stdout.flush()
    os._exit(0)
