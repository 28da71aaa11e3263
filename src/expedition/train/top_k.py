"""A teacher's k largest probabilities for each learnt position: the divergence from them, and the files they lie in.

    runs/<run>/teacher/
        settings.json                   which teacher, k, temperature, data; written first
        part-0000000.safetensors …      by global number of sequence, written once, in any order
        manifest.json                   bytes and SHA-256 of every part; written last

Shapes: B batch, S sequence, T learnt positions, K largest, V vocabulary, P learnt positions of a part, N its sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from expedition.errors import InputError, UsageError
from expedition.parallel.sequence import SequenceSplit
from expedition.plan.runs import TeacherPlan
from expedition.workspace import Workspace, layout
from expedition.workspace.hashes import sha256_bytes

SCHEMA = "train.teacher/1"
PART_BYTES = 64 << 20
PART_SEQUENCES = 64
"""A part holds at most so many bytes (in the worst case) and so many sequences."""
_KEPT_PARTS = 4


def folder_of(run: str) -> str:
    """Where a run's stored teacher lies."""
    return f"{layout.run(run)}/teacher"


def part_key(run: str, part: int) -> str:
    """One file of it."""
    return f"{folder_of(run)}/part-{part:07d}.safetensors"


def part_sequences(sequence_length: int, plan: TeacherPlan) -> int:
    """Sequences of one part."""
    width = 4 + (4 if plan.stored == "fp32" else 2)
    worst = sequence_length * ((plan.top_k or 1) * width + 8)
    return max(1, min(PART_SEQUENCES, PART_BYTES // worst))


def largest(logits_TV: Tensor, k: int, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """(ids [T, K], their log-probabilities [T, K], logarithm of the rest's [T]), fp32, at `temperature`.

    The rest has -inf where k is the vocabulary.
    """
    log_p_TV = F.log_softmax(logits_TV.float() / temperature, dim=-1)
    log_p_TK, ids_TK = log_p_TV.topk(min(k, log_p_TV.shape[-1]), dim=-1)
    return ids_TK, log_p_TK, _log_rest(log_p_TV, ids_TK)


def _log_rest(log_p_TV: Tensor, ids_TK: Tensor) -> Tensor:
    """log of the probability outside of `ids_TK` [T]: summed over the others, not 1 less the known ones."""
    if ids_TK.shape[-1] == log_p_TV.shape[-1]:
        return log_p_TV.new_full(log_p_TV.shape[:-1], float("-inf"))
    return log_p_TV.scatter(-1, ids_TK, float("-inf")).logsumexp(-1)


def top_k_divergence(
    student_TV: Tensor, ids_TK: Tensor, log_p_TK: Tensor, log_rest_T: Tensor, temperature: float
) -> Tensor:
    """KL(teacher ‖ student) by position [T] over k + 1 outcomes: the k tokens, and all others as one.

    Softened and × temperature², as the divergence over the whole vocabulary, and never above it (a coarser partition:
    Cover & Thomas, Elements of Information Theory, theorem 2.7.1); what it leaves out is the rest's probability times the
    divergence within the rest. Equal to it where k is the vocabulary.
    """
    log_q_TV = F.log_softmax(student_TV.float() / temperature, dim=-1)
    known_T = (log_p_TK.exp() * (log_p_TK - log_q_TV.gather(-1, ids_TK))).sum(-1)
    if ids_TK.shape[-1] == student_TV.shape[-1]:
        return known_T * temperature**2
    finite_T = log_rest_T.clamp(min=-1e4)  # a rest of 0 counts 0, whatever the student gives it
    rest_T = log_rest_T.exp() * (finite_T - _log_rest(log_q_TV, ids_TK))
    return (known_T + rest_T) * temperature**2


@dataclass(frozen=True, slots=True)
class TopK:
    """What a stored teacher says about a micro-batch; zeros at positions that are not learnt."""

    ids_BSK: Tensor
    log_p_BSK: Tensor
    log_rest_BS: Tensor
    temperature: float

    def rows(self, places_T: Tensor) -> tuple[Tensor, ...]:
        """What `divergence` takes, at flat positions."""
        return (
            self.ids_BSK.flatten(0, 1)[places_T],
            self.log_p_BSK.flatten(0, 1)[places_T],
            self.log_rest_BS.flatten()[places_T],
        )

    def divergence(self, student_TV: Tensor, *rows: Tensor) -> Tensor:
        """From the student's logits, by position [T]."""
        ids_TK, log_p_TK, log_rest_T = rows
        return top_k_divergence(student_TV, ids_TK, log_p_TK, log_rest_T, self.temperature)


@dataclass(frozen=True, slots=True)
class Part:
    """The learnt positions of some sequences, sequence after sequence.

    Sequence n of the part has positions first[n] … first[n+1]-1 of the columns.
    """

    first_N: npt.NDArray[np.int64]
    position_P: npt.NDArray[np.int32]
    """Position in the row."""
    ids_PK: npt.NDArray[np.int32]
    log_p_PK: npt.NDArray[Any]
    """fp32 or fp16."""
    log_rest_P: npt.NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """As a safetensors file."""
        from safetensors.numpy import save

        columns = ("first_N", "position_P", "ids_PK", "log_p_PK", "log_rest_P")
        data: bytes = save({name: np.ascontiguousarray(getattr(self, name)) for name in columns})
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Part:
        """Inverse of `to_bytes`; the caller has checked the hash."""
        from safetensors.numpy import load

        return cls(**load(data))


class StoredTeacher:
    """Reads a complete stored teacher; every part's hash is checked before it is used. Keeps the last few parts.

    Raises UsageError if it is not complete or made by other settings.
    """

    def __init__(self, ws: Workspace, run: str, plan: TeacherPlan, sequence_length: int, fingerprint: str) -> None:
        self._ws, self._run, self._plan = ws, run, plan
        key = f"{folder_of(run)}/manifest.json"
        if not ws.store.exists(key):
            raise UsageError(
                f"run {run!r} learns from the {plan.top_k} largest probabilities of {plan.run!r}, and they are not stored",
                where=folder_of(run),
                fix=f"expedition train teach --run {run}",
            )
        manifest = ws.read_json(key)
        require_settings(manifest["settings"], expected_settings(plan, sequence_length, fingerprint), run)
        self.teacher: dict[str, Any] = manifest["settings"]["teacher"]
        """Run, checkpoint, hash of its manifest."""
        self._parts: list[dict[str, Any]] = manifest["parts"]
        self._sequences = part_sequences(sequence_length, plan)
        self._part = lru_cache(maxsize=_KEPT_PARTS)(self._read)

    def of(
        self, sample_ids: Sequence[int], sequence_length: int, device: torch.device, split: SequenceSplit | None
    ) -> TopK:
        """What it says about rows by their global numbers (-1: a row of padding). Raises InputError past its end."""
        k, rows = self._plan.top_k or 1, len(sample_ids)
        found: list[tuple[int, Part, slice]] = []
        for row, sample in enumerate(sample_ids):
            if sample >= 0:
                part, number = self._part(sample // self._sequences), sample % self._sequences
                found.append((row, part, slice(int(part.first_N[number]), int(part.first_N[number + 1]))))
        k = found[0][1].ids_PK.shape[1] if found else k
        ids = torch.zeros(rows, sequence_length, k, dtype=torch.int64)
        log_p, log_rest = torch.zeros(rows, sequence_length, k), torch.zeros(rows, sequence_length)
        for row, part, span in found:
            places = torch.from_numpy(part.position_P[span].astype(np.int64))
            ids[row, places] = torch.from_numpy(part.ids_PK[span].astype(np.int64))
            log_p[row, places] = torch.from_numpy(part.log_p_PK[span].astype(np.float32))
            log_rest[row, places] = torch.from_numpy(part.log_rest_P[span].copy())
        ids, log_p, log_rest = (value if split is None else split.tokens(value, 1) for value in (ids, log_p, log_rest))
        return TopK(ids.to(device), log_p.to(device), log_rest.to(device), self._plan.temperature)

    def _read(self, number: int) -> Part:
        key = part_key(self._run, number)
        if number >= len(self._parts):
            raise InputError(
                f"sequence {number * self._sequences} lies past what is stored of the teacher",
                where=folder_of(self._run),
                fix=f"expedition train teach --run {self._run}",
            )
        data = self._ws.store.read(key)
        if sha256_bytes(data) != self._parts[number]["sha256"]:
            raise InputError(
                "a part of the stored teacher does not match its hash",
                where=key,
                fix=f"delete it and run: expedition train teach --run {self._run}",
            )
        return Part.from_bytes(data)


def expected_settings(plan: TeacherPlan, sequence_length: int, fingerprint: str) -> dict[str, Any]:
    """What the stored values depend on besides the teacher's checkpoint."""
    return {
        "top_k": plan.top_k,
        "temperature": plan.temperature,
        "stored": plan.stored,
        "sequence_length": sequence_length,
        "data": fingerprint,
    }


def require_settings(found: dict[str, Any], wanted: dict[str, Any], run: str) -> None:
    """Raise UsageError, the first difference named, unless what is stored was made by these settings."""
    for name, value in wanted.items():
        if found.get(name) != value:
            raise UsageError(
                f"the stored teacher was made with {name} = {found.get(name)!r}, the plan has {value!r}",
                where=folder_of(run),
                fix=f"delete {folder_of(run)}/ and run: expedition train teach --run {run}",
            )
