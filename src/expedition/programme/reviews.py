"""Reviews: who signed which document, in which state of it, with which objections. Only a person signs."""

from __future__ import annotations

from typing import Literal

from expedition.errors import UsageError
from expedition.plan.models import Programme
from expedition.workspace import Workspace, layout

Objections = Literal["none", "minor", "major"]
DOCUMENTS = ("design", "launch-manual")
REVIEW_SIGNED = "review.signed"


def sign(
    ws: Workspace, programme: Programme, reviewer: str, document: str, who: str, objections: Objections = "none"
) -> dict[str, str]:
    """Record a review of `document` as it is now. A later change of the document ends the signature.

    Raises UsageError for an unknown reviewer or document, or a document that does not exist yet.
    """
    if document not in DOCUMENTS:
        raise UsageError(f"no document {document!r}", fix=f"documents: {', '.join(DOCUMENTS)}")
    if reviewer not in programme.schedule.reviewers:
        raise UsageError(
            f"{reviewer!r} is no reviewer of this programme",
            fix=f"reviewers: {', '.join(programme.schedule.reviewers)}",
        )
    if objections not in ("none", "minor", "major"):
        raise UsageError(f"objections are none, minor or major, not {objections!r}")
    page = layout.report_page(document)
    if not ws.store.exists(page):
        raise UsageError("there is nothing to sign yet", where=page, fix=f"expedition programme document {document}")
    digest = ws.hash(page)
    ws.events("programme").append(
        REVIEW_SIGNED, document=document, reviewer=reviewer, who=who, objections=objections, sha256=digest
    )
    return {"document": document, "reviewer": reviewer, "who": who, "objections": objections, "sha256": digest}


def freeze_approval(ws: Workspace, who: str, why: str, change: str) -> dict[str, str]:
    """Approve one change to the main run while it is frozen."""
    if not why.strip():
        raise UsageError("an approval needs its reason", fix="--why 'text'")
    ws.events("programme").append("change.approved", change=change, who=who, why=why)
    return {"change": change, "who": who, "why": why}
