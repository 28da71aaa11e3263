"""The cap on what is synthetic in a version: the smallest ids stay, as under any other cap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from expedition.data.compliance import Caps
from expedition.data.engine import Limits, Task, map_shards
from expedition.data.versions.assemble import Cut, Prepared
from expedition.data.versions.caps import Measure, cut_of, measured_tokens
from expedition.errors import CheckFailed


def hold_share(
    prepared: Sequence[Prepared],
    kinds: Mapping[str, str],
    share: float,
    workdir: Path,
    limits: Limits,
    tokenizer_folder: Path,
) -> list[Prepared]:
    """`prepared` with synthetic sources cut to `share` of the version's tokens. Blocking, restartable, deterministic.

    `kinds` gives the kind of each source. Each synthetic source is cut in proportion to its tokens. Where nothing but
    synthetic sources is there, nothing of them would fit: raises CheckFailed.
    """
    mine = {name for name, kind in kinds.items() if kind == "synthetic"}
    if not mine.intersection(item.source for item in prepared):
        return list(prepared)
    tasks = [Task(item.key, item) for item in prepared]
    outcomes = map_shards(Measure(tokenizer_folder), tasks, workdir, limits)
    folders: dict[str, list[Path]] = {}
    for item, outcome in zip(prepared, outcomes, strict=True):
        if outcome.quarantined is not None:
            raise CheckFailed(f"measuring {outcome.key} failed: {outcome.quarantined}", where=str(outcome.folder))
        folders.setdefault(item.source, []).append(outcome.folder)
    tokens = {source: measured_tokens(found) for source, found in folders.items()}
    others = sum(count for source, count in tokens.items() if source not in mine)
    made = sum(count for source, count in tokens.items() if source in mine)
    allowed = allowed_tokens(others, share)
    if made <= allowed:
        return list(prepared)
    if allowed == 0 and share < 1:
        raise CheckFailed(
            f"every token is synthetic and at most {share:.3g} of a version may be",
            where="data.mix.max_synthetic_share",
            fix="add sources of other kinds, or raise the cap",
        )
    told = f"synthetic share: {made} of {made + others} tokens were synthetic, at most {share:.3g} may be"
    cuts: dict[str, Cut] = {}
    for source in sorted(mine & tokens.keys()):
        cut = cut_of(folders[source], Caps(tokens=int(allowed * tokens[source] / made)))
        if cut is not None:
            cuts[source] = Cut(cut.id, told)
    return [_cut(item, cuts.get(item.source)) for item in prepared]


def allowed_tokens(others: int, share: float) -> int:
    """Tokens that may be synthetic beside `others` that are not, so that they are at most `share` of all. Pure."""
    return int(others * share / (1 - share)) if share < 1 else 2**62


def _cut(item: Prepared, cut: Cut | None) -> Prepared:
    """The earlier of two cuts holds."""
    if cut is None or (item.cut is not None and item.cut.id <= cut.id):
        return item
    return replace(item, cut=cut)
