"""transformers' own classes with compiled layers and torch's fused AdamW: python -m benchmarks.train.peers.transformers_models ROW

    [--steps 8] [--warmup 3] [--sequences 4]

Qwen3ForCausalLM for dense rows, Qwen3MoeForCausalLM with grouped experts for the others, bf16 weights and moments, the
class's own loss. Forced balance replaces the router's choice as on our side.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.train.device import describe_device
from benchmarks.train.flops import Content, step_flops
from benchmarks.train.rows import ROWS, Work
from benchmarks.train.timing import time_steps


def model_of(work: Work, device: torch.device) -> nn.Module:
    """transformers' model of a row's shape, bf16, layers compiled."""
    from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

    config = work.config()
    shape = config.shape
    sizes: dict[str, Any] = {
        "vocab_size": config.vocabulary, "hidden_size": shape.hidden, "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads, "head_dim": shape.head_dim,
        "tie_word_embeddings": shape.tied_embeddings, "use_cache": False, "attn_implementation": "sdpa",
        "pad_token_id": None, "bos_token_id": None, "eos_token_id": None,
    }  # fmt: skip
    torch.set_default_dtype(torch.bfloat16)
    with device:
        if shape.dense_layers:
            model = Qwen3ForCausalLM(Qwen3Config(**sizes, intermediate_size=shape.dense_inner))
        else:
            experts = Qwen3MoeConfig(
                **sizes, num_experts=shape.experts, num_experts_per_tok=shape.top_k, norm_topk_prob=True,
                moe_intermediate_size=shape.expert_inner, experts_implementation="grouped_mm",
            )  # fmt: skip
            model = Qwen3MoeForCausalLM(experts)
    torch.set_default_dtype(torch.float32)
    if work.routing == "forced":
        _force_balance(model)
    if device.type == "cuda":
        torch._dynamo.config.recompile_limit = 64
        for layer in model.model.layers:
            layer.compile()
    trained: nn.Module = model.train()
    return trained


def _force_balance(model: nn.Module) -> None:
    from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeTopKRouter

    class ForcedRouter(Qwen3MoeTopKRouter):  # type: ignore[misc]
        def forward(self, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            logits, weights, _ = super().forward(hidden_states)
            tokens, experts = logits.shape
            first = torch.arange(tokens, device=logits.device)[:, None] * self.top_k
            chosen = (first + torch.arange(self.top_k, device=logits.device)) % experts
            return logits, logits.gather(1, chosen).float().softmax(-1).to(weights.dtype), chosen

    for module in model.modules():
        if isinstance(module, Qwen3MoeTopKRouter):
            module.__class__ = ForcedRouter


def run(work: Work, device: torch.device, warmup: int, steps: int) -> dict[str, Any]:
    """Figures of the row, as our side gives them."""
    torch.manual_seed(0)
    model = model_of(work, device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=device.type == "cuda")
    rows = (work.sequences, work.sequence_length)
    batches = [torch.randint(0, work.vocabulary, rows, device=device) for _ in range(work.micro_batches)]

    def step() -> Tensor:
        loss = torch.zeros((), device=device)
        for tokens in batches:
            loss = model(input_ids=tokens, labels=tokens).loss / len(batches)
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    found = time_steps(step, device, warmup, steps)
    content = Content((work.sequence_length,) * work.sequences * work.micro_batches)
    return found.figures(content.tokens, step_flops(work.config(), content))


def main() -> int:
    """1 if it does not run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=list(ROWS))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, Any] = {"row": options.row, "side": "transformers_models", "states": "bf16"}
    began = time.perf_counter()
    try:
        found |= run(ROWS[options.row], torch.device("cuda"), options.warmup, options.steps)
    except torch.OutOfMemoryError as error:
        found["error"] = f"out of memory: {str(error).splitlines()[0][:200]}"
    found |= {"wall_s": round(time.perf_counter() - began, 1), **describe_device()}
    sys.stdout.write(json.dumps(found) + "\n")
    return int("error" in found)


if __name__ == "__main__":
    sys.exit(main())
