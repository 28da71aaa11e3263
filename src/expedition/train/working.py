"""The weights that a forward pass uses where nothing is sharded: copies of the masters in the compute type.

A master stays the module's parameter and the optimiser's; its copy is a leaf of its own, so the backward pass leaves
gradients in the compute type, and no cast of a weight is in the graph. Values and sums are those of a cast in every
micro-batch, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Working:
    """One leaf for each parameter of `model` (tied ones share theirs); the parameter itself where the types are one.

    Gradients of one micro-batch are used as they are; of several they are added up in float32 as they arrive. Weights that
    are held in less than the compute type take their gradients, and the sums, in their own.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        self._masters: dict[str, Tensor] = dict(model.named_parameters())
        self._leaves = {name: _leaf(master, dtype) for name, master in self._masters.items()}
        by_master = {id(master): self._leaves[name] for name, master in self._masters.items()}
        self._places: list[tuple[nn.Module, str, nn.Parameter, Tensor]] = [
            (module, name, master, by_master[id(master)])
            for module in model.modules()
            for name, master in module._parameters.items()
            if master is not None and by_master[id(master)] is not master
        ]
        self._versions = {name: -1 for name, leaf in self._leaves.items() if leaf is not self._masters[name]}
        self._sum_types = {name: kind for name in self._leaves if (kind := self._sum_type(name)) is not None}
        self._sums = _Sums()
        for name, leaf in self._leaves.items():
            if leaf.requires_grad and name in self._sum_types:
                # A gradient in another type than its parameter's: the optimiser reads either.
                self._masters[name].grad_dtype = None
                leaf.register_post_accumulate_grad_hook(_adder(self._sums, name, self._sum_types[name]))  # type: ignore[no-untyped-call]

    @property
    def copies(self) -> Mapping[str, Tensor]:
        """The leaves that are copies, by their parameter's name: whoever updates the masters may write them too, and then
        says so by `updated`."""
        return {name: self._leaves[name] for name in self._versions}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the leaves for its parameters, with the masters' values of now."""
        self._refresh()
        for module, name, _, leaf in self._places:
            module._parameters[name] = leaf  # type: ignore[assignment]
        try:
            yield
        finally:
            for module, name, master, _ in self._places:
                module._parameters[name] = master

    def updated(self) -> None:
        """The masters were changed and their copies written with them, perhaps by kernels that no version counter sees."""
        torch.autograd.graph.increment_version(list(self.copies.values()))
        for name in self._versions:
            self._versions[name] = self._masters[name]._version

    def begin(self, micro_batches: int) -> None:
        """Before the first backward pass of a step of so many micro-batches."""
        self._sums.begin(several=micro_batches > 1)
        for name in self._sum_types:
            self._leaves[name].grad = None

    def end(self) -> None:
        """After the last one: the step's gradients are the masters'."""
        for name, leaf in self._leaves.items():
            master = self._masters[name]
            if name in self._sums.by_name:
                master.grad = self._sums.by_name[name]
            elif leaf is not master and leaf.grad is not None:
                master.grad, leaf.grad = _no_wider(leaf.grad, master.dtype), None
        self._sums.by_name = {}

    @torch.no_grad()
    def _refresh(self) -> None:
        """Copy what was changed from elsewhere: first values, a checkpoint's."""
        stale = [name for name, version in self._versions.items() if self._masters[name]._version != version]
        for name in stale:
            self._leaves[name].copy_(self._masters[name])
            self._versions[name] = self._masters[name]._version

    def _sum_type(self, name: str) -> torch.dtype | None:
        """Type of the sums over micro-batches; None where autograd's own sums are what is wanted."""
        leaf, master = self._leaves[name], self._masters[name]
        if leaf is not master:
            return master.dtype
        # On the CPU weights that are held in bf16 keep their sums in bf16: the bits that runs there have always had.
        return torch.float32 if leaf.is_cuda and leaf.dtype != torch.float32 else None


class _Sums:
    """Gradients of a step so far, where they are added up. Hooks of the leaves hold this and nothing that holds a leaf: a
    cycle would keep a model's memory after its last user is gone."""

    def __init__(self) -> None:
        self.by_name: dict[str, Tensor] = {}
        self.several = False

    def begin(self, *, several: bool) -> None:
        self.by_name, self.several = {}, several


def _adder(sums: _Sums, name: str, kind: torch.dtype) -> Callable[[Tensor], None]:
    @torch.no_grad()
    def add(leaf: Tensor) -> None:
        if not sums.several or leaf.grad is None:
            return
        if name in sums.by_name:
            sums.by_name[name].add_(_no_wider(leaf.grad, kind))
        else:
            sums.by_name[name] = leaf.grad.to(kind)
        leaf.grad = None

    return add


def _no_wider(gradient: Tensor, kind: torch.dtype) -> Tensor:
    return gradient.to(kind) if kind.itemsize < gradient.dtype.itemsize else gradient


def _leaf(master: Tensor, dtype: torch.dtype) -> Tensor:
    if master.dtype == dtype:
        return master
    return torch.empty_like(master, dtype=dtype, requires_grad=False).requires_grad_(master.requires_grad)
