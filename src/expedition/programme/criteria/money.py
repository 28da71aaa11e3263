"""Costs, computed from the programme."""

from __future__ import annotations

from expedition.programme.cost import cost_report, rate_per_hour
from expedition.programme.evidence import Measured, Query, Reader
from expedition.workspace import layout


def rate(reader: Reader) -> Measured:
    reader.file_hash(layout.PROGRAMME)
    cluster = reader.programme.cluster
    return Measured(rate_per_hour(reader.programme), f"${cluster.price_usd_per_gpu_hour:g} × {cluster.gpus} GPUs")


def outage(reader: Reader) -> Measured:
    reader.file_hash(layout.PROGRAMME)
    report = cost_report(reader.programme)
    return Measured(report.outage_usd, f"{report.outage_hours:g} h at ${report.rate_per_hour:,.0f}/h")


def rehearsal(reader: Reader) -> Measured:
    report = reader.json(layout.report("cost"))
    used = reader.field(layout.report("cost"), "rehearsal_used_days_of_main")
    reserved = report["rehearsal_reserved_days_of_main"]
    return Measured(
        float(used), f"{used:.1f} days used of {reserved:.1f} reserved, ${report['rehearsal_used_usd']:,.0f}"
    )


QUERIES: dict[str, Query] = {"cost.rate": rate, "cost.outage_12h": outage, "cost.rehearsal": rehearsal}
