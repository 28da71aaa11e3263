"""The export: transformers loads it with its own class and equal logits, we load it back, bad folders are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from expedition.data.tokenizer.chat import CHAT_TEMPLATE
from expedition.errors import InputError
from expedition.model.config import OmniConfig
from expedition.model.export import load_export, to_transformers
from expedition.model.export_config import config_from_json, config_json
from expedition.model.omni import OmniModel
from expedition.model.processor import MEDIA_TOKENS, call_arguments
from expedition.plan.media import MediaRule
from expedition.plan.shapes import ModelShape, TokenIds, preset_shapes

from .inputs import CONFIG, SMALL, VOCABULARY, Row, Writer, pack, randomised, transformers_thinker

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


def mixed() -> list[Row]:
    w = Writer()
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


def test_whole_processor_loads_and_feeds_the_model(tmp_path: Path, tokenizer_dir: Path) -> None:
    """Where torchvision is: text, picture, clip and sound through AutoProcessor into the class."""
    pytest.importorskip("torchvision", reason="transformers' video processor needs torchvision")
    from transformers import AutoModelForMultimodalLM, AutoProcessor

    model = randomised()
    out = tmp_path / "out"
    to_transformers(model.state_dict(), model.config, tokenizer_dir, out, MEDIA)
    processor = AutoProcessor.from_pretrained(out)
    noise = np.random.default_rng(0)
    text = "<|vision_start|><|image_pad|><|vision_end|>a<|vision_start|><|video_pad|><|vision_end|>b" + (
        "<|audio_start|><|audio_pad|><|audio_end|>cd"
    )
    inputs = processor(
        text=[text],
        images=[noise.integers(0, 255, (30, 40, 3), dtype=np.uint8)],
        videos=[noise.integers(0, 255, (4, 24, 32, 3), dtype=np.uint8)],
        audio=[noise.standard_normal(23_000).astype(np.float32)],
        return_tensors="pt",
        **call_arguments(MEDIA, frames_per_s=4.0),
    )
    assert inputs["video_second_per_grid"][0] == 0.5
    assert tuple(inputs["image_grid_thw"][0].tolist()) == MEDIA.image_grid(30, 40)
    assert tuple(inputs["video_grid_thw"][0].tolist()) == MEDIA.video_grid(4, 24, 32)
    assert int(inputs["feature_attention_mask"].sum()) == MEDIA.audio_frames(23_000)
    theirs = AutoModelForMultimodalLM.from_pretrained(out, dtype=torch.float32)
    with torch.no_grad():
        assert theirs.thinker(**inputs).logits.isfinite().all()


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
