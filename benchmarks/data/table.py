"""The table of `make bench-data`: rows from the JSON documents of the benchmarks. Pure; what was not measured is "unknown"."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Found = dict[str, Any]
"""A benchmark's JSON document."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `ratio` is ours ÷ the peer's, or the figure that `goal` speaks of; None where it was not measured."""

    what: str
    ours: str
    peer: str
    ratio: float | None
    goal: str
    met: bool | None
    """None: there is no goal, or no figure."""


def at_least(ratio: float | None, least: float) -> tuple[str, bool | None]:
    """The goal as text, and whether it is met."""
    return f"≥ {least:g}", None if ratio is None else ratio >= least


def over(ours: float | None, peer: float | None) -> float | None:
    """Ours ÷ the peer's."""
    return None if not ours or not peer else ours / peer


def loader_rows(found: Found) -> Iterator[Row]:
    """Samples a second of one core, by processor time, files in the page cache."""
    rates = found["rates"]

    def row(what: str, mine: str, other: str | None, least: float | None) -> Row:
        ratio = over(rates.get(mine), rates.get(other or ""))
        goal, met = at_least(ratio, least) if least else ("", None)
        peer = f"{_name(other)} {rates[other]:,}" if other else "unknown"
        return Row(what, f"{rates[mine]:,} /s" if mine in rates else "unknown", peer, ratio, goal, met)

    plain = _best(rates, "none/", "/warm")
    size = f"{found['mean_sample_bytes'] / 1000:.0f} kB samples"
    yield row(f"loader, {size}, not decoded, views, warm, a core", "none/ours/warm", plain, 5)
    yield row("— the same, each sample copied to bytes", "none/ours, copied/warm", plain, None)
    yield row("— the same, in block-shuffled order", "none/ours, block shuffle/warm", plain, None)
    pillow = "jpeg/webdataset/warm"
    yield row("loader, JPEG decoded, a core, webdataset with Pillow", "jpeg/ours/warm", _in(rates, pillow), 1.4)
    bare = "jpeg/simplejpeg alone, from memory/warm"
    yield row("— of bare simplejpeg on bytes in memory", "jpeg/ours/warm", _in(rates, bare), 0.95)
    yield row("— of the best peer at its best decoder", "jpeg/ours/warm", _best(rates, "jpeg/", "/warm"), None)


def s3_rows(found: Found) -> Iterator[Row]:
    """Samples a second from the object store, by wall clock."""
    rates = found["rates"]
    hits = found["hit_rate_of_the_cold_block_shuffle"]
    for heat in ("cold", "warm"):
        mine, best = rates.get(f"ours, block shuffle/{heat}"), _best(rates, "", f"/{heat}")
        ratio = over(mine, rates.get(best or ""))
        goal, met = at_least(ratio, 2)
        note = f", hit rate {min(hits):.3f}" if heat == "cold" and hits else ""
        peer = f"{_name(best)} {rates[best]:,}" if best else "unknown"
        yield Row(
            f"loader from the S3 server, {heat} cache",
            f"{mine:,} /s{note}" if mine else "unknown",
            peer,
            ratio,
            goal,
            met,
        )


def order_rows(found: Found) -> Iterator[Row]:
    """Random access, resume, packing."""
    plan = found["trillion"]
    for what, key in (("one by one", "one_by_one_per_s"), ("in batches", "many_per_s")):
        rate = plan[key]
        yield Row(
            f"random access by global index, {what}", f"{rate:,.0f} /s a core", "–", rate, "≥ 50,000", rate >= 50_000
        )
    resume = plan["open_and_resume_ms"]
    yield Row("open and resume at 10⁹ of a 10¹² plan", f"{resume:.1f} ms", "–", resume, "< 50", resume < 50)
    packed = found["packing"]
    slowest, emptiest = (min(packed, key=lambda row: row[key]) for key in ("documents_per_s", "fill"))
    rate = slowest["documents_per_s"]
    yield Row(
        "packing, best fit, the slowest mix", f"{rate:,.0f} documents/s a core", "–", rate, "≥ 1,000,000", rate >= 1e6
    )
    fill = emptiest["fill"]
    what = f"packing fill, the worst mix ({emptiest['lengths']}, {emptiest['sequence_tokens']:,})"
    yield Row(what, f"{fill:.4f}", "–", fill, "≥ 0.98", fill >= 0.98)


def engine_rows(found: Found) -> Iterator[Row]:
    """Web archives to documents."""
    names = {
        "records": "engine: WARC → documents, HTML kept as it is, a core",
        "wet": "engine: WET → documents, a core",
        "extracted": "engine: WARC → documents with main text, a core",
    }
    for contest, what in names.items():
        sides = {name: side["mb_per_cpu_s"] for name, side in found["rates"].get(contest, {}).items()}
        mine = sides.pop("ours", None)
        best = max(sides, key=lambda name: sides[name], default=None)
        ratio = over(mine, sides.get(best or ""))
        goal, met = at_least(ratio, 3) if contest != "extracted" else ("", None)
        others = ", ".join(f"{name} {rate:g}" for name, rate in sides.items()) or "unknown"
        yield Row(what, f"{mine:g} MB/s" if mine else "unknown", others, ratio, goal, met)


def push_rows(found: Found) -> Iterator[Row]:
    """Push and read-back beside the object store's client alone."""
    for what, key in (("push with read-back", "push"), ("put alone", "put"), ("verify (read and hash)", "verify")):
        mine, client = (found["best"][f"{side}_{key}"]["mb_per_s"] for side in ("our", "client"))
        ratio = mine / client
        goal, met = at_least(ratio, 0.9)
        yield Row(f"{what}, local S3 server", f"{mine:g} MB/s", f"obstore alone {client:g}", ratio, goal, met)


def overhead_rows(found: Found) -> Iterator[Row]:
    """The engine over a loop, and over a bare pool; by processor time too, which other work on the machine disturbs less."""
    wall, used = found["wall_s"], found["processor_s"]
    for what, key, mine, other, least in (
        ("engine over the stages in a loop", "loop_over_engine", "engine_in_process", "loop", 0.95),
        ("two processes, of bare multiprocessing", "pool_over_engine", "engine_2_workers", "pool_2", 0.97),
    ):
        goal, met = at_least(found[key], least)
        yield Row(f"{what}, wall", f"{wall[mine]:.2f} s", f"{other} {wall[other]:.2f} s", found[key], goal, met)
        ratio = found[f"{key}_processor"]
        goal, met = at_least(ratio, least)
        yield Row(f"{what}, processor", f"{used[mine]:.2f} s", f"{other} {used[other]:.2f} s", ratio, goal, met)


def soak_rows(found: Found) -> Iterator[Row]:
    """Injected faults, and what they left wrong."""
    wrong = len(found["problems"])
    ours = f"{found['faults']:,} faults in {found['rounds']} rounds, {wrong} problems"
    enough = found["faults"] >= 2000
    goal = "0 lost, 0 double, same hashes" + (" (≥ 2,000 faults)" if enough else " (short: the full soak has ≥ 2,000)")
    yield Row("soak", ours, "–", None, goal, found["verdict"] == "pass")


def camera_rows(found: Found) -> Iterator[Row]:
    """The six-camera plan."""
    need = found["storage_need"]
    rate = found["sequential_read_bytes_per_s"]
    ours = (
        f"{need['stated_sample_bytes_per_s'] / 1e6:g} MB/s a sample, {need['stated_batch_bytes_per_s'] / 1e9:g} GB/s "
        f"at batch {need['batch_samples']}; read {rate / 1e6:,.0f} MB/s in sequence, "
        f"{found['random_read_bytes_per_s'] / 1e6:,.0f} at random: {found['nodes_for_bandwidth']} such nodes"
    )
    full = next((row for row in found["cache"]["curve"] if row["hit_rate"] >= 0.95), None)
    cache = (
        f"cache of {full['windows']:g} windows: hit rate {full['hit_rate']:.2f}"
        if full
        else "no cache size reaches 0.95"
    )
    stated = need["stated_sample_bytes_per_s"] == 10e6 and need["batch_samples"] == 1024
    yield Row("six-camera plan", f"{ours}; {cache}", "–", None, "formula, measured rates, cache size", stated)


def dedup_rows(found: Found) -> Iterator[Row]:
    """Deduplication by exchange on this machine's disk."""
    truth, rate = found["truth"], found["text_bytes_per_cpu_s"] / 1e6
    peak = found["peak_resident_bytes_of_a_worker"] / 2**20
    ours = (
        f"{found['text_bytes'] / 1e9:.2f} GB, {rate:.1f} MB/s a core; recall {truth['recall']:.4f}, precision "
        f"{truth['precision']:.4f}; worker peak {peak:.0f} MiB at a setting of {found['memory_setting_bytes'] >> 20} MiB"
    )
    yield Row("deduplication by exchange", ours, "–", None, "", None)


ROWS: dict[str, Callable[[Found], Iterator[Row]]] = {
    "loader": loader_rows,
    "loader_s3": s3_rows,
    "order": order_rows,
    "engine_warc": engine_rows,
    "push": push_rows,
    "soak": soak_rows,
    "cameras": camera_rows,
    "engine_overhead": overhead_rows,
    "dedup_scale": dedup_rows,
}
"""Benchmark (a module of this folder) → its rows, in the table's order."""


def as_markdown(rows: list[Row]) -> str:
    """The table."""
    head = "| what | ours | peer | ratio or figure | goal | met |\n|---|---|---|---:|---|---|\n"
    return head + "".join(
        f"| {row.what} | {row.ours} | {row.peer} | {_figure(row.ratio)} | {row.goal or '–'} | {_verdict(row)} |\n"
        for row in rows
    )


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _verdict(row: Row) -> str:
    if not row.goal:
        return "–"
    return {True: "yes", False: "**no**", None: "unknown"}[row.met]


def _best(rates: Found, start: str, end: str) -> str | None:
    """The peer's key of the highest rate."""
    keys = [key for key in rates if key.startswith(start) and key.endswith(end)]
    keys = [key for key in keys if not key.removeprefix(start).startswith(("ours", "simplejpeg alone"))]
    return max(keys, key=lambda key: rates[key], default=None)


def _in(rates: Found, key: str) -> str | None:
    return key if key in rates else None


def _name(key: str | None) -> str:
    parts = (key or "").split("/")
    return parts[-2] if len(parts) > 1 else ""
