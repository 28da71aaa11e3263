"""Held-out documents are read only under an approval in force, as training data is."""

from __future__ import annotations

from pathlib import Path

from expedition.data.compliance import Statement, append
from expedition.evaluate.perplexity import heldout_left_out, heldout_perplexity
from expedition.evaluate.runner import measure, request_of
from expedition.evaluate.subject import open_subject
from tests.data.loading.made_version import generated, write_version
from tests.evaluate.world import programme, write_workspace


def test_a_revoked_source_is_left_out_of_perplexity(tmp_path: Path) -> None:
    ws = write_workspace(tmp_path / "ws", seeds=(1,))
    approved = {
        kind: append(ws, Statement("approve", f"sample-{kind}", "Ada", "own data", document="d")).id
        for kind in ("web", "code")
    }
    sources = [{"name": f"sample-{kind}", "approval_id": number} for kind, number in approved.items()]
    made = [item for item in generated(1) if item.kind in approved]
    write_version(ws, "v0.1", made, dataset="heldout", sources=sources)
    subject = open_subject(ws, programme(), "main")
    before = heldout_perplexity(subject, 4)
    assert set(before) == {"web", "code"}
    assert not heldout_left_out(ws, subject.plan)

    append(ws, Statement("revoke", "sample-code", "Ada", "the owner asked"))
    after = heldout_perplexity(subject, 4)
    assert set(after) == {"web"}
    assert after["web"]["value"] == before["web"]["value"]
    assert after["web"]["source"].endswith("without sample-code")
    left_out = heldout_left_out(ws, subject.plan)
    assert "revoked" in left_out["sample-code"]
    assert "held-out sample-code is not read: no approval in force" in measure(subject, []).results["conditions"]
    assert request_of(programme(), "w", [], None, left_out) != request_of(programme(), "w", [], None, ())


def test_held_out_data_of_unknown_approval_is_not_read(tmp_path: Path) -> None:
    ws = write_workspace(tmp_path / "ws", seeds=(1,))
    made = [item for item in generated(1) if item.kind == "web"]
    write_version(ws, "v0.1", made, dataset="heldout", sources=[{"name": "sample-web", "approval_id": "L000009"}])
    assert heldout_perplexity(open_subject(ws, programme(), "main"), 4) == {}
