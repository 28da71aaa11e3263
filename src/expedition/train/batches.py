"""What a step trains on: where batches come from, and a batch as tensors.

Shapes: B batch, S sequence, T = B·S, P patches, C patch values, G grids, M mel bins, F frames, A sounds.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from expedition.kernels.host import send
from expedition.parallel.sequence import SequenceSplit

if TYPE_CHECKING:
    from expedition.data.loading.batch import Batch


IGNORED = -100
"""The label of positions that are not learnt."""


class BatchSource(Protocol):
    """Each step's global batch as a pure function of the step, so resume is a number. Safe for several threads.

    `data.loading.Loader` is one.
    """

    def rank_batch(self, step: int, rank: int, world: int) -> Sequence[Batch]:
        """The micro-batches of one of `world` data ranks, in order; every rank gets the same number of them."""
        ...

    def rank_batches(self, start: int, stop: int, rank: int, world: int) -> Generator[Sequence[Batch], None, None]:
        """`rank_batch` of steps start … stop - 1 in order, made ahead in the background until it is closed."""
        ...

    def account(self, stretches: Iterable[tuple[int, int]]) -> dict[str, Any]:
        """What the steps first … end - 1 of each stretch read, by kind and source, beside what the mix plans."""
        ...

    def fingerprint_at(self, step: int) -> str:
        """Hash of what the steps before `step` came from; a checkpoint keeps it."""
        ...

    def require_same(self, step: int, fingerprint: str) -> None:
        """Raise InputError unless the steps before `step` are those that `fingerprint` was taken of."""
        ...


@dataclass(frozen=True, slots=True)
class TensorBatch:
    """A `Batch` on the device. `grid_G3`, `is_video_G` and `mel_lengths_A` stay on the host: shapes depend on them.

    What the model takes is of whole rows; what the loss takes (labels, kinds, which positions are real) is of this
    rank's positions, where cp or tp spreads them.
    """

    tokens_BS: Tensor
    labels_BS: Tensor
    positions_3BS: Tensor
    document_BS: Tensor
    kind_BS: Tensor
    real_BS: Tensor
    """True at positions that are not padding."""
    patches_PC: Tensor
    grid_G3: Tensor
    is_video_G: Tensor
    mel_MF: Tensor
    mel_lengths_A: Tensor
    real_tokens: int
    """Positions of this rank that are not padding."""
    sample_ids: tuple[int, ...] = ()
    """Global number of each row; -1 for a row that only fills a micro-batch."""
    labelled_N: Tensor | None = None
    """Flat positions of this rank that have a label, int64, on an accelerator: there it would wait to count them."""
    whole_rows: bool = False
    """Every row is one document without padding."""

    @property
    def model_inputs(self) -> tuple[Tensor | bool, ...]:
        """Arguments of `OmniModel.forward`, in order."""
        return (
            self.tokens_BS,
            self.positions_3BS,
            self.document_BS,
            self.patches_PC,
            self.grid_G3,
            self.is_video_G,
            self.mel_MF,
            self.mel_lengths_A,
            self.whole_rows,
        )

    @property
    def real_T(self) -> Tensor:
        """`real_BS`, flat."""
        return self.real_BS.flatten()


def to_tensors(
    batch: Batch, device: torch.device, dtype: torch.dtype, split: SequenceSplit | None = None
) -> TensorBatch:
    """Arrays to tensors; patches and mel frames in the compute type. `split` says which positions are this rank's.

    To a CUDA device they are copied beside its work, out of page-locked memory, and what is asked of it from now on waits
    for them; the host does not.
    """
    if device.type != "cuda":
        return _tensors(batch, device, dtype, split)
    beside = _copy_stream(device)
    with torch.cuda.stream(beside):
        made = _tensors(batch, device, dtype, split)
    current = torch.cuda.current_stream(device)
    current.wait_stream(beside)
    for field in fields(made):
        value = getattr(made, field.name)
        if isinstance(value, Tensor) and value.is_cuda:
            value.record_stream(current)
    return made


@cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _tensors(batch: Batch, device: torch.device, dtype: torch.dtype, split: SequenceSplit | None) -> TensorBatch:
    def there(array: object, kind: torch.dtype | None = None) -> Tensor:
        return send(torch.as_tensor(array), device).to(dtype=kind)

    def here(array: object) -> Tensor:
        whole = torch.as_tensor(array)
        return whole if split is None else split.tokens(whole, 1)

    real_BS, labels_BS = here(batch.document_BS > 0), here(batch.labels_BS)
    labelled_N = (labels_BS.flatten() != IGNORED).nonzero().squeeze(1) if device.type == "cuda" else None
    return TensorBatch(
        tokens_BS=there(batch.tokens_BS),
        labels_BS=there(labels_BS),
        positions_3BS=there(batch.positions_3BS),
        document_BS=there(batch.document_BS),
        kind_BS=there(here(batch.kind_BS)),
        real_BS=there(real_BS),
        patches_PC=there(batch.patches_PC, dtype),
        grid_G3=torch.as_tensor(batch.grid_G3),
        is_video_G=torch.as_tensor(batch.is_video_G),
        mel_MF=there(batch.mel_MF, dtype),
        mel_lengths_A=torch.as_tensor(batch.mel_lengths_A),
        real_tokens=batch.real_tokens if split is None else int(real_BS.sum()),
        sample_ids=tuple(batch.sample_ids.tolist()),
        labelled_N=None if labelled_N is None else there(labelled_N),
        whole_rows=bool((batch.document_BS == 1).all()),
    )
