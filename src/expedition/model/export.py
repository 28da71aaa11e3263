"""The model as a folder that transformers, vLLM and SGLang load with their own class, and the way back.

The class is `Qwen3OmniMoeForConditionalGeneration` with audio output off: the stand-alone thinker is not registered by
the serving engines. In memory the experts of a layer are two stacked parameters, on disk one entry each. Written
without transformers: JSON and safetensors only.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from expedition.errors import InputError, UsageError
from expedition.model.config import OmniConfig
from expedition.model.export_config import config_from_json, config_json, generation_json
from expedition.model.omni import OmniModel
from expedition.model.processor import preprocessor_json, processor_json, tokenizer_config_json
from expedition.plan.media import MediaRule
from expedition.workspace.atomic import commit_file, write_atomic

__all__ = ["Place", "export_weights", "load_export", "missing_places", "place_of", "to_transformers"]

PREFIX = "thinker."
INDEX = "model.safetensors.index.json"
EXPERT = re.compile(r"(?P<layer>.*\.mlp\.experts)\.(?P<expert>\d+)\.(?P<part>gate|up|down)_proj\.weight")


def to_transformers(
    weights: Mapping[str, Tensor],
    config: OmniConfig,
    tokenizer_dir: Path,
    out_dir: Path,
    media: MediaRule,
    *,
    dtype: torch.dtype = torch.float32,
    shard_bytes: int = 4 * 10**9,
) -> list[Path]:
    """Write config, weights (sharded safetensors), tokenizer and processor files → all files written.

    `weights` by the names of `OmniModel.state_dict()`; each is asked for once, in turn, and at most `shard_bytes` of
    them are held, so a mapping that reads a tensor when it is asked for exports a model larger than memory. The same
    input gives the same bytes. config.json is written last: a folder without it is no export.
    Raises InputError where a tensor or the tokenizer is missing or has the wrong size, and UsageError for a
    `shard_bytes` that is not positive.
    """
    if shard_bytes <= 0:
        raise UsageError(f"shard_bytes is {shard_bytes}, must be positive", where="export")
    tokenizer = tokenizer_dir / "tokenizer.json"
    if not tokenizer.is_file():
        raise InputError("no tokenizer.json", where=str(tokenizer_dir), fix="give a folder that Tokenizer.save wrote")
    _check_names(weights, config)
    out_dir.mkdir(parents=True, exist_ok=True)
    for stale in (*out_dir.glob("config.json"), *out_dir.glob("model*.safetensors*"), *out_dir.glob(".aside-*")):
        stale.unlink()
    written = [_copy(tokenizer, out_dir)]
    for name in ("vocabulary.json", "vocab.json", "merges.txt", "chat_template.jinja"):
        if (tokenizer_dir / name).is_file():
            written.append(_copy(tokenizer_dir / name, out_dir))
    own = tokenizer_dir / "tokenizer_config.json"
    documents: dict[str, dict[str, Any]] = {
        "tokenizer_config.json": tokenizer_config_json(json.loads(own.read_text()) if own.is_file() else {}),
        "preprocessor_config.json": preprocessor_json(media),
        "processor_config.json": processor_json(media),
        "generation_config.json": generation_json(config),
    }
    written.extend(_write_json(out_dir / name, document) for name, document in documents.items())
    written.extend(_write_weights(weights, config, out_dir, dtype, shard_bytes))
    written.append(_write_json(out_dir / "config.json", config_json(config, dtype)))
    return sorted(written)


def export_weights(weights: Mapping[str, Tensor], config: OmniConfig) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors as they lie on disk: prefix added, experts apart, a tied head left out.

    Each tensor is asked for once, when its turn comes. Raises InputError for one of another size than the shape's.
    """
    sizes = _check_names(weights, config)
    inner = config.shape.expert_inner
    for name, size in sizes.items():
        tensor = weights[name].detach()
        if tuple(tensor.shape) != size:
            raise InputError(f"{name} is {tuple(tensor.shape)}, the shape says {size}", where="export")
        if not name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            yield PREFIX + name, tensor
            continue
        layer = PREFIX + name.rpartition(".")[0]
        for expert in range(config.shape.experts):
            if name.endswith("down_proj"):
                yield f"{layer}.{expert}.down_proj.weight", tensor[expert]
            else:
                yield f"{layer}.{expert}.gate_proj.weight", tensor[expert, :inner]
                yield f"{layer}.{expert}.up_proj.weight", tensor[expert, inner:]


def load_export(folder: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> OmniModel:
    """The model of an exported folder, in the dtype of its files unless `dtype` is given.

    Also reads what transformers' own `save_pretrained` writes for this class. Tensors are read one at a time into their
    places. Raises InputError where the folder is no such export, or a tensor is missing, unknown or of the wrong size.
    """
    if not (folder / "config.json").is_file():
        raise InputError("no config.json", where=str(folder), fix="give the folder of an exported model")
    config = config_from_json(json.loads((folder / "config.json").read_text()), where=str(folder / "config.json"))
    with torch.device("meta"):
        model = OmniModel(config)
    files = _weight_files(folder)
    model.to(dtype or _dtype_of(files[0])).to_empty(device=device)
    if config.shape.tied_embeddings:  # `to_empty` gives each name a tensor of its own
        model.lm_head.weight = model.model.embed_tokens.weight
    _fill(dict(model.named_parameters()), files, config, str(folder))
    return model.eval()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor on disk lies in memory."""

    parameter: str
    """Name in `OmniModel`."""
    expert: int | None = None
    """Number in the stack; None for a parameter that is one entry on disk."""
    half: int | None = None
    """Of a stacked gate and up: 0 the gate, 1 the up."""

    def of(self, tensor: Tensor) -> Tensor:
        """The part of the parameter, a view."""
        part = tensor if self.expert is None else tensor[self.expert]
        return part if self.half is None else part.chunk(2)[self.half]


def place_of(stored: str) -> Place:
    """The place of a name on disk; says nothing about whether there is such a parameter."""
    name = stored.removeprefix(PREFIX)
    match = EXPERT.fullmatch(name)
    if match is None:
        return Place(name)
    if match["part"] == "down":
        return Place(f"{match['layer']}.down_proj", int(match["expert"]))
    return Place(f"{match['layer']}.gate_up_proj", int(match["expert"]), int(match["part"] == "up"))


def missing_places(parameters: Mapping[str, Tensor], found: Set[Place]) -> list[str]:
    """Names on disk that a whole export has and `found` lacks, in order."""
    missing: list[str] = []
    for name, parameter in parameters.items():
        if not name.endswith((".experts.gate_up_proj", ".experts.down_proj")):
            missing += [PREFIX + name] * (Place(name) not in found)
            continue
        layer, down = name.rpartition(".")[0], name.endswith("down_proj")
        for expert in range(parameter.shape[0]):
            for part, half in (("down", None),) if down else (("gate", 0), ("up", 1)):
                missing += [f"{PREFIX}{layer}.{expert}.{part}_proj.weight"] * (Place(name, expert, half) not in found)
    return missing


@torch.no_grad()
def _fill(parameters: dict[str, Tensor], files: list[Path], config: OmniConfig, where: str) -> None:
    """Copy every tensor of the files into its place. Raises InputError for one too many, too few or of other size."""
    found: set[Place] = set()
    for file in files:
        with safe_open(file, framework="pt", device="cpu") as tensors:
            for stored in tensors.keys():  # noqa: SIM118 (a safetensors handle, not a dict)
                place = place_of(stored)
                if place.parameter == "lm_head.weight" and config.shape.tied_embeddings:
                    continue
                parameter = parameters.get(place.parameter)
                if parameter is None or (place.expert or 0) >= parameter.shape[0]:
                    raise InputError(f"{stored} is no tensor of this class and shape", where=str(file))
                target, size = place.of(parameter), tuple(tensors.get_slice(stored).get_shape())
                if tuple(target.shape) != size:
                    raise InputError(f"{stored} should be {tuple(target.shape)}, found {size}", where=str(file))
                target.copy_(tensors.get_tensor(stored))
                found.add(place)
    if missing := missing_places(parameters, found):
        raise InputError(f"{len(missing)} tensors are missing, first {missing[0]}", where=where)


def _dtype_of(file: Path) -> torch.dtype:
    with safe_open(file, framework="pt", device="cpu") as tensors:
        dtype: torch.dtype = tensors.get_tensor(next(iter(tensors.keys()))).dtype
        return dtype


def _check_names(weights: Mapping[str, Tensor], config: OmniConfig) -> dict[str, tuple[int, ...]]:
    """Sizes by name as the shape wants them. Raises InputError where a name is missing or one too many."""
    with torch.device("meta"):
        expected = {name: tuple(p.shape) for name, p in OmniModel(config).named_parameters()}
    names = set(weights)  # `in` would read a tensor of a mapping that is lazy
    for name in expected:
        if name not in names:
            raise InputError(f"the weights have no {name}", where="export", fix="export the weights of this very shape")
    extra = sorted(names - set(expected) - {"lm_head.weight"})
    if extra:
        raise InputError(f"the weights have {extra[0]}, the shape does not", where="export")
    return expected


def _write_weights(
    weights: Mapping[str, Tensor], config: OmniConfig, out_dir: Path, dtype: torch.dtype, shard_bytes: int
) -> list[Path]:
    """Shards of at most `shard_bytes` (one tensor at least), named after their number, then the index."""
    asides: list[Path] = []
    names: list[list[str]] = []
    pending: dict[str, Tensor] = {}
    size = total = 0

    def flush() -> None:
        aside = out_dir / f".aside-{len(asides):05d}.safetensors"
        save_file(pending, aside, metadata={"format": "pt"})
        aside.chmod(0o644)  # safetensors makes it readable by its owner alone
        asides.append(aside)
        names.append(list(pending))
        pending.clear()

    for name, tensor in export_weights(weights, config):
        kept = tensor.to("cpu", dtype).contiguous().clone()
        if pending and size + kept.nbytes > shard_bytes:
            flush()
            size = 0
        pending[name] = kept
        size += kept.nbytes
        total += kept.nbytes
    flush()
    if len(asides) == 1:
        commit_file(asides[0], out_dir / "model.safetensors")
        return [out_dir / "model.safetensors"]
    shards = [out_dir / f"model-{number + 1:05d}-of-{len(asides):05d}.safetensors" for number in range(len(asides))]
    for aside, shard in zip(asides, shards, strict=True):
        commit_file(aside, shard)
    weight_map = {name: shard.name for shard, held in zip(shards, names, strict=True) for name in held}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    return [*shards, _write_json(out_dir / INDEX, index)]


def _weight_files(folder: Path) -> list[Path]:
    if (folder / INDEX).is_file():
        index = json.loads((folder / INDEX).read_text())
        names = sorted(set(index["weight_map"].values()))
        if any(Path(name).name != name for name in names):
            raise InputError("the weights' index names files outside of its folder", where=str(folder / INDEX))
        files = [folder / name for name in names]
    else:
        files = [folder / "model.safetensors"]
    for file in files:
        if not file.is_file():
            raise InputError("a weights file is missing", where=str(file), fix="export or download the folder again")
    return files


def _copy(file: Path, out_dir: Path) -> Path:
    target = out_dir / file.name
    aside = out_dir / f".aside-{file.name}"
    shutil.copyfile(file, aside)
    commit_file(aside, target)
    return target


def _write_json(path: Path, document: dict[str, Any]) -> Path:
    write_atomic(path, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())
    return path
