"""Tensor parallelism with sequence parallelism: heads of attention and columns of dense MLPs over ranks.

Shapes: B batch, s positions of one rank, H hidden, K key/value heads, D head size.

Megatron's split (arXiv:1909.08053, section 3) by torch's own styles: q, k, v, gate and up by columns, o and down by
rows. Between them every rank has its own positions (arXiv:2205.05198): a block's input is gathered along the sequence
and its output is summed and scattered. Routers, experts, encoders, embeddings and the head are not split.
"""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    RowwiseParallel,
    parallelize_module,
)

from expedition.errors import ProgrammeError
from expedition.model.decoder import DecoderLayer
from expedition.model.moe import DenseMLP
from expedition.plan.runs import ParallelPlan
from expedition.plan.shapes import ModelShape

POSITIONS = 1
"""Dimension of hidden states [B, S, H] along which ranks have different positions."""


def require_tensor_split(plan: ParallelPlan, shape: ModelShape) -> None:
    """Raise ProgrammeError where a model of this shape cannot be split over the plan's tp."""
    tp = plan.tp
    rules = [
        (shape.heads % tp == 0, f"heads = {shape.heads} must divide by it"),
        (
            shape.kv_heads % tp == 0 or tp % shape.kv_heads == 0,
            f"it must divide kv_heads = {shape.kv_heads} or be a multiple of them",
        ),
        (not shape.dense_layers or shape.dense_inner % tp == 0, f"dense_inner = {shape.dense_inner} must divide by it"),
    ]
    for holds, rule in rules:
        if not holds:
            raise ProgrammeError(
                f"tp = {tp} does not fit the model: {rule}",
                where="parallel.tp",
                fix="lower tp; cp and dp_shard spread a model without such rules",
            )


def split_layers(model: nn.Module, mesh: DeviceMesh) -> list[list[nn.Module]]:
    """Split the decoder layers that this rank has over `mesh` (tp), in place → groups of modules whose weights are
    split, each to be a unit of FSDP2.

    Every rank must have the same whole weights: each keeps its share, nothing is sent; works on the meta device. Raises
    ProgrammeError for a linear layer that is no plain one.
    """
    # FSDP2 warns that in-place operations on a unit's output would lose its hook; here it is the local view of a DTensor,
    # and the residual is added out of place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor", category=UserWarning)
    layers = [module for module in model.modules() if isinstance(module, DecoderLayer)]
    return [group for layer in layers for group in _split_layer(layer, mesh)]


def _split_layer(layer: DecoderLayer, mesh: DeviceMesh) -> list[list[nn.Module]]:
    attention, mlp = layer.self_attn, layer.mlp
    shape = attention.shape
    whole_kv = shape.kv_heads % mesh.size() != 0
    styles: dict[str, ParallelStyle] = {
        "self_attn": _gathered_input(4),
        "self_attn.q_proj": ColwiseParallel(),
        "self_attn.k_proj": OwnHead(shape) if whole_kv else ColwiseParallel(),
        "self_attn.v_proj": OwnHead(shape) if whole_kv else ColwiseParallel(),
        "self_attn.o_proj": RowwiseParallel(output_layouts=Shard(POSITIONS)),
    }
    # The order within a group is that of the forward pass. Autograd runs the latest of siblings first, so the group's
    # first module is the last to get its gradients; that is where FSDP2 takes the group's gradients away.
    keys_values = [] if whole_kv else [attention.k_proj, attention.v_proj]
    groups: list[list[nn.Module]] = [[attention.q_proj, *keys_values, attention.o_proj]]
    if isinstance(mlp, DenseMLP):
        styles |= {
            "mlp": _gathered_input(1),
            "mlp.gate_proj": ColwiseParallel(),
            "mlp.up_proj": ColwiseParallel(),
            "mlp.down_proj": RowwiseParallel(output_layouts=Shard(POSITIONS)),
        }
        groups.append([mlp.gate_proj, mlp.up_proj, mlp.down_proj])
    for group in groups:
        for module in group:
            _require_plain(module)
    parallelize_module(layer, mesh, styles, src_data_rank=None)
    return groups


def _gathered_input(arguments: int) -> PrepareModuleInput:
    """The first of `arguments` positional ones, a rank's positions, becomes those of all tp ranks."""
    others = (None,) * (arguments - 1)
    return PrepareModuleInput(input_layouts=(Shard(POSITIONS), *others), desired_input_layouts=(Replicate(), *others))


def _require_plain(module: nn.Module) -> None:
    if type(module) is not nn.Linear:
        raise ProgrammeError(
            f"tensor parallelism splits plain linear layers, and one of attention or a dense MLP is {type(module).__name__}",
            where="parallel.tp",
            fix="leave *self_attn* and *mlp.*_proj out of precision.fp8.modules, or set tp to 1",
        )


class OwnHead(ParallelStyle):
    """A key or value projection with fewer heads than ranks: whole on each, and a rank keeps the head of its queries.

    The weight stays as it is, so its gradient (each rank's share is of its own queries) is summed with all other whole
    parameters'. The projection is computed for all heads, which are few by the condition.
    """

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.kv_heads, self.head_dim = shape.kv_heads, shape.head_dim

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        head = device_mesh.get_local_rank() // (device_mesh.size() // self.kv_heads)

        def whole_input(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            (x_BSH,) = inputs
            return (x_BSH.to_local(grad_placements=[Partial()]) if isinstance(x_BSH, DTensor) else x_BSH,)

        def own_head(_module: nn.Module, _inputs: Any, out_BSKD: Tensor) -> Tensor:
            return out_BSKD.narrow(-1, head * self.head_dim, self.head_dim)

        module.register_forward_pre_hook(whole_input)
        module.register_forward_hook(own_head)
        return module
