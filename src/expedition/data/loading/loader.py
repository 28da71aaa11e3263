"""The loader: step → batch, as a function of the recorded segments and the step alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from expedition.data.loading.assign import CostWeights, assign
from expedition.data.loading.batch import Batch, Row, collate, filler
from expedition.data.loading.cache import BytesBounded, ShardReader
from expedition.data.loading.expand import ExpandedDocument, expand_document
from expedition.data.loading.mixture import Mixture
from expedition.data.loading.order import SegmentOrder
from expedition.data.loading.packing import Piece
from expedition.data.loading.prefetch import ahead, ahead_in_processes
from expedition.data.loading.segments import Segment, open_segments, run_plan, segment_of
from expedition.data.loading.version import OpenVersion, open_version
from expedition.data.records import KINDS
from expedition.errors import InputError
from expedition.plan.models import Programme
from expedition.workspace import Workspace
from expedition.workspace.hashes import sha256_json

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class LoadingConfig:
    """How data is fetched. Nothing here changes what a step trains on, except `costs`, which moves it between ranks."""

    decoded_bytes: int = 256 << 20
    """Memory for decoded documents that are kept."""
    whole_shards: bool = True
    """Make whole shards local at their first read; False: one ranged read a document."""
    costs: CostWeights = CostWeights()
    """Work by which ranks are balanced."""
    ask_ledger: bool = True
    """Refuse data whose sources have no approval in force."""
    prefetch_batches: int = 2
    """Batches made ahead of their use."""
    workers: int = 1
    """Threads that make them."""
    processes: int = 0
    """Processes that make them instead, each with a loader of its own; 0: threads."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One packed sequence of the run: where it comes from and what it holds."""

    index: int
    segment: int
    version: str
    kind: str
    epoch: int
    sequence: int
    pieces: tuple[Piece, ...]
    document_ids: tuple[str, ...]
    tokens: int
    patches: int
    mel_frames: int


@dataclass(frozen=True, slots=True)
class _OpenSegment:
    version: OpenVersion
    order: SegmentOrder
    first: dict[str, int]


class Loader:
    """Batches of one run. Every method is a pure function of the segments on record when it was opened, and of its
    arguments; safe for many threads. Resume is a step number: there is no state to save.

    Raises at opening: InputError for missing data; at first use of a segment also for data that is not what was
    recorded, and ComplianceRefused for sources without an approval in force.
    """

    def __init__(self, ws: Workspace, programme: Programme, run: str, config: LoadingConfig | None = None) -> None:
        self.run = run
        self.plan = run_plan(programme, run)
        self.config = config or LoadingConfig()
        self.segments: list[Segment] = open_segments(ws, programme, run)
        self.shards = ShardReader(ws.store, whole_shards=self.config.whole_shards)
        self._ws = ws
        self._programme = programme
        self._rule = programme.media
        self._sequence_tokens = self.plan.sequence_length
        self._open: dict[int, _OpenSegment] = {}
        self._decoded: BytesBounded[ExpandedDocument] = BytesBounded(self.config.decoded_bytes)

    @property
    def fingerprint(self) -> str:
        """Hash over all segments, the sequence length and the media rule.

        Left out: batch sizes, ranks and workers: they decide which indices a step or rank takes, not what an index is.
        """
        return self._fingerprint(self.segments)

    def fingerprint_at(self, step: int) -> str:
        """Hash over what the steps before `step` came from; stays the same when later segments are added.

        A checkpoint keeps it; `require_same` compares it at resume.
        """
        end = self.plan.sequences_before(step)
        return self._fingerprint([segment for segment in self.segments if segment.first_index < max(end, 1)])

    def require_same(self, step: int, fingerprint: str) -> None:
        """Raise InputError unless the steps before `step` are those that `fingerprint` was taken of."""
        if self.fingerprint_at(step) != fingerprint:
            raise InputError(
                f"the data of run {self.run!r} before step {step} is not what the checkpoint was trained on",
                where=f"runs/{self.run}/segments.json",
                fix="restore segments.json, sequence_length and media as they were, or start another run",
            )

    def global_batch_ids(self, step: int) -> npt.NDArray[np.int64]:
        """Global indices [B] of the sequences of `step` (≥ 0), whatever the number of ranks."""
        if step < 0:
            raise ValueError(f"step {step} is negative")
        first = self.plan.sequences_before(step)
        return np.arange(first, first + self.plan.batch_sequences_at(step), dtype=np.int64)

    def sample(self, index: int) -> Sample:
        """What global index `index` is."""
        number, opened, kind, epoch, sequence = self._locate(index)
        pack = opened.version.pack
        pieces = tuple(pack.members(sequence))
        return Sample(
            index=index,
            segment=number,
            version=self.segments[number].version,
            kind=kind,
            epoch=epoch,
            sequence=sequence,
            pieces=pieces,
            document_ids=tuple(opened.version.index.ids[piece.document] for piece in pieces),
            tokens=int(pack.tokens[sequence]),
            patches=int(pack.patches[sequence]),
            mel_frames=int(pack.mel_frames[sequence]),
        )

    def batch(self, step: int) -> Batch:
        """The global batch of `step`: B rows of `sequence_length` positions."""
        return self._collate([self._row(int(index)) for index in self.global_batch_ids(step)], step)

    def rank_batch(self, step: int, rank: int, world: int, micro_batches: int | None = None) -> list[Batch]:
        """The micro-batches of `rank` of `world` data ranks; the plan's number of them, or `micro_batches`.

        Over all ranks and micro-batches the rows are those of `batch(step)`, each once; a part that would be empty is
        one row of padding with sample id -1.
        """
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is not below world {world}")
        indices = self.global_batch_ids(step)
        parts = assign(self.costs(step), world, micro_batches or self.plan.micro_batches)[rank]
        rows = [[self._row(int(indices[position])) for position in part] for part in parts]
        return [self._collate(part or filler(1), step) for part in rows]

    def costs(self, step: int) -> npt.NDArray[np.float64]:
        """Cost [B] of each sequence of `step`, from the pack plan alone (nothing is read or decoded)."""
        sizes = np.empty((3, self.plan.batch_sequences_at(step)), dtype=np.int64)
        for position, index in enumerate(self.global_batch_ids(step).tolist()):
            _, opened, _, _, sequence = self._locate(index)
            pack = opened.version.pack
            sizes[:, position] = pack.tokens[sequence], pack.patches[sequence], pack.mel_frames[sequence]
        return self.config.costs.cost(*sizes)

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """`batch(start)` … `batch(stop - 1)` in order, made ahead in the background."""
        return self._ahead(Loader.batch, range(start, stop))

    def rank_batches(
        self, start: int, stop: int, rank: int, world: int, micro_batches: int | None = None
    ) -> Iterator[list[Batch]]:
        """`rank_batch` for steps start … stop - 1 in order, made ahead in the background."""
        method = partial(Loader.rank_batch, rank=rank, world=world, micro_batches=micro_batches)
        return self._ahead(method, range(start, stop))

    def epochs(self, step: int) -> dict[str, float]:
        """Passes over each kind within the segment of `step`, up to its first sequence."""
        index = self.plan.sequences_before(step)
        number = segment_of(self.segments, index)
        return self._segment(number).order.epochs(index - self.segments[number].first_index)

    def statistics(self) -> dict[str, Any]:
        """Counters since opening: reads of shards, decoded documents found in memory, packing by segment."""
        return {
            "shards": {**asdict(self.shards.counts), "hit_rate": self.shards.counts.hit_rate},
            "decoded": {"hits": self._decoded.hits, "misses": self._decoded.misses},
            "packing": {
                str(number): {kind: asdict(counts) for kind, counts in opened.version.pack.counts.items()}
                for number, opened in sorted(self._open.items())
            },
        }

    def _ahead(self, method: Callable[..., Made], steps: range) -> Iterator[Made]:
        depth, processes = self.config.prefetch_batches, self.config.processes
        if processes < 1:
            return ahead(partial(method, self), steps, depth, self.config.workers)
        start = partial(_worker, self._ws.place, self._programme, self.run, self.config, method)
        return ahead_in_processes(start, steps, depth, processes)

    def _fingerprint(self, segments: list[Segment]) -> str:
        parts = {
            "segments": [segment.fingerprint for segment in segments],
            "sequence_tokens": self._sequence_tokens,
            "media": self._rule.model_dump(),
        }
        return sha256_json(parts)

    def _locate(self, index: int) -> tuple[int, _OpenSegment, str, int, int]:
        number = segment_of(self.segments, index)
        self._require_planned(number, index)
        opened = self._segment(number)
        place = opened.order.locate(index - self.segments[number].first_index)
        return number, opened, place.kind, place.epoch, opened.first[place.kind] + place.sequence

    def _require_planned(self, number: int, index: int) -> None:
        """The programme's next version must be on record before its first sequence is trained on."""
        recorded = {segment.version for segment in self.segments}
        for planned in self.plan.segments:
            first_index = self.plan.sequences_before(planned.from_step)
            if self.segments[number].first_index < first_index <= index and planned.version not in recorded:
                raise InputError(
                    f"the programme joins {self.plan.dataset} {planned.version} at step {planned.from_step}, "
                    "and it was not there when the loader was opened",
                    where=f"runs.{self.run}.segments",
                    fix=f"build it and start the run again: expedition data build --version {planned.version}",
                )

    def _segment(self, number: int) -> _OpenSegment:
        found = self._open.get(number)
        if found is None:
            found = self._open[number] = self._open_segment(self.segments[number])
        return found

    def _open_segment(self, segment: Segment) -> _OpenSegment:
        version = open_version(
            self._ws, segment, self._sequence_tokens, self._rule, self.shards, ask_ledger=self.config.ask_ledger
        )
        there = version.pack.kinds()
        kinds = [kind for kind in there if segment.mix.get(kind, 0) > 0]
        if not kinds:
            raise InputError(
                f"{segment.dataset} {segment.version} has no sequence of a kind that the mix asks for",
                where=f"runs/{self.run}/segments.json",
                fix=f"the mix asks for {', '.join(sorted(segment.mix))}; the data has {', '.join(there)}",
            )
        mixture = Mixture.from_weights({kind: segment.mix[kind] for kind in kinds})
        sizes = {kind: version.pack.sizes(kind) for kind in kinds}
        order = SegmentOrder(mixture, sizes, segment.window_shards, segment.seed)
        return _OpenSegment(version, order, {kind: version.pack.first(kind) for kind in kinds})

    def _row(self, index: int) -> Row:
        number, opened, kind, _, sequence = self._locate(index)
        pieces = opened.version.pack.members(sequence)
        documents = tuple(self._document(number, opened.version, piece) for piece in pieces)
        return Row(documents, (KINDS.index(kind),) * len(documents), index)

    def _document(self, number: int, version: OpenVersion, piece: Piece) -> ExpandedDocument:
        key = (number, piece.document, piece.start)
        found = self._decoded.get(key)
        if found is None:
            stored = version.reader.tokens(piece.document)[piece.start : piece.end]
            media = version.reader.media(piece.document)
            found = expand_document(stored, media, version.ids, self._rule)
            if len(found.tokens) != piece.tokens:
                raise InputError(
                    f"document {version.index.ids[piece.document]} has {len(found.tokens)} tokens, "
                    f"the pack plan says {piece.tokens}",
                    fix="delete data/…/index/pack-*.npz; it is made again",
                )
            self._decoded.put(key, found, found.nbytes)
        return found

    def _collate(self, rows: list[Row], step: int) -> Batch:
        number = segment_of(self.segments, self.plan.sequences_before(step))
        pad_token = self._segment(number).version.ids.endoftext
        return collate(rows, self._sequence_tokens, self._rule, pad_token)


def _worker(
    place: str, programme: Programme, run: str, config: LoadingConfig, method: Callable[..., Made]
) -> Callable[[int], Made]:
    """`method` of a loader that is opened in this process."""
    return partial(method, Loader(Workspace.open(place), programme, run, config))
