"""model: one omni MoE model over text, images, video and audio, counted, trained, exported and generated from here.

Why a room: the arithmetic of the Qwen3-Omni-MoE thinker in own modules that shard, compile and run without
transformers. It knows no loss, no optimizer, no mesh and no tokenizer; the export is a rename.
Verbs (all that other rooms may call):
    OmniConfig.from_plan(shape, media, token_ids, vocabulary) -> OmniConfig    raises ProgrammeError where they disagree
    OmniModel(config, seed)(tokens_BS, positions_3BS, document_BS, …) -> ModelOutput    .head(hidden) -> logits
    RouterOutput                                logits and choices of one layer's router, for balance and z losses
    count_parameters(config) -> PartCounts      no torch; equal to the built model
    flops_per_token(config, sequence, causal)   no torch; forward FLOPs of the decoder by part
    encoder_flops(config, grids, frames)        no torch; forward FLOPs of the encoders
    to_transformers(weights, config, …)         writes a folder that transformers, vLLM and SGLang load
    load_export(folder) -> OmniModel            the way back
    generate, generate_stream, Sampling, Stopping    token ids after prompts, with a key/value cache
    describe_model(programme, name, …), model_lines(description)    all numbers of a named model, and as text
Seams: Spread (SpreadRows in parallel): positions of a row over processes; set as `OmniModel.spread`.
Imports: errors, workspace, plan, kernels.  Imported by: parallel, train, evaluate, release; counts by cluster too.
Reads / writes in the workspace: nothing; the export goes where it is told.
Invariants: logits and gradients equal transformers' class for every modality [test_logits_equal_transformers]
    [test_gradients_equal_transformers]; counts equal the built model [test_counts_equal_the_built_model]; a document
    never sees another [test_documents_do_not_see_each_other]; a batch without media still runs the encoders
    [test_encoders_take_part_without_media]; an export loads with equal logits [test_export_loads_in_transformers].
Read in this order:
    config.py      shape, vocabulary, token ids
    omni.py        the whole model
    spread.py      the seam for positions on other ranks
    fusion.py      features into pad tokens
    decoder.py     layers
    attention.py   decoder attention, cache
    rope.py        positions
    moe.py         router, experts
    dispatch.py    how tokens reach them: the seam for experts on other ranks
    vision.py      patches to features
    audio.py       mel frames to features
    initialise.py  first weights
    counts.py      parameters, FLOPs
    describe.py    all of it for a named model
    sampling.py    the next token of logits
    generation.py  prompts to tokens
    export.py      transformers layout and back
    export_config.py   its config.json
    processor.py   its processor files
Try: expedition model show 10b; pytest tests/model
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expedition.model.config import OmniConfig
    from expedition.model.counts import PartCounts, count_parameters, encoder_flops, flops_per_token
    from expedition.model.describe import describe_model, model_lines
    from expedition.model.export import load_export, to_transformers
    from expedition.model.generation import generate, generate_stream
    from expedition.model.moe import RouterOutput
    from expedition.model.omni import ModelOutput, OmniModel
    from expedition.model.sampling import Sampling, Stopping

__all__ = [
    "ModelOutput",
    "OmniConfig",
    "OmniModel",
    "PartCounts",
    "RouterOutput",
    "Sampling",
    "Stopping",
    "count_parameters",
    "describe_model",
    "encoder_flops",
    "flops_per_token",
    "generate",
    "generate_stream",
    "load_export",
    "model_lines",
    "to_transformers",
]

_HOME = {
    "ModelOutput": "omni",
    "OmniConfig": "config",
    "OmniModel": "omni",
    "PartCounts": "counts",
    "RouterOutput": "moe",
    "Sampling": "sampling",
    "Stopping": "sampling",
    "count_parameters": "counts",
    "describe_model": "describe",
    "encoder_flops": "counts",
    "flops_per_token": "counts",
    "generate": "generation",
    "generate_stream": "generation",
    "load_export": "export",
    "model_lines": "describe",
    "to_transformers": "export",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(f"expedition.model.{_HOME[name]}"), name)
