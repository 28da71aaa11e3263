"""The loader: step → batch, as a function of the recorded segments and the step alone."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from expedition.data.loading.answers import TurnTokens, learn_answers
from expedition.data.loading.assign import CostWeights, assign
from expedition.data.loading.batch import Batch, Row, collate, filler
from expedition.data.loading.cache import BytesBounded, ShardReader
from expedition.data.loading.damage import DamagedDocument, DamageLog, Replacement, substitutes
from expedition.data.loading.expand import ExpandedDocument, expand_document
from expedition.data.loading.forecast import ShardForecast, ShardUse
from expedition.data.loading.mixture import Mixture
from expedition.data.loading.order import SegmentOrder
from expedition.data.loading.packing import Piece
from expedition.data.loading.pinned import pin_batch
from expedition.data.loading.prefetch import Waiting, ahead, ahead_in_processes
from expedition.data.loading.segments import Segment, open_segments, run_plan, segment_of
from expedition.data.loading.tier import default_tier
from expedition.data.loading.tokens import vocabulary_size
from expedition.data.loading.version import OpenVersion, open_version
from expedition.data.records import KINDS
from expedition.errors import InputError
from expedition.plan.models import Programme
from expedition.workspace import Workspace, layout
from expedition.workspace.hashes import sha256_json
from expedition.workspace.store import FolderStore, NotFound

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class LoadingConfig:
    """How data is fetched. Nothing here changes what a step trains on, except `costs`, which moves it between ranks."""

    decoded_bytes: int = 256 << 20
    """Memory for decoded documents that are kept."""
    whole_shards: bool = True
    """From an object store whole shards come through the cache on local disk; False: one ranged read a document."""
    cache_dir: str | None = None
    """Folder of that cache, shared by all processes of a machine; None: $EXPEDITION_CACHE, else the temporary folder."""
    cache_bytes: int | None = None
    """Its limit; None: 64 GiB, at most half of the free disk. 0: no cache, ranged reads."""
    cache_steps_ahead: int = 4
    """Shards that so many later steps read are brought into the cache in the background."""
    costs: CostWeights | None = None
    """Work by which ranks are balanced; None: that of the run's model."""
    ask_ledger: bool = True
    """Refuse data whose sources have no approval in force."""
    prefetch_batches: int = 2
    """Batches made ahead of their use."""
    workers: int = 1
    """Threads that make them."""
    processes: int = 0
    """Processes that make them instead, each with a loader of its own; 0: threads."""
    pin: bool = False
    """Put batches into page-locked memory where there is a CUDA device."""
    damaged_sequences: int = 64
    """Sequences with a document that does not decode are replaced up to this number in a process, then refused."""


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
    segment: Segment
    version: OpenVersion
    order: SegmentOrder
    first: dict[str, int]
    count: dict[str, int]
    vocabulary: int
    turns: TurnTokens | None
    """None: all tokens are learnt."""


class Loader:
    """Batches of one run. Every method is a pure function of the segments on record when it was opened, and of its
    arguments; safe for many threads. Resume is a step number: there is no state to save.

    Raises at opening: InputError for missing data; at first use of a segment also for data that is not what was
    recorded, and ComplianceRefused for sources without an approval in force.
    """

    def __init__(
        self,
        ws: Workspace,
        programme: Programme,
        run: str,
        config: LoadingConfig | None = None,
        segments: list[Segment] | None = None,
    ) -> None:
        """`segments` None: those on record, after recording what the programme plans. Others are read as given and
        never recorded: for measuring a version that no run has joined."""
        self.run = run
        self.plan = run_plan(programme, run)
        self.config = config or LoadingConfig()
        self.segments: list[Segment] = open_segments(ws, programme, run) if segments is None else segments
        self._follows_plan = segments is None
        self.shards = _shard_reader(ws, self.config)
        self.damage = DamageLog(ws, run, self.config.damaged_sequences)
        self.waiting = Waiting()
        self.costs_of = self.config.costs or CostWeights.of_shape(
            programme.models[self.plan.model], programme.data.tokenizer.padded_size
        )
        self._forecast = (
            ShardForecast(self.shard_uses, self.shards, self.config.cache_steps_ahead)
            if self.shards.tier is not None and self.config.cache_steps_ahead > 0
            else None
        )
        self._ws = ws
        self._programme = programme
        self._rule = programme.media
        self._sequence_tokens = self.plan.sequence_length
        self._open: dict[int, _OpenSegment] = {}
        self._decoded: BytesBounded[ExpandedDocument] = BytesBounded(self.config.decoded_bytes)

    @property
    def fingerprint(self) -> str:
        """Hash over all segments, the sequence length, the media rule and what is learnt.

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
        tokens, patches, mel_frames, _ = pack.costs([sequence])[:, 0].tolist()
        return Sample(
            index=index,
            segment=number,
            version=self.segments[number].version,
            kind=kind,
            epoch=epoch,
            sequence=sequence,
            pieces=pieces,
            document_ids=tuple(opened.version.index.ids[piece.document] for piece in pieces),
            tokens=tokens,
            patches=patches,
            mel_frames=mel_frames,
        )

    def pieces(self, index: int) -> tuple[OpenVersion, str, list[Piece]]:
        """The version, kind and pieces of the sequence at a global index."""
        _, opened, kind, _, sequence = self._locate(index)
        return opened.version, kind, opened.version.pack.members(sequence)

    def read_piece(self, index: int, piece: Piece) -> ExpandedDocument:
        """One piece of the sequence at `index` from its shard, decoded, whatever memory holds. Raises DamagedDocument."""
        return self._read(self._locate(index)[1], piece)

    def batch(self, step: int) -> Batch:
        """The global batch of `step`: B rows of `sequence_length` positions."""
        self._look_ahead(step)
        return self._collate([self._row(int(index)) for index in self.global_batch_ids(step)], step)

    def rank_batch(self, step: int, rank: int, world: int, micro_batches: int | None = None) -> list[Batch]:
        """The micro-batches of `rank` of `world` data ranks; the plan's number of them, or `micro_batches`.

        Over all ranks and micro-batches the rows are those of `batch(step)`, each once; a part that would be empty is
        one row of padding with sample id -1.
        """
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is not below world {world}")
        self._look_ahead(step)
        indices = self.global_batch_ids(step)
        parts = assign(self.costs(step), world, micro_batches or self.plan.micro_batches)[rank]
        rows = [[self._row(int(indices[position])) for position in part] for part in parts]
        return [self._collate(part or filler(1), step) for part in rows]

    def costs(self, step: int) -> npt.NDArray[np.float64]:
        """Cost [B] of each sequence of `step`, from the pack plan alone (nothing is read or decoded)."""
        opened, _, sequences = self._step_places(step)
        return self.costs_of.cost(*opened.version.pack.costs(sequences))

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """`batch(start)` … `batch(stop - 1)` in order, made ahead in the background."""
        return self._ahead(Loader.batch, range(start, stop))

    def rank_batches(
        self, start: int, stop: int, rank: int, world: int, micro_batches: int | None = None
    ) -> Generator[list[Batch], None, None]:
        """`rank_batch` for steps start … stop - 1 in order, made ahead in the background until it is closed."""
        method = partial(Loader.rank_batch, rank=rank, world=world, micro_batches=micro_batches)
        return self._ahead(method, range(start, stop))

    def account(self, stretches: Iterable[tuple[int, int]]) -> dict[str, Any]:
        """What the steps first … end - 1 of each stretch read, by kind and source, beside what the mix plans."""
        from expedition.data.loading.account import account

        return account(self, stretches)

    def epochs(self, step: int) -> dict[str, float]:
        """Passes over each kind within the segment of `step`, up to its first sequence."""
        index = self.plan.sequences_before(step)
        number = segment_of(self.segments, index)
        return self._segment(number).order.epochs(index - self.segments[number].first_index)

    def open_segment(self, number: int) -> tuple[OpenVersion, SegmentOrder]:
        """Data and order of a segment on record."""
        opened = self._segment(number)
        return opened.version, opened.order

    def statistics(self) -> dict[str, Any]:
        """Counters since opening: reads of shards and the cache, documents found in memory, packing by segment, damaged
        samples, and how long the consumer of `batches` or `rank_batches` waited.

        With `processes` the reads are those of the workers and are not counted here.
        """
        tier = self.shards.tier
        return {
            "shards": {**asdict(self.shards.counts), "hit_rate": self.shards.counts.hit_rate},
            "cache": None if tier is None else {**asdict(tier.counts), "limit_bytes": tier.limit_bytes},
            "decoded": {"hits": self._decoded.hits, "misses": self._decoded.misses},
            "packing": {
                str(number): {kind: asdict(counts) for kind, counts in opened.version.pack.counts.items()}
                for number, opened in sorted(self._open.items())
            },
            "replaced": [asdict(replacement) for replacement in self.damage.replacements],
            "starved_s": self.waiting.starved_s,
            "waiting": asdict(self.waiting),
        }

    def _ahead(self, method: Callable[..., Made], steps: range) -> Generator[Made, None, None]:
        depth, processes = self.config.prefetch_batches, self.config.processes
        if processes < 1:
            return ahead(partial(method, self), steps, depth, self.config.workers, self.waiting)
        start = partial(_worker, self._ws.place, self._programme, self.run, self.config, self.segments, method)
        return ahead_in_processes(start, steps, depth, processes, self.waiting)

    def _look_ahead(self, step: int) -> None:
        if self._forecast is not None:
            self._forecast.at(step)

    def shard_uses(self, step: int) -> Iterator[ShardUse]:
        """The shard of each sequence of a step: arithmetic alone, nothing is read."""
        opened, epochs, sequences = self._step_places(step)
        pack, shards, segment = opened.version.pack, opened.version.index.shards, opened.segment
        folder = layout.dataset(segment.version, segment.dataset)
        for epoch, sequence in zip(epochs.tolist(), sequences.tolist(), strict=True):
            shard, in_shard = pack.shard_of(sequence)
            yield ShardUse(f"{folder}/{shards[shard]}", epoch, in_shard)

    def _step_places(self, step: int) -> tuple[_OpenSegment, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Segment of a step (it holds all of it), and the epoch and sequence of each of its indices."""
        indices = self.global_batch_ids(step)
        number = segment_of(self.segments, int(indices[0]))
        self._require_planned(number, int(indices[-1]))
        opened = self._segment(number)
        places = opened.order.locate_many(indices - self.segments[number].first_index)
        first = np.asarray([opened.first[kind] for kind in opened.order.mixture.kinds], dtype=np.int64)
        return opened, places.epoch, first[places.kind] + places.sequence

    def _fingerprint(self, segments: list[Segment]) -> str:
        parts: dict[str, Any] = {
            "segments": [segment.fingerprint for segment in segments],
            "sequence_tokens": self._sequence_tokens,
            "media": self._rule.model_dump(),
        }
        if self.plan.learn != "all":
            parts["learn"] = self.plan.learn
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
        for planned in self.plan.segments if self._follows_plan else ():
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
        self._require_tokenizer(segment, version)
        self.shards.expect(layout.dataset(segment.version, segment.dataset), version.manifest)
        there = version.pack.kinds()
        kinds = [kind for kind in there if segment.mix.get(kind, 0) > 0]
        if not kinds:
            raise InputError(
                f"{segment.dataset} {segment.version} has no sequence of a kind that the mix asks for",
                where=f"runs/{self.run}/segments.json",
                fix=f"the mix asks for {', '.join(sorted(segment.mix))}; the data has {', '.join(there)}",
            )
        mixture = Mixture.from_weights({kind: segment.mix[kind] for kind in kinds})
        firsts = {kind: version.pack.firsts(kind) for kind in kinds}
        order = SegmentOrder(mixture, firsts, segment.window_shards, segment.seed)
        first = {kind: version.pack.first(kind) for kind in kinds}
        count = {kind: version.pack.count(kind) for kind in kinds}
        vocabulary = vocabulary_size(self._ws, segment.version, segment.dataset)
        turns = None
        if self.plan.learn == "answers":
            turns = TurnTokens.of_version(self._ws, segment.version, segment.dataset)
        return _OpenSegment(segment, version, order, first, count, vocabulary, turns)

    def _require_tokenizer(self, segment: Segment, version: OpenVersion) -> None:
        """Raise InputError where a version that joins later was tokenised otherwise: its ids are other texts."""
        began = self.segments[0]
        first = self._ws.read_json(layout.manifest(began.version, began.dataset)).get("tokenizer_fingerprint")
        if first != version.manifest.get("tokenizer_fingerprint"):
            raise InputError(
                f"{segment.dataset} {segment.version} has another tokenizer than {began.version}, "
                f"with which run {self.run!r} began",
                where=layout.manifest(segment.version, segment.dataset),
                fix=f"build it with the other's: expedition data build --version … --parent {began.version}",
            )

    def _row(self, index: int) -> Row:
        """The packed sequence at a global index; where it does not decode, the first substitute that does."""
        number, opened, kind, _, sequence = self._locate(index)
        try:
            return self._sequence(number, opened, kind, sequence, index)
        except DamagedDocument as damaged:
            seed = self.segments[number].seed
            for other in substitutes(sequence, opened.first[kind], opened.count[kind], seed, kind):
                try:
                    row = self._sequence(number, opened, kind, other, index)
                except DamagedDocument:
                    continue
                version = self.segments[number].version
                stand_in = Replacement(version, kind, sequence, damaged.document, damaged.what, other)
                self.damage.replaced(stand_in, index, number)
                return row
            raise

    def _sequence(self, number: int, opened: _OpenSegment, kind: str, sequence: int, index: int) -> Row:
        known = self.damage.error((number, sequence))
        if known is not None:
            raise known
        pieces = opened.version.pack.members(sequence)
        try:
            documents = tuple(self._document(number, opened, piece) for piece in pieces)
        except DamagedDocument as error:
            self.damage.note((number, sequence), error)
            raise
        return Row(documents, (KINDS.index(kind),) * len(documents), index)

    def _document(self, number: int, opened: _OpenSegment, piece: Piece) -> ExpandedDocument:
        key = (number, piece.document, piece.start)
        found = self._decoded.get(key)
        if found is None:
            try:
                found = self._read(opened, piece)
            except DamagedDocument:
                # The copy in the cache may have rotted since it was checked: then the store's is read once more.
                if not self.shards.reject(opened.version.reader.shard_key(piece.document)):
                    raise
                found = self._read(opened, piece)
            if len(found.tokens) != piece.tokens:
                raise InputError(
                    f"document {opened.version.index.ids[piece.document]} has {len(found.tokens)} tokens, "
                    f"the pack plan says {piece.tokens}",
                    fix="delete data/…/index/pack-*; it is made again",
                )
            self._decoded.put(key, found, found.nbytes)
        return found

    def _read(self, opened: _OpenSegment, piece: Piece) -> ExpandedDocument:
        """A document from its shard. Raises DamagedDocument, or NotFound where the shard itself is gone."""
        version = opened.version
        try:
            stored, media = version.reader.piece(piece.document, piece.start, piece.end)
            # Unsigned, a negative token is above every vocabulary.
            if len(stored) and int(stored.view(np.uint32).max()) >= opened.vocabulary:
                raise InputError(f"a token is outside the vocabulary of {opened.vocabulary}")
            expanded = expand_document(stored, media, version.ids, self._rule)
            return expanded if opened.turns is None else learn_answers(expanded, opened.turns)
        except NotFound:
            raise
        except InputError as error:
            document = version.index.ids[piece.document]
            where = f"{version.reader.shard_key(piece.document)} document {document}"
            raise DamagedDocument(error.what, document=document, where=where, fix=error.fix) from error

    def _collate(self, rows: list[Row], step: int) -> Batch:
        number = segment_of(self.segments, self.plan.sequences_before(step))
        pad_token = self._segment(number).version.ids.endoftext
        batch = collate(rows, self._sequence_tokens, self._rule, pad_token)
        return pin_batch(batch) if self.config.pin else batch


def _shard_reader(ws: Workspace, config: LoadingConfig) -> ShardReader:
    """Shards where they lie in a folder; from an object store through the cache on disk."""
    whole = config.whole_shards and config.cache_bytes != 0
    if not whole or isinstance(ws.store, FolderStore):
        return ShardReader(ws.store, whole_shards=whole)
    folder = Path(config.cache_dir) if config.cache_dir else None
    return ShardReader(ws.store, tier=default_tier(folder, config.cache_bytes))


def _worker(
    place: str,
    programme: Programme,
    run: str,
    config: LoadingConfig,
    segments: list[Segment],
    method: Callable[..., Made],
) -> Callable[[int], Made]:
    """`method` of a loader that is opened in this process."""
    return partial(method, Loader(Workspace.open(place), programme, run, config, segments))
