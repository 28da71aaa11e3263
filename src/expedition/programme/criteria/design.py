"""Design freeze: the document, its reviews, the mix."""

from __future__ import annotations

from expedition.programme.evidence import Measured, NoEvidence, Query, Reader
from expedition.programme.reviews import REVIEW_SIGNED
from expedition.workspace import layout

SECTIONS = ("mix", "tokenizer", "shapes", "parallel", "fp8")


def document(reader: Reader) -> Measured:
    sections = reader.field(layout.report("design"), "sections")
    reader.file_hash(layout.report_page("design"))
    missing = [name for name in SECTIONS if not sections.get(name)]
    return Measured(not missing, f"missing: {', '.join(missing)}" if missing else f"{len(SECTIONS)} sections")


def reviewed(name: str) -> Query:
    """All named reviewers have signed the document as it is now, without a major objection."""

    def query(reader: Reader) -> Measured:
        now = reader.file_hash(layout.report_page(name))
        latest = {
            event.fields["reviewer"]: event.fields
            for event in reader.events(REVIEW_SIGNED)
            if event.fields["document"] == name and event.fields["sha256"] == now
        }
        needed = reader.programme.schedule.reviewers
        major = [who for who, review in latest.items() if review["objections"] == "major"]
        if major:
            return Measured(False, f"major objection of {', '.join(major)}")
        open_reviews = [who for who in needed if who not in latest]
        if open_reviews:
            raise NoEvidence(f"not signed by {', '.join(open_reviews)}: expedition programme sign NAME")
        return Measured(True, f"signed by {len(needed)}")

    return query


def mix_total(reader: Reader) -> Measured:
    mix = reader.programme.data.mix
    reader.file_hash(layout.PROGRAMME)
    return Measured(sum(share.tokens for share in mix.shares), f"mix {mix.version}, {len(mix.shares)} lines")


QUERIES: dict[str, Query] = {
    "design.document": document,
    "design.review": reviewed("design"),
    "design.mix_total": mix_total,
    "launch.manual_reviewed": reviewed("launch-manual"),
}
