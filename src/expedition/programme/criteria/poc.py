"""Proof of concept: steps, stability, loader, router, FP8, repeatability."""

from __future__ import annotations

from expedition.programme.evidence import Measured, NoEvidence, Query, Reader
from expedition.workspace import layout

REPORT = layout.report("poc")


def steps(reader: Reader) -> Measured:
    return Measured(float(reader.field(REPORT, "steps")))


def gpus(reader: Reader) -> Measured:
    count = int(reader.field(REPORT, "gpus"))
    if count == 0:
        raise NoEvidence("the proof of concept ran without a GPU")
    return Measured(float(count))


def loss_smooth(reader: Reader) -> Measured:
    report = reader.json(REPORT)
    first, last = reader.field(REPORT, "loss_first"), reader.field(REPORT, "loss_last")
    jump, bound = reader.field(REPORT, "largest_jump"), reader.field(REPORT, "jump_bound")
    note = f"loss {first:.3f} → {last:.3f}, largest jump {jump:.3f} of {bound:.3f} allowed"
    return Measured(last < first and jump <= bound and report.get("nonfinite") == 0, note)


def no_nan(reader: Reader) -> Measured:
    return Measured(float(reader.field(REPORT, "nonfinite")))


def headroom(reader: Reader) -> Measured:
    return Measured(float(reader.field(REPORT, "loader_headroom")))


def router(reader: Reader) -> Measured:
    found = reader.field(REPORT, "router")
    good = found["experts_with_gradient"] == found["experts"] and found["finite_difference_error"] <= found["bound"]
    note = (
        f"{found['experts_with_gradient']} of {found['experts']} experts, "
        f"error {found['finite_difference_error']:.2g} ≤ {found['bound']:.2g}"
    )
    return Measured(good, note)


def fp8(reader: Reader) -> Measured:
    found = reader.field(REPORT, "fp8")
    conditions = ("emulated fp8",) if found["emulated"] else ()
    return Measured(float(found["relative_difference"]), "relative difference of the final losses", conditions)


def reproducible(reader: Reader) -> Measured:
    found = reader.field(REPORT, "reproducible")
    return Measured(found["hash_a"] == found["hash_b"], "hash of the losses of two runs")


def evidence(reader: Reader) -> Measured:
    report = reader.json(REPORT)
    wanted = ("gpu_utilisation", "link_bandwidth_bytes_per_s", "dataset", "environment_hash")
    missing = [name for name in wanted if report.get(name) is None]
    if missing:
        raise NoEvidence(f"unknown here: {', '.join(missing)}")
    return Measured(True)


QUERIES: dict[str, Query] = {
    "poc.steps": steps,
    "poc.gpus": gpus,
    "poc.loss_smooth": loss_smooth,
    "poc.no_nan": no_nan,
    "poc.loader_headroom": headroom,
    "poc.router_gradient": router,
    "poc.fp8_converges": fp8,
    "poc.reproducible": reproducible,
    "poc.evidence": evidence,
}
