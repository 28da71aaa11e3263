"""The tables of docs/data-at-scale.md, from the JSON documents of stage_rates.py and dedup_scale.py.

    .venv/bin/python benchmarks/data/scale_tables.py --write docs/data-at-scale.md

Without --write they are printed. Assumptions are the constants below, and stand in the tables' headings.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.data.dedup_plan import FILE_BYTES, Cluster, Rates, plan, simulate
from expedition.plan import load_programme

HERE = Path(__file__).parent
BEGIN, END = "<!-- generated: tables -->", "<!-- generated: end -->"
BYTES_PER_TOKEN = {
    "web": 4.2,
    "code": 3.3,
    "books": 4.3,
    "synthetic": 4.2,
    "image-text": 100.0,
    "video-text": 150.0,
    "audio-text": 640.0,
}
"""Payload bytes a token stands for. Text: usual of a 150,000-entry vocabulary on English and code. Media: JPEG at about
25 kB for 256 tokens, frames at about 40 kB for 256, FLAC of speech at 16 kB a second for 25 tokens."""
TOKEN_BYTES = 4
DOCUMENT_BYTES = {"image-text": 50_000.0, "video-text": 2_000_000.0, "audio-text": 300_000.0}
TEXT_DOCUMENT_BYTES = 5_000.0
TEXT_KINDS = ("web", "code", "books", "synthetic")
SHARD_BYTES = {"web": 1 << 30, "code": 1 << 30, "books": 1 << 30, "synthetic": 1 << 30}
MEDIA_SHARD_BYTES = 2 << 30
NODES = (32, 512)
CORES = 64
CORE_HOUR = 0.04
GET_PER_MILLION, PUT_PER_MILLION, ZONE_PER_GB = 0.40, 5.00, 0.02
RANGE_BYTES = 8 << 20
CORE_YEAR_S = 365.25 * 86400


def tables(rates: dict[str, Any], scale: dict[str, Any], *more: dict[str, Any]) -> str:
    """All tables as Markdown."""
    tokens = {str(share.kind): share.tokens for share in load_programme().data.mix.shares}
    work = _work(tokens, rates, scale)
    parts = [
        _sizes(tokens),
        _stages(work, rates, scale),
        _traffic(tokens),
        _dedup(rates, scale),
        _measured(scale, *more),
    ]
    return "\n\n".join(parts)


def _sizes(tokens: dict[str, float]) -> str:
    rows = []
    for kind, count in tokens.items():
        payload, shard = count * BYTES_PER_TOKEN[kind], SHARD_BYTES.get(kind, MEDIA_SHARD_BYTES)
        stored = payload + count * TOKEN_BYTES
        documents = payload / DOCUMENT_BYTES.get(kind, TEXT_DOCUMENT_BYTES)
        rows.append(
            [kind, f"{count / 1e12:.0f} T", f"{BYTES_PER_TOKEN[kind]:g}", _bytes(payload), _bytes(stored), f"{documents:.1e}",
             _bytes(shard), f"{stored / shard:,.0f}"]
        )  # fmt: skip
    head = ["kind", "tokens", "bytes a token (assumed)", "payload", "with token ids", "documents", "shard", "shards"]
    return "### Sizes at 30 T tokens\n\n" + _table(head, rows)


def _work(
    tokens: dict[str, float], rates: dict[str, Any], scale: dict[str, Any]
) -> list[tuple[str, float | None, str]]:
    """(stage, processor seconds or None where it was not measured, how)."""
    text = {kind: tokens[kind] * BYTES_PER_TOKEN[kind] for kind in TEXT_KINDS}
    text_bytes = sum(text.values())
    found: list[tuple[str, float | None, str]] = []
    for kind, count in tokens.items():
        rate = (rates["prepare"] or {}).get("books" if kind == "synthetic" else kind)
        if rate is None:
            found.append((f"prepare {kind}", None, "not measured"))
            continue
        payload = count * BYTES_PER_TOKEN[kind]
        raw = payload / rate["text_bytes_out_per_raw_byte"] if kind in TEXT_KINDS else payload
        how = f"{_bytes(raw)} raw at {rate['raw_bytes_per_cpu_s'] / 1e6:.2f} MB/s"
        found.append((f"prepare {kind}", raw / rate["raw_bytes_per_cpu_s"], how))
    speed = rates["fingerprint"]["text_bytes_per_cpu_s"]
    found.append(("fingerprint", text_bytes / speed, f"{_bytes(text_bytes)} at {speed / 1e6:.1f} MB/s"))
    documents = text_bytes / TEXT_DOCUMENT_BYTES
    compare = sum(step["cpu_s"] for step in scale["steps"] if step["stage"] != "fingerprints") / scale["documents"]
    found.append(
        ("compare (exact, bands, verify, components)", documents * compare, f"{compare * 1e6:.0f} µs a document")
    )
    for stage in ("tokenise", "exchange_rows", "shards"):
        speed = rates[stage]["text_bytes_per_cpu_s"]
        found.append((stage.replace("_", " "), text_bytes / speed, f"{speed / 1e6:.1f} MB/s of text"))
    speed = rates["pack"]["documents_per_cpu_s"]
    found.append(("pack plan", documents / speed, f"{speed / 1e6:.1f} M documents/s"))
    return found


def _stages(work: list[tuple[str, float | None, str]], rates: dict[str, Any], scale: dict[str, Any]) -> str:
    total = sum(spent for _, spent, _ in work if spent is not None)
    rows = []
    for name, spent, how in [*work, ("all", total, "")]:
        if spent is None:
            rows.append([name, how, *["unknown"] * 5])
            continue
        walls = [_time(spent / (nodes * CORES)) for nodes in NODES]
        cost = f"{spent / 3600 * CORE_HOUR:,.0f} $"
        rows.append([name, how, f"{spent / CORE_YEAR_S:,.1f}", f"{100 * spent / total:.1f} %", *walls, cost])
    head = ["stage", "rate of one core", "core-years", "share", *(f"{nodes} nodes" for nodes in NODES), "cost"]
    machine = rates["machine"]
    note = (
        f"From processor time measured on {machine['cores']} cores ({machine['processor']}) at a load of "
        f"{rates['load_1_min']}; nodes of {CORES} such cores, all busy; {CORE_HOUR} $ a core-hour (assumed)."
    )
    worst = max((item for item in work if item[1] is not None), key=lambda item: item[1] or 0)
    named = f"**The bottleneck is {worst[0]}: {(worst[1] or 0) / CORE_YEAR_S:,.0f} core-years of {total / CORE_YEAR_S:,.0f}.**"
    return f"### Work by stage\n\n{note}\n\n{_table(head, rows)}\n\n{named}"


def _traffic(tokens: dict[str, float]) -> str:
    payload = sum(tokens[kind] * BYTES_PER_TOKEN[kind] for kind in tokens)
    stored = payload + sum(tokens.values()) * TOKEN_BYTES
    shards = sum(
        tokens[kind] * (BYTES_PER_TOKEN[kind] + TOKEN_BYTES) / SHARD_BYTES.get(kind, MEDIA_SHARD_BYTES)
        for kind in tokens
    )
    rows = []
    for name, size, gets, puts in (
        ("read raw media and text once, in ranges", payload, payload / RANGE_BYTES, 0.0),
        ("write shards, multipart", stored, 0.0, stored / RANGE_BYTES),
        ("read shards back to verify", stored, stored / RANGE_BYTES, 0.0),
        ("train one pass, a shard at a time through the cache", stored, stored / RANGE_BYTES, 0.0),
        ("list shards and tables", 0.0, shards / 1000, 0.0),
    ):
        cost = gets / 1e6 * GET_PER_MILLION + puts / 1e6 * PUT_PER_MILLION
        rows.append(
            [name, _bytes(size), f"{gets:,.0f}", f"{puts:,.0f}", f"{cost:,.0f} $", f"{size / 1e9 * ZONE_PER_GB:,.0f} $"]
        )
    head = ["what", "bytes", "GETs", "PUTs (parts)", "requests", "if it crosses a zone"]
    note = f"Ranges and parts of {_bytes(RANGE_BYTES)}; {GET_PER_MILLION} $ a million GETs, {PUT_PER_MILLION} $ a million PUTs, {ZONE_PER_GB} $ a GB between zones (assumed)."  # noqa: E501
    return f"### Object-store traffic\n\n{note}\n\n{_table(head, rows)}"


def _dedup(rates: dict[str, Any], scale: dict[str, Any]) -> str:
    measured = Rates.read(scale, rates)
    rows = []
    for name, size, known in (
        ("one snapshot, 10 TB", 10e12, 0.0),
        ("90 snapshots against each other, 900 TB", 900e12, 0.0),
        ("a 91st against 90 kept, 910 TB", 910e12, 90 / 91),
    ):
        for nodes in NODES:
            cluster = Cluster(nodes=nodes, cores=CORES)
            planned = plan(size, TEXT_DOCUMENT_BYTES, measured, cluster, known)
            play = simulate(planned, cluster)
            rows.append(
                [name, str(nodes), f"{planned['files']:,}", f"{planned['partitions']['bands']:,}", f"{planned['runs']['bands']:,}",
                 _bytes(planned["shuffled_bytes"]), _bytes(planned["peak_temporary_bytes_a_node"]),
                 _bytes(planned["fingerprint_bytes_a_node"]), _bytes(play.largest_partition_bytes),
                 _bytes(planned["memory_setting_bytes"]), _time(play.wall_s), f"{play.lost_nodes} / {play.run_again}"]
            )  # fmt: skip
    head = ["what", "nodes", "files", "band partitions", "runs", "shuffled", "runs a node, peak", "fingerprints kept a node",
            "largest partition", "rows in memory, most", "wall, simulated", "nodes lost / tasks run again"]  # fmt: skip
    cluster = Cluster()
    note = (
        f"**Simulated**, from rates measured on {measured.measured_on}. Conditions: {CORES} cores a node, "
        f"{_bytes(cluster.network_bytes_per_s)}/s network and {_bytes(cluster.disk_bytes_per_s)}/s disk a node, a node lost "
        f"every {cluster.hours_between_failures:g} hours and back after {cluster.repair_s:g} s, {100 * cluster.slow_share:g} % of "
        f"tasks {cluster.slow_factor:g} times slower, 5 % of the band rows in 10,000 huge groups whose sizes follow a Zipf law "
        f"of exponent 1.1, documents of {TEXT_DOCUMENT_BYTES:g} bytes, files of {_bytes(FILE_BYTES)}."
    )
    return f"### Deduplication of snapshots\n\n{note}\n\n{_table(head, rows)}"


def _measured(*runs: dict[str, Any]) -> str:
    head, *rows = zip(*map(_run_column, runs), strict=True)
    names = ["what", "documents, bytes of text", "workers, memory setting", "wall, processor time", "text a processor second",
             "peak resident, a worker", "peak resident, all processes", "peak on disk, fingerprints and runs",
             "pairs proposed, compared", "recall, precision", "boilerplate dropped"]  # fmt: skip
    table = _table([names[0], *head], [[name, *cells] for name, cells in zip(names[1:], rows, strict=True)])
    return f"### Real runs\n\nMeasured (`benchmarks/data/dedup_scale.py`).\n\n{table}"


def _run_column(run: dict[str, Any]) -> list[str]:
    truth = run["truth"]
    return [
        f"{_bytes(run['text_bytes'])}, {run['text_bytes'] / run['documents']:,.0f} bytes a document",
        f"{run['documents']:,}, {_bytes(run['text_bytes'])}",
        f"{run['workers']}, {_bytes(run['memory_setting_bytes'])}",
        f"{run['wall_s']:.0f} s, {run['cpu_s']:.0f} s",
        f"{run['text_bytes_per_cpu_s'] / 1e6:.1f} MB",
        _bytes(run["peak_resident_bytes_of_a_worker"]),
        _bytes(run["peak_resident_bytes_of_all"]),
        _bytes(run["peak_work_disk_bytes"]),
        f"{run['proposed_pairs']:,}, {run['compared_pairs']:,}",
        f"{truth['recall']:.4f}, {truth['precision']:.4f}",
        f"{truth['boilerplate_dropped']} of {truth['boilerplate']:,}",
    ]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} PB"


def _time(seconds: float) -> str:
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s"


def main() -> None:
    """Print the tables, or write them into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=Path, default=HERE / "stage_rates.json")
    parser.add_argument("--scale", type=Path, default=HERE / "dedup_scale.json")
    parser.add_argument(
        "--documents", type=Path, default=HERE / "dedup_documents.json", help="a second run, if it is there"
    )
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    paths = (options.rates, options.scale, options.documents)
    made = tables(*(json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()))
    if options.write is None:
        sys.stdout.write(made + "\n")
        return
    before, _, rest = options.write.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    options.write.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
