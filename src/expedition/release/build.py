"""`release build`: the last intact checkpoint becomes `release/<version>/`, signed, checked against transformers' class.

Everything is made in scratch space, then uploaded; the manifest comes after the files and the signature after the
manifest, so that a folder without `model.sig` is no release. A kill at any point and the same command gives the same
bytes, signature excepted.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import expedition
from expedition.data.tokenizer import Tokenizer
from expedition.errors import CheckFailed, InputError, UsageError
from expedition.evaluate.backends.native import Native
from expedition.evaluate.subject import data_folder, find_checkpoint, run_tokenizer
from expedition.plan.load import dump_programme
from expedition.plan.models import Programme
from expedition.plan.runs import RunPlan
from expedition.release.card import model_card
from expedition.release.contents import MANIFEST, SIGNATURE, write_manifest
from expedition.release.evidence import Evidence, gather, read_versions
from expedition.release.kit import write_kit
from expedition.release.parity import Parity, check_parity
from expedition.release.reproduction import Measurer, Reproduction, choose_reproduction, sample_picture
from expedition.release.sign import sign_folder, signing_key, verify_release
from expedition.release.technical_report import technical_report
from expedition.release.weights import write_weights
from expedition.train import load_model, verify
from expedition.train.checkpoint import CheckpointInfo
from expedition.train.setup import find_run
from expedition.workspace import Lease, Workspace, layout
from expedition.workspace.hashes import sha256_bytes, sha256_file, sha256_json

SCHEMA = "release.report/1"
REPORT = layout.report("release")
STEPS = ("weights", "kit", "documents", "transformers", "signature", "upload")

Progress = Callable[[int, int, str], None]
"""Called with (done, all, what)."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What one build works with."""

    ws: Workspace
    programme: Programme
    plan: RunPlan
    info: CheckpointInfo
    evidence: Evidence
    data_dir: Path | None
    request: str
    """Hash of everything that decides the release's bytes."""

    @property
    def version(self) -> str:
        return self.programme.release.version

    @property
    def place(self) -> str:
        """Workspace key of the release."""
        return layout.release(self.version)


def build_release(
    ws: Workspace,
    programme: Programme,
    run: str = "main",
    checkpoint: str | None = None,
    data_dir: Path | str | None = None,
    progress: Progress | None = None,
    *,
    key: Path | None = None,
) -> dict[str, Any]:
    """Build and sign the release of a checkpoint (the newest intact one for None); returns reports/release.json.

    Blocking and idempotent: a whole release of the same checkpoint, programme and evidence is left as it is. `key`
    signs instead of the voyage's own key. Raises UsageError for an unknown run or checkpoint, or where this version is
    released with other weights; InputError for damaged files; CheckFailed where transformers' logits differ.
    """
    plan = find_run(programme, run)
    info = find_checkpoint(ws, run, checkpoint)
    if (problem := verify(ws, info)) is not None:
        raise InputError(problem, where=info.folder, fix="name another checkpoint: --checkpoint NAME")
    torch.set_num_threads(plan.threads)
    with ws.lease(layout.release(programme.release.version)) as lease:
        folder = data_folder(ws, data_dir)
        evidence = gather(ws, programme, plan, info)
        work = _Work(ws, programme, plan, info, evidence, folder, _request(programme, info, evidence, folder))
        found = _released(work)
        return found if found is not None else _build(work, lease, key, progress)


def _request(programme: Programme, info: CheckpointInfo, evidence: Evidence, folder: Path | None) -> str:
    items = None if folder is None else folder / "eval" / programme.release.metric / "items.jsonl"
    return sha256_json(
        {
            "checkpoint": info.manifest_sha256,
            "programme": _programme_hash(programme),
            "evidence": evidence.hashes,
            "ledger": evidence.ledger[-1].hash if evidence.ledger else None,
            "items": sha256_file(items) if items is not None and items.is_file() else None,
            "code": expedition.__version__,
        }
    )


def _programme_hash(programme: Programme) -> str:
    return sha256_bytes(dump_programme(programme).encode())


def _released(work: _Work) -> dict[str, Any] | None:
    """The report of a whole release of this request. Raises UsageError if the version holds other weights."""
    store, manifest_key = work.ws.store, f"{work.place}/{MANIFEST}"
    if not (store.exists(f"{work.place}/{SIGNATURE}") and store.exists(manifest_key)):
        return None
    manifest = work.ws.read_json(manifest_key)
    if manifest.get("weights_sha256") != work.info.weights_sha256:
        raise UsageError(
            f"{work.version} is released already, as {manifest.get('checkpoint')}: a release never changes",
            where=work.place,
            fix="release under the next version: --set release.version=v1.1",
        )
    if manifest.get("request") != work.request or not store.exists(REPORT):
        return None
    report = work.ws.read_json(REPORT)
    whole = all(
        store.exists(f"{work.place}/{file['path']}") and work.ws.hash(f"{work.place}/{file['path']}") == file["sha256"]
        for file in manifest["files"]
    )
    return report if whole and report.get("manifest_sha256") == work.ws.hash(manifest_key) else None


def _build(work: _Work, lease: Lease, key: Path | None, progress: Progress | None) -> dict[str, Any]:
    def tell(step: str, what: str) -> None:
        if progress is not None:
            progress(STEPS.index(step) + 1, len(STEPS), f"{step}: {what}")

    private_key = signing_key(work.ws, key)
    folder = work.ws.scratch("release") / work.version
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer = run_tokenizer(work.ws, work.plan)
    write_weights(work.ws, work.programme, work.plan, work.info, work.evidence.config, folder)
    tell("weights", f"{work.info.name}, {work.evidence.counts.total:,} parameters")
    backend = Native(load_model(work.ws, work.info.run, work.info.name).eval(), work.programme.media)
    kit, metric = _kit(work, folder, backend, tokenizer)
    tell("kit", "no number to reproduce" if metric is None else f"{metric.name} {metric.published:.4f}")
    card = model_card(work.evidence)
    (folder / "README.md").write_text(card.text, "utf-8")
    report = technical_report(work.evidence)
    _write_report(folder, report.text, report.figures)
    tell("documents", f"{sum(card.complete.values())} of {len(card.complete)} sections of the card are complete")
    parity = check_parity(folder, backend.model, tokenizer, work.programme.media)
    tell("transformers", parity.problem or f"logits differ by at most {parity.logits_max_difference:.1e}")
    manifest = _manifest(work, folder)
    public_sha256 = sign_folder(folder, private_key)
    verify_release(folder)
    tell("signature", f"{len(manifest['files'])} files, public key {public_sha256[:16]}")
    summary = {
        **_facts(work, manifest, parity),
        "manifest_sha256": sha256_file(folder / MANIFEST),
        "public_key_sha256": public_sha256,
        "model_card": card.complete,
        "kit": kit,
        "technical_report": report.complete,
        "metric": None if metric is None else metric.metric_json(),
    }
    if parity.loads_without_custom_code is not None and not parity.equal:
        work.ws.write_json(REPORT, {**summary, "verified": False}, schema=SCHEMA)
        raise CheckFailed(_unequal(parity), where=work.place, fix="nothing was released; compare the export's config")
    _upload(work, folder, lease)
    work.ws.events("release").append(
        "release.published",
        version=work.version,
        checkpoint=work.info.name,
        manifest_sha256=summary["manifest_sha256"],
        public_key_sha256=public_sha256,
    )
    work.ws.write_json(REPORT, summary, schema=SCHEMA)
    tell("upload", work.place)
    return work.ws.read_json(REPORT)


def _kit(
    work: _Work, folder: Path, backend: Native, tokenizer: Tokenizer
) -> tuple[dict[str, bool], Reproduction | None]:
    version = read_versions(work.ws, work.info.run, work.plan)[-1]
    measurer = Measurer(work.ws, work.programme, backend, tokenizer)
    metric = choose_reproduction(measurer, work.data_dir, version)
    return write_kit(folder, work.programme, metric, sample_picture(work.ws, version)), metric


def _write_report(folder: Path, text: str, figures: dict[str, str]) -> None:
    (folder / "technical_report.md").write_text(text, "utf-8")
    for path, figure in figures.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(figure, "utf-8")


def _manifest(work: _Work, folder: Path) -> dict[str, Any]:
    return write_manifest(
        folder,
        {
            "name": work.programme.release.name,
            "version": work.version,
            "run": work.info.run,
            "checkpoint": work.info.name,
            "checkpoint_manifest_sha256": work.info.manifest_sha256,
            "weights_sha256": work.info.weights_sha256,
            "step": work.info.step,
            "tokens": work.info.tokens,
            "programme_hash": _programme_hash(work.programme),
            "datasets": {item.version: item.manifest.get("content_hash") for item in work.evidence.datasets},
            "evidence": work.evidence.hashes,
            "code_version": expedition.__version__,
            "request": work.request,
        },
    )


def _facts(work: _Work, manifest: dict[str, Any], parity: Parity) -> dict[str, Any]:
    conditions = [] if torch.cuda.is_available() else ["cpu"]
    if parity.problem is not None:
        conditions.append(parity.problem)
    if any(entry is not None and entry.scope == "rehearsal" for entry in work.evidence.approvals.values()):
        conditions.append("data approved for rehearsal only")
    return {
        "version": work.version,
        "run": work.info.run,
        "checkpoint": work.info.name,
        "folder": work.place,
        "files": len(manifest["files"]),
        "bytes": sum(file["bytes"] for file in manifest["files"]),
        "content_hash": manifest["content_hash"],
        "verified": parity.equal or parity.loads_without_custom_code is None,
        "loads_without_custom_code": parity.loads_without_custom_code,
        "logits_max_difference": parity.logits_max_difference,
        "logits_bound": parity.logits_bound,
        "logits_modalities": list(parity.modalities),
        "conditions": conditions,
    }


def _unequal(parity: Parity) -> str:
    if not parity.loads_without_custom_code:
        return f"transformers' own class does not load it: {parity.problem}"
    return f"transformers' logits differ by {parity.logits_max_difference:.3g}, allowed are {parity.logits_bound:.3g}"


def _upload(work: _Work, folder: Path, lease: Lease) -> None:
    """Signature and manifest away first, then files, manifest, signature: no moment shows a wrong whole."""
    store = work.ws.store
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    lease.check()
    for name in (SIGNATURE, MANIFEST):
        store.delete(f"{work.place}/{name}")
    for key in list(store.list(work.place)):
        if key.removeprefix(f"{work.place}/") not in names:
            store.delete(key)
    ordered = [name for name in names if name not in (MANIFEST, SIGNATURE)]
    for name in (*ordered, MANIFEST, SIGNATURE):
        if name in (MANIFEST, SIGNATURE):
            lease.check()
        store.upload(f"{work.place}/{name}", folder / name)
    shutil.rmtree(folder, ignore_errors=True)
