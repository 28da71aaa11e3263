"""The model as a folder that transformers, vLLM and SGLang load with their own class, and the way back.

The class is `Qwen3OmniMoeForConditionalGeneration` with audio output off: the stand-alone thinker is not registered by
the serving engines. In memory the experts of a layer are two stacked parameters, on disk one entry each. Written
without transformers: JSON and safetensors only.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from expedition.errors import InputError
from expedition.model.config import OmniConfig
from expedition.model.export_config import config_from_json, config_json, generation_json
from expedition.model.omni import OmniModel
from expedition.model.processor import preprocessor_json, processor_json, tokenizer_config_json
from expedition.plan.media import MediaRule
from expedition.workspace.atomic import commit_file, write_atomic

__all__ = ["export_weights", "load_export", "to_transformers"]

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

    `weights` by the names of `OmniModel.state_dict()`; they are read one at a time, so a lazy mapping stays lazy. The
    same input gives the same bytes. config.json is written last: a folder without it is no export.
    Raises InputError where a tensor or the tokenizer is missing or has the wrong size.
    """
    tokenizer = tokenizer_dir / "tokenizer.json"
    if not tokenizer.is_file():
        raise InputError("no tokenizer.json", where=str(tokenizer_dir), fix="give a folder that Tokenizer.save wrote")
    _check(weights, config)
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
    """Names and tensors as they lie on disk: prefix added, experts apart, a tied head left out."""
    inner = config.shape.expert_inner
    for name in weights:
        if name == "lm_head.weight" and config.shape.tied_embeddings:
            continue
        tensor = weights[name].detach()
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

    Also reads what transformers' own `save_pretrained` writes for this class. Raises InputError where the folder is
    no such export, or a tensor is missing, unknown or of the wrong size.
    """
    if not (folder / "config.json").is_file():
        raise InputError("no config.json", where=str(folder), fix="give the folder of an exported model")
    config = config_from_json(json.loads((folder / "config.json").read_text()), where=str(folder / "config.json"))
    with torch.device("meta"):
        model = OmniModel(config)
    state = _read_weights(folder, config, {name: tuple(p.shape) for name, p in model.named_parameters()})
    kept = dtype or next(iter(state.values())).dtype
    model.to_empty(device=device)
    if config.shape.tied_embeddings:  # `to_empty` gives each name a tensor of its own
        model.lm_head.weight = model.model.embed_tokens.weight
    model.to(kept)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state[name])
    return model.eval()


def _check(weights: Mapping[str, Tensor], config: OmniConfig) -> None:
    with torch.device("meta"):
        expected = {name: tuple(p.shape) for name, p in OmniModel(config).named_parameters()}
    for name, size in expected.items():
        if name not in weights:
            raise InputError(f"the weights have no {name}", where="export", fix="export the weights of this very shape")
        if tuple(weights[name].shape) != size:
            raise InputError(f"{name} is {tuple(weights[name].shape)}, the shape says {size}", where="export")
    extra = sorted(set(weights) - set(expected) - {"lm_head.weight"})
    if extra:
        raise InputError(f"the weights have {extra[0]}, the shape does not", where="export")


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


def _read_weights(folder: Path, config: OmniConfig, sizes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Every parameter by our name: prefix off, experts stacked."""
    state: dict[str, Tensor] = {}
    experts: dict[str, Tensor] = {}
    for file in _weight_files(folder):
        with safe_open(file, framework="pt", device="cpu") as tensors:
            for stored in tensors.keys():  # noqa: SIM118 (a safetensors handle, not a dict)
                name = stored.removeprefix(PREFIX)
                match = EXPERT.fullmatch(name)
                if match is None:
                    state[name] = tensors.get_tensor(stored)
                else:
                    _stack(experts, match, tensors.get_tensor(stored), config)
    state.update(experts)
    if config.shape.tied_embeddings:
        state.pop("lm_head.weight", None)
    for name, size in sizes.items():
        if name not in state or tuple(state[name].shape) != size:
            found = "nothing" if name not in state else str(tuple(state[name].shape))
            raise InputError(f"{name} should be {size}, found {found}", where=str(folder))
    unknown = sorted(set(state) - set(sizes))
    if unknown:
        raise InputError(f"{len(unknown)} tensors that this class does not have, first {unknown[0]}", where=str(folder))
    return state


def _stack(experts: dict[str, Tensor], match: re.Match[str], tensor: Tensor, config: OmniConfig) -> None:
    """Put one expert's tensor into its place in the stack."""
    shape = config.shape
    part, expert = match["part"], int(match["expert"])
    if expert >= shape.experts:
        raise InputError(f"expert {expert} of {shape.experts} in {match['layer']}", where="export")
    name = f"{match['layer']}.{'down_proj' if part == 'down' else 'gate_up_proj'}"
    if name not in experts:
        rows, columns = (shape.hidden, shape.expert_inner) if part == "down" else (2 * shape.expert_inner, shape.hidden)
        experts[name] = torch.full((shape.experts, rows, columns), float("nan"), dtype=tensor.dtype)
    if part == "down":
        experts[name][expert] = tensor
    else:
        experts[name][expert].chunk(2)[part == "up"].copy_(tensor)


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
