"""Planted things against what a build did. Each kind of truth has one judge, a pure function."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from expedition.data.quality.copies import is_copy
from expedition.data.quality.figures import Tally, ratio
from expedition.data.quality.seen import Gone, Kept, Seen, item_names

Entry = Mapping[str, Any]

DECODE_STAGES: Final = frozenset({"decode", "acquire", "read", "source", "sources", "quarantine"})
COMPLIANCE_STAGES: Final = frozenset({"compliance", "ledger", "approval"})
_PLACEHOLDER: Final = re.compile(r"<([A-Z][A-Z0-9_]{2,40})>")
_PII_TYPES: Final = {
    "email": "EMAIL_ADDRESS",
    "phone": "PHONE_NUMBER",
    "cn_mobile": "PHONE_NUMBER",
    "cn_id": "ID_CARD",
    "card": "CREDIT_CARD",
    "ip": "IP_ADDRESS",
    "ssn": "US_SSN",
    "iban": "IBAN_CODE",
    "wechat": "WECHAT_ID",
}
_KNOWN_PLACEHOLDERS: Final = frozenset(_PII_TYPES.values()) | {
    "PASSPORT",
    "QQ_NUMBER",
    "LICENSE_PLATE",
    "STREET_ADDRESS",
}


def compare_with_truth(truth: Iterable[Entry], seen: Seen, data_dir: Path | None = None) -> dict[str, Any]:
    """Recall and precision of each detector over planted things; None for kinds of which nothing is planted.

    `data_dir` lets ids of JSON lines be found by line. Entries that a build could not judge, because an earlier stage
    removed the document for another reason, are left out of the denominator and counted as `not_judged`.
    """
    by_kind: dict[str, list[Entry]] = defaultdict(list)
    for entry in truth:
        by_kind[str(entry["kind"])].append(entry)
    report: dict[str, Any] = {}
    for name, (kinds, judge) in _JUDGES.items():
        entries = [entry for kind in kinds for entry in by_kind.get(kind, [])]
        report[name] = judge(entries, seen, data_dir) if entries else None
    return report


def _kept(entry: Entry, seen: Seen, data_dir: Path | None) -> list[Kept]:
    for name in item_names(str(entry["path"]), entry.get("item"), data_dir):
        if name in seen.kept_by_name:
            return seen.kept_by_name[name]
    return []


def _gone(entry: Entry, seen: Seen, data_dir: Path | None) -> list[Gone]:
    found: list[Gone] = []
    for name in item_names(str(entry["path"]), entry.get("item"), data_dir):
        found += [row for row in seen.gone_by_name.get(name, []) if row not in found]
    return found


def _dropped_by(holds: Callable[[Gone], bool]) -> Callable[[Sequence[Entry], Seen, Path | None], dict[str, Any]]:
    """A judge for things that one kind of stage must drop."""

    def judge(entries: Sequence[Entry], seen: Seen, data_dir: Path | None) -> dict[str, Any]:
        tally, not_judged = Tally(), 0
        right: set[int] = set()
        for entry in entries:
            gone = _gone(entry, seen, data_dir)
            mine = [row for row in gone if holds(row)]
            if not mine and gone and not _kept(entry, seen, data_dir):
                not_judged += 1
                continue
            tally.planted += 1
            tally.recalled += bool(mine)
            right |= {id(row) for row in mine}
        tally.found = sum(1 for row in seen.gone if holds(row))
        tally.right = len(right)
        return {**tally.figures(), "not_judged": not_judged}

    return judge


def _duplicates(reason: str) -> Callable[[Sequence[Entry], Seen, Path | None], dict[str, Any]]:
    """A judge for pairs of copies: one of the two must be gone as a copy, of whatever document of its set.

    Generated text holds copies that nobody planted: a finding is right too if the raw file shows that it is one
    (`natural`).
    """

    def judge(entries: Sequence[Entry], seen: Seen, data_dir: Path | None) -> dict[str, Any]:
        tally, not_judged = Tally(), 0
        right: set[int] = set()
        for entry in entries:
            ends = [entry, {"kind": entry["kind"], **entry["of"]}]
            copies = [row for end in ends for row in _gone(end, seen, data_dir) if "duplicate" in row.reason]
            if not copies and not all(_kept(end, seen, data_dir) for end in ends):
                not_judged += 1
                continue
            tally.planted += 1
            tally.recalled += bool(copies)
            right |= {id(row) for row in copies}
        mine = [row for row in seen.gone if row.reason == reason]
        natural = sum(1 for row in mine if id(row) not in right and is_copy(row, seen, data_dir))
        tally.found = len(mine)
        tally.right = sum(1 for row in mine if id(row) in right) + natural
        return {**tally.figures(), "natural": natural, "not_judged": not_judged}

    return judge


def _corrupt(entries: Sequence[Entry], seen: Seen, data_dir: Path | None) -> dict[str, Any]:
    """A broken item must be refused by name; a broken tail of a container may be reported under the container's."""
    tally = Tally(planted=len(entries))
    right: set[int] = set()
    for entry in entries:
        whole = {"path": entry["path"], "item": None}
        gone = _gone(entry, seen, data_dir) or ([] if _kept(entry, seen, data_dir) else _gone(whole, seen, data_dir))
        mine = [row for row in gone if row.stage in DECODE_STAGES]
        tally.recalled += bool(mine)
        right |= {id(row) for row in mine}
    tally.found = sum(1 for row in seen.gone if row.stage in DECODE_STAGES)
    tally.right = len(right)
    return tally.figures()


def _pii(entries: Sequence[Entry], seen: Seen, data_dir: Path | None) -> dict[str, Any]:
    """A planted value must be gone from the stored text. A finding is a (document, type) placeholder in one."""
    tally, not_judged = Tally(), 0
    planted: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        kept = _kept(entry, seen, data_dir)
        if not kept:
            dropped = any(row.stage == "pii" for row in _gone(entry, seen, data_dir))
            tally.planted += dropped
            tally.recalled += dropped
            not_judged += not dropped
            continue
        if seen.text_of is None:
            not_judged += 1
            continue
        texts = [seen.text_of(row.id) for row in kept]
        tally.planted += 1
        tally.recalled += not any(str(entry["value"]) in text for text in texts)
        for row in kept:
            planted[row.id].add(_PII_TYPES.get(str(entry["type"]), str(entry["type"]).upper()))
    if seen.text_of is not None:
        for row in seen.kept:
            types = set(_PLACEHOLDER.findall(seen.text_of(row.id))) & _KNOWN_PLACEHOLDERS
            tally.found += len(types)
            tally.right += len(types & planted.get(row.id, set()))
    return {**tally.figures(), "not_judged": not_judged}


def _languages(entries: Sequence[Entry], seen: Seen, data_dir: Path | None) -> dict[str, Any]:
    """Accuracy over kept documents as recall, mean precision over languages as precision."""
    tally, not_judged = Tally(), 0
    named: dict[str, list[bool]] = defaultdict(list)
    wrong: dict[str, int] = defaultdict(int)
    for entry in entries:
        kept = _kept(entry, seen, data_dir)
        if not kept:
            not_judged += 1
            continue
        want, got = _primary(str(entry["language"])), _primary(kept[0].language or "und")
        tally.planted += 1
        tally.recalled += want == got
        named[got].append(want == got)
        if want != got:
            wrong[f"{want}→{got}"] += 1
    figures = tally.figures()
    precisions = [sum(hits) / len(hits) for hits in named.values()]
    figures["precision"] = ratio(sum(precisions), len(precisions))
    figures["found"] = tally.planted
    return {
        **figures,
        "not_judged": not_judged,
        "confused": dict(sorted(wrong.items(), key=lambda item: -item[1])[:20]),
    }


def _primary(tag: str) -> str:
    return tag.split("-")[0].lower()


def _unapproved(entries: Sequence[Entry], seen: Seen, data_dir: Path | None) -> dict[str, Any]:
    """Nothing of an unapproved source may be kept; a refusal is right if its source is among the planted ones."""
    sources = {str(entry["source"]) for entry in entries}
    tally = Tally(planted=len(entries))
    kept_sources = {row.source for row in seen.kept}
    tally.recalled = sum(
        1 for entry in entries if entry["source"] not in kept_sources and not _kept(entry, seen, data_dir)
    )
    refused = {row.source for row in seen.gone if row.stage in COMPLIANCE_STAGES}
    tally.found, tally.right = len(refused), len(refused & sources)
    return tally.figures()


def _is_misaligned(row: Gone) -> bool:
    return row.stage == "video_align" and row.reason.startswith("misaligned")


_JUDGES: Final[Mapping[str, tuple[tuple[str, ...], Callable[[Sequence[Entry], Seen, Path | None], dict[str, Any]]]]] = {
    "dedup": (("exact_duplicate",), _duplicates("exact duplicate")),
    "near_dedup": (("near_duplicate",), _duplicates("near duplicate")),
    "pii": (("pii",), _pii),
    "language": (("language",), _languages),
    "corrupt": (("corrupt",), _corrupt),
    "misaligned": (("misaligned",), _dropped_by(_is_misaligned)),
    "leak": (("leak",), _dropped_by(lambda row: row.stage == "decontaminate")),
    "unapproved": (("unapproved",), _unapproved),
    "toxicity": (("toxic",), _dropped_by(lambda row: row.stage == "toxicity")),
}
