"""The export: transformers loads it with its own class and equal logits, we load it back, bad folders are refused."""

from __future__ import annotations

import json
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from expedition.data.tokenizer.chat import CHAT_TEMPLATE
from expedition.errors import InputError
from expedition.model.config import OmniConfig
from expedition.model.counts import count_parameters
from expedition.model.export import export_weights, load_export, missing_places, place_of, to_transformers
from expedition.model.export_config import config_from_json, config_json
from expedition.model.omni import OmniModel
from expedition.model.processor import MEDIA_TOKENS
from expedition.plan.media import MediaRule
from expedition.plan.shapes import ModelShape, TokenIds, preset_shapes

from .inputs import CONFIG, MIDDLE, SMALL, VOCABULARY, Row, Writer, pack, randomised, transformers_thinker

MEDIA = MediaRule(patch=4, mel_bins=16)
NAMES = "endoftext im_start im_end vision_start vision_end image_pad video_pad audio_start audio_end audio_pad"
SPECIALS = {f"<|{name}|>": number for number, name in enumerate(NAMES.split(), start=1)}


@pytest.fixture
def tokenizer_dir(tmp_path: Path) -> Path:
    """A byte-level tokenizer with our specials, written by the tokenizers library."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"Ā": 0, **SPECIALS}
    for letter in alphabet:
        if len(vocabulary) < VOCABULARY:
            vocabulary.setdefault(letter, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIALS])
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>", "model_max_length": 4096}))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return folder


def mixed(config: OmniConfig = CONFIG) -> list[Row]:
    w = Writer(config)
    return [
        w.text(w.image(w.text(Row(), 4), 4, 6), 3),
        w.text(w.video(w.text(w.audio(Row(), 143), 1), 2, 4, 4), 9),
    ]


@pytest.mark.parametrize("tied", [False, True], ids=["head", "tied"])
@pytest.mark.parametrize("shard_bytes", [10**9, 100_000], ids=["one-file", "shards"])
def test_export_loads_in_transformers(tmp_path: Path, tokenizer_dir: Path, tied: bool, shard_bytes: int) -> None:
    """Through the automatic class, with no code of ours: every key is used, none is missing, logits equal to 2e-5."""
    from transformers import AutoConfig, AutoModelForMultimodalLM

    model = randomised(OmniConfig(SMALL.model_copy(update={"tied_embeddings": tied}), VOCABULARY, CONFIG.token_ids))
    out = tmp_path / "export"
    to_transformers(model.state_dict(), model.config, tokenizer_dir, out, MEDIA, shard_bytes=shard_bytes)
    shards = list(out.glob("model*.safetensors"))
    assert (len(shards) == 1) == (shard_bytes == 10**9)
    assert all(shard.stat().st_size < shard_bytes + 20_000 for shard in shards), "headers come on top"
    theirs, info = AutoModelForMultimodalLM.from_pretrained(out, output_loading_info=True, dtype=torch.float32)
    assert type(theirs).__name__ == "Qwen3OmniMoeForConditionalGeneration"
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert AutoConfig.from_pretrained(out).thinker_config.text_config.head_dim == SMALL.head_dim
    inputs = pack(mixed(), theirs.thinker)
    with torch.no_grad():
        ours = model.head(model(**inputs.ours).hidden_BSH)[inputs.real_BS]
        expected = theirs.thinker(**inputs.theirs).logits[inputs.real_BS]
    assert (ours - expected).abs().max() <= 2e-5 * expected.abs().max()


def test_load_export_gives_the_same_weights_back(tmp_path: Path, tokenizer_dir: Path) -> None:
    model = randomised()
    to_transformers(model.state_dict(), model.config, tokenizer_dir, tmp_path / "out", MEDIA, shard_bytes=100_000)
    again = load_export(tmp_path / "out")
    expected = model.state_dict()
    assert list(again.state_dict()) == list(expected)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in again.state_dict().items())
    assert again.config.token_ids == CONFIG.token_ids


def test_we_load_what_transformers_saves(tmp_path: Path, tokenizer_dir: Path) -> None:
    from transformers import AutoModelForMultimodalLM

    model = randomised()
    to_transformers(model.state_dict(), model.config, tokenizer_dir, tmp_path / "ours", MEDIA)
    theirs = AutoModelForMultimodalLM.from_pretrained(tmp_path / "ours", dtype=torch.float32)
    theirs.save_pretrained(tmp_path / "theirs")
    again = load_export(tmp_path / "theirs")
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in again.state_dict().items())


def test_names_on_disk_equal_those_that_transformers_writes(tmp_path: Path, tokenizer_dir: Path) -> None:
    """Serving engines map names on disk: ours are exactly the ones that save_pretrained of the class gives."""
    from transformers import AutoModelForMultimodalLM

    model = randomised()
    to_transformers(model.state_dict(), model.config, tokenizer_dir, tmp_path / "ours", MEDIA)
    theirs = AutoModelForMultimodalLM.from_pretrained(tmp_path / "ours", dtype=torch.float32)
    theirs.save_pretrained(tmp_path / "theirs")

    def names(folder: Path) -> dict[str, list[int]]:
        with safe_open(folder / "model.safetensors", framework="pt") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118

    assert names(tmp_path / "ours") == names(tmp_path / "theirs")


def published() -> dict[str, Any]:
    """config.json of a checkpoint of the published model: its sizes, in the field names of transformers 4."""
    text = {
        "vocab_size": 152064, "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32,
        "num_key_value_heads": 4, "head_dim": 128, "intermediate_size": 768, "num_experts": 128,
        "num_experts_per_tok": 8, "moe_intermediate_size": 768, "mlp_only_layers": [], "rms_norm_eps": 1e-6,
        "max_position_embeddings": 65536, "initializer_range": 0.02, "hidden_act": "silu", "rope_theta": 1_000_000,
        "rope_scaling": {"rope_type": "default", "mrope_section": [24, 20, 20], "mrope_interleaved": True},
    }  # fmt: skip
    return whole_config(text)


def class_defaults() -> dict[str, Any]:
    """The class's own defaults, but for what they leave open or contradict: head size, sections, encoder widths."""
    from transformers import Qwen3OmniMoeConfig

    text = Qwen3OmniMoeConfig().thinker_config.text_config.to_dict()
    text |= {"head_dim": 128, "rope_parameters": {**text["rope_parameters"], "mrope_section": [24, 20, 20]}}
    return whole_config({**text, "vocab_size": 152064})


def whole_config(text: dict[str, Any]) -> dict[str, Any]:
    from transformers import Qwen3OmniMoeConfig

    thinker = Qwen3OmniMoeConfig().thinker_config
    ids = {"audio": 151675, "image": 151655, "video": 151656, "audio_start": 151669, "audio_end": 151670}
    ids |= {"vision_start": 151652, "vision_end": 151653}
    return {
        "architectures": ["Qwen3OmniMoeForConditionalGeneration"], "enable_audio_output": False,
        "im_start_token_id": 151644, "im_end_token_id": 151645,
        "thinker_config": {
            "text_config": text,
            "vision_config": {**thinker.vision_config.to_dict(), "out_hidden_size": text["hidden_size"]},
            "audio_config": {**thinker.audio_config.to_dict(), "output_dim": text["hidden_size"]},
            **{f"{name}_token_id": number for name, number in ids.items()},
            "position_id_per_seconds": 13, "tie_word_embeddings": False,
        },
    }  # fmt: skip


@pytest.mark.parametrize("document", [published, class_defaults], ids=lambda document: document.__name__)
def test_a_checkpoint_of_the_real_model_maps_name_by_name(document: Callable[[], dict[str, Any]]) -> None:
    """31.7 billion parameters on the meta device; names on disk by transformers' own conversion: none spare or missing.

    Both ways: each of its entries has a place of its own size here, and our export has exactly its entries.
    """
    from transformers import Qwen3OmniMoeConfig, Qwen3OmniMoeForConditionalGeneration
    from transformers.core_model_loading import revert_weight_conversion

    config = config_from_json(document(), "config.json")
    with torch.device("meta"):
        ours = OmniModel(config)
        theirs = Qwen3OmniMoeForConditionalGeneration(Qwen3OmniMoeConfig(**document()))
    on_disk = {name: t.shape for name, t in revert_weight_conversion(theirs, theirs.state_dict()).items()}
    parameters = dict(ours.named_parameters())
    places = {name: place_of(name) for name in on_disk}
    assert len(set(places.values())) == len(on_disk) > 10_000
    assert all(place.of(parameters[place.parameter]).shape == on_disk[name] for name, place in places.items())
    assert missing_places(parameters, set(places.values())) == []
    assert {name: t.shape for name, t in export_weights(ours.state_dict(), config)} == on_disk
    assert count_parameters(config).total == sum(p.numel() for p in theirs.parameters())


def test_what_transformers_makes_comes_here_and_goes_back(tmp_path: Path, tokenizer_dir: Path) -> None:
    """Its own class, its own first values, saved by it in shards → our model → our export → its class: equal bits and,
    in the middle, equal logits."""
    from transformers import AutoModelForMultimodalLM, Qwen3OmniMoeConfig, Qwen3OmniMoeForConditionalGeneration

    torch.manual_seed(3)
    theirs = Qwen3OmniMoeForConditionalGeneration(Qwen3OmniMoeConfig(**config_json(MIDDLE))).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="2MB")
    assert len(list((tmp_path / "theirs").glob("model-*.safetensors"))) > 2
    ours = load_export(tmp_path / "theirs")
    inputs = pack(mixed(MIDDLE), theirs.thinker, MIDDLE)
    with torch.no_grad():
        got = ours.head(ours(**inputs.ours).hidden_BSH)[inputs.real_BS]
        expected = theirs.thinker(**inputs.theirs).logits[inputs.real_BS]
    assert (got - expected).abs().max() <= 5e-6 * expected.abs().max()
    media = MediaRule(patch=4, mel_bins=32)
    to_transformers(ours.state_dict(), ours.config, tokenizer_dir, tmp_path / "ours", media, shard_bytes=2_000_000)
    again = AutoModelForMultimodalLM.from_pretrained(tmp_path / "ours", dtype=torch.float32).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in theirs.state_dict().items())


class ReadOnce(Mapping[str, torch.Tensor]):
    """Weights that are read when they are asked for, as from a checkpoint larger than memory."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        self.weights = weights
        self.read: list[str] = []
        self.alive: list[weakref.ref[torch.Tensor]] = []
        self.most_alive = 0

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor = self.weights[name].clone()
        self.read.append(name)
        self.alive = [reference for reference in self.alive if reference() is not None] + [weakref.ref(tensor)]
        self.most_alive = max(self.most_alive, len(self.alive))
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)


def test_export_asks_for_each_tensor_once_and_holds_a_shard(tmp_path: Path, tokenizer_dir: Path) -> None:
    model = randomised()
    lazy = ReadOnce(model.state_dict())
    to_transformers(lazy, model.config, tokenizer_dir, tmp_path / "lazy", MEDIA, shard_bytes=100_000)
    assert lazy.read == list(lazy.weights)
    assert lazy.most_alive <= 2, "the one that is written and the one that is asked for"
    whole = to_transformers(model.state_dict(), CONFIG, tokenizer_dir, tmp_path / "whole", MEDIA, shard_bytes=100_000)
    assert all(file.read_bytes() == (tmp_path / "lazy" / file.name).read_bytes() for file in whole)


def test_export_is_the_same_bytes_again(tmp_path: Path, tokenizer_dir: Path) -> None:
    model = randomised()
    first = to_transformers(model.state_dict(), model.config, tokenizer_dir, tmp_path / "a", MEDIA, shard_bytes=100_000)
    again = to_transformers(model.state_dict(), model.config, tokenizer_dir, tmp_path / "b", MEDIA, shard_bytes=100_000)
    assert [f.name for f in first] == [f.name for f in again]
    assert sorted(f.name for f in (tmp_path / "a").iterdir()) == [f.name for f in first]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(first, again, strict=True))


def test_a_second_export_leaves_nothing_of_the_first(tmp_path: Path, tokenizer_dir: Path) -> None:
    model = randomised()
    to_transformers(model.state_dict(), model.config, tokenizer_dir, tmp_path / "a", MEDIA, shard_bytes=100_000)
    written = to_transformers(model.state_dict(), model.config, tokenizer_dir, tmp_path / "a", MEDIA)
    assert sorted((tmp_path / "a").iterdir()) == written


def test_bf16_export(tmp_path: Path, tokenizer_dir: Path) -> None:
    model = randomised()
    to_transformers(model.state_dict(), model.config, tokenizer_dir, tmp_path / "o", MEDIA, dtype=torch.bfloat16)
    again = load_export(tmp_path / "o")
    assert {p.dtype for p in again.parameters()} == {torch.bfloat16}
    assert json.loads((tmp_path / "o" / "config.json").read_text())["dtype"] == "bfloat16"


def test_tokenizer_image_processor_and_feature_extractor_load(tmp_path: Path, tokenizer_dir: Path) -> None:
    """The parts of the processor that need no torchvision, by their automatic classes (the video part needs it)."""
    from PIL import Image
    from transformers import AutoFeatureExtractor, AutoTokenizer
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    model = randomised()
    out = tmp_path / "out"
    to_transformers(model.state_dict(), model.config, tokenizer_dir, out, MEDIA)
    tokenizer = AutoTokenizer.from_pretrained(out)
    for name, token in MEDIA_TOKENS.items():
        assert getattr(tokenizer, name) == token
        assert tokenizer.convert_tokens_to_ids(token) == SPECIALS[token]
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}],
        tokenize=False, add_generation_prompt=True,
    )  # fmt: skip
    assert text == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What is it?<|im_end|>\n<|im_start|>assistant\n"
    )
    processor = Qwen2VLImageProcessorPil.from_pretrained(out)
    for height, width in ((30, 47), (64, 64), (200, 90), (9, 9)):
        image = Image.fromarray(np.zeros((height, width, 3), np.uint8))
        got = processor(images=image, return_tensors="np")
        assert tuple(got["image_grid_thw"][0]) == MEDIA.image_grid(height, width)
    extractor = AutoFeatureExtractor.from_pretrained(out)
    mel = extractor(np.zeros(16_000, np.float32), sampling_rate=16_000, padding=True, return_tensors="np")
    assert mel["input_features"].shape == (1, MEDIA.mel_bins, MEDIA.audio_frames(16_000))


@pytest.mark.parametrize("name", ["tiny", "1b", "10b", "10b-active"])
def test_config_round_trip(name: str) -> None:
    shape = preset_shapes()[name]
    config = OmniConfig(shape, 152064, TokenIds())
    again = config_from_json(json.loads(json.dumps(config_json(config))), "test")
    start = {"init": "normal", "position_std": 0.02, "init_std": shape.init_std}
    assert again.shape == ModelShape(**{**shape.model_dump(), **start}), "all but how weights begin"
    assert (again.vocabulary, again.token_ids, again.position_id_per_seconds) == (152064, TokenIds(), 13)


def test_bad_folders_are_refused(tmp_path: Path, tokenizer_dir: Path) -> None:
    model = randomised()
    with pytest.raises(InputError, match=r"no tokenizer\.json"):
        to_transformers(model.state_dict(), model.config, tmp_path, tmp_path / "o", MEDIA)
    with pytest.raises(InputError, match="lm_head"):
        partial = {k: v for k, v in model.state_dict().items() if k != "lm_head.weight"}
        to_transformers(partial, model.config, tokenizer_dir, tmp_path / "o", MEDIA)
    with pytest.raises(InputError, match=r"no config\.json"):
        load_export(tmp_path)
    out = tmp_path / "out"
    to_transformers(model.state_dict(), model.config, tokenizer_dir, out, MEDIA, shard_bytes=100_000)
    index = json.loads((out / "model.safetensors.index.json").read_text())
    outside = {**index, "weight_map": {**index["weight_map"], "x": "../x.safetensors"}}
    (out / "model.safetensors.index.json").write_text(json.dumps(outside))
    with pytest.raises(InputError, match="outside"):
        load_export(out)
    (out / "model.safetensors.index.json").write_text(json.dumps(index))
    next(iter(out.glob("model-00002*"))).unlink()
    with pytest.raises(InputError, match="missing"):
        load_export(out)
    document = json.loads((out / "config.json").read_text())
    other = json.loads(json.dumps(document))
    other["thinker_config"]["text_config"]["norm_topk_prob"] = False
    (out / "config.json").write_text(json.dumps(other))
    with pytest.raises(InputError, match=r"text_config\.norm_topk_prob is False, the model computes True"):
        load_export(out)
    (out / "config.json").write_text(json.dumps({**document, "architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(InputError, match="LlamaForCausalLM"):
        load_export(out)


def test_export_needs_no_transformers() -> None:
    code = "import sys, expedition.model.export; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_same_seed_same_start_whatever_the_order() -> None:
    first, second = OmniModel(CONFIG, seed=5).state_dict(), OmniModel(CONFIG, seed=5).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = OmniModel(CONFIG, seed=6).state_dict()
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_thinker_of_tiny_is_the_same_size() -> None:
    config = OmniConfig(preset_shapes()["tiny"], 512, CONFIG.token_ids)
    model = OmniModel(config)
    theirs = transformers_thinker(model)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in theirs.parameters())
