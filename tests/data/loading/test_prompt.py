import numpy as np
import pytest

from expedition.data.loading import Batch, Loader, ScanPlan, make_batch, scan
from expedition.data.loading.expand import IGNORED, expand_document
from expedition.data.loading.media import image_patches
from expedition.data.loading.prompt import stored_tokens
from expedition.data.loading.tokens import MediaTokenIds
from expedition.data.records import KINDS, Insert
from expedition.data.records import PLACEHOLDER as O
from expedition.data.tokenizer import Tokenizer
from expedition.errors import InputError

from .made_version import clip, generated, image, sound

GENERATOR = np.random.default_rng(5)


def test_prompts_are_rows_of_their_own(tokenizer: Tokenizer, programme) -> None:
    prompts = [
        ("How many?", ()),
        (f"{O}red circle", (image(GENERATOR),)),
        (f"a{O}b{O}", (clip(GENERATOR), sound(GENERATOR))),
    ]
    batch = make_batch(prompts, tokenizer, programme.media)
    assert isinstance(batch, Batch)
    assert batch.tokens_BS.shape[0] == 3 and batch.tokens_BS.shape[1] % 8 == 0
    assert batch.document_BS.max(axis=1).tolist() == [1, 1, 1]
    assert batch.grid_G3.tolist() == [[1, 8, 8], [2, 4, 4]] and batch.is_video_G.tolist() == [False, True]
    assert batch.mel_lengths_A.tolist() == [75]


def test_prompt_is_expanded_as_the_loader_expands_the_same_document(data, programme, tokenizer) -> None:
    """A stored document and the same document as a prompt give the same tokens, labels, positions and media."""
    loader = Loader(data, programme, "main")
    loader.batch(0)
    version = loader._open[0].version
    made = {document.text: document for document in generated(1)}
    sizes = np.concatenate([part.expansion(programme.media).tokens for part in version.index.parts()])
    checked = 0
    for document in range(0, version.index.documents, 7):
        stored = made[version.reader.description(document)["text"]]
        if sizes[document] > 256:
            continue
        batch = make_batch([(stored.text, stored.inserts)], tokenizer, programme.media, end=True)
        tokens, media = version.reader.tokens(document), version.reader.media(document)
        expanded = expand_document(tokens, media, version.ids, programme.media)
        length = len(expanded.tokens)
        assert batch.tokens_BS[0, :length].tolist() == expanded.tokens.tolist()
        assert batch.labels_BS[0, :length].tolist() == expanded.labels.tolist()
        np.testing.assert_array_equal(batch.positions_3BS[:, 0, :length], expanded.positions)
        checked += 1
    assert checked > 10


def test_special_words_in_text_stay_text(tokenizer: Tokenizer) -> None:
    tokens = stored_tokens("<|image|>", (), tokenizer)
    assert tokens.tolist() == list(b"<|image|>")


def test_special_inserts_are_one_token(tokenizer: Tokenizer) -> None:
    tokens = stored_tokens(f"a{O}b", (Insert("special", "<|camera_front|>"),), tokenizer)
    assert tokens.tolist() == [97, tokenizer.special("<|camera_front|>"), 98]


def test_placeholders_and_inserts_must_agree(tokenizer: Tokenizer, programme) -> None:
    with pytest.raises(InputError, match="1 placeholders for 0 inserts"):
        make_batch([(O, ())], tokenizer, programme.media)


def test_prompt_that_is_too_long_is_an_error(tokenizer: Tokenizer, programme) -> None:
    with pytest.raises(InputError, match="16 are allowed"):
        make_batch([("x" * 17, ())], tokenizer, programme.media, sequence_tokens=16)


def test_medium_must_fit_its_token(tokenizer: Tokenizer, programme) -> None:
    ids = MediaTokenIds.from_special(tokenizer.special)
    picture = image_patches(np.zeros((64, 64, 3), np.uint8), programme.media)
    with pytest.raises(InputError, match="does not fit its medium"):
        expand_document(np.asarray([ids.audio], np.int32), [picture], ids, programme.media)
    with pytest.raises(InputError, match="0 insert tokens for 1"):
        expand_document(np.asarray([5], np.int32), [picture], ids, programme.media)


def test_labels_are_the_next_token_but_for_pads_and_the_end(tokenizer: Tokenizer, programme) -> None:
    ids = MediaTokenIds.from_special(tokenizer.special)
    picture = image_patches(np.zeros((16, 16, 3), np.uint8), programme.media)
    document = expand_document(np.asarray([65, ids.image, 66, 67], np.int32), [picture], ids, programme.media)
    assert document.tokens.tolist() == [65, ids.vision_start, ids.image_pad, ids.vision_end, 66, 67]
    assert document.labels.tolist() == [ids.vision_start, IGNORED, IGNORED, 66, 67, IGNORED]


def test_a_sound_directly_after_its_clip_joins_it_where_the_rule_says_so(tokenizer: Tokenizer, programme) -> None:
    """The number of tokens is the same either way, so a pack plan holds; a sound elsewhere stays by itself."""
    inserts = (clip(GENERATOR), sound(GENERATOR), sound(GENERATOR))
    document = [(f"a{O}{O}b{O}", inserts)]
    joined_rule = programme.media.model_copy(update={"audio_in_video": True})
    apart, joined = (make_batch(document, tokenizer, rule) for rule in (programme.media, joined_rule))
    ids = MediaTokenIds.from_special(tokenizer.special)
    tokens = joined.tokens_BS[0].tolist()
    assert tokens[1:3] == [ids.vision_start, ids.audio_start]
    end = tokens.index(ids.audio_end)
    assert tokens[end : end + 3] == [ids.audio_end, ids.vision_end, ord("b")]
    assert tokens[end + 3] == ids.audio_start, "the second sound has no clip"
    assert sorted(tokens) == sorted(apart.tokens_BS[0].tolist())
    assert joined.real_tokens == apart.real_tokens
    for name in ("patches_PC", "mel_MF", "grid_G3", "mel_lengths_A"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(apart, name))
    pads = np.isin(joined.tokens_BS[0], ids.pads)
    assert (joined.labels_BS[0][pads] == IGNORED).all()


def test_a_scan_holds_every_sequence_once_kind_by_kind(data, programme) -> None:
    plan = ScanPlan("dataset", "v0.1", sequence_tokens=256, rows=5)
    batches = list(scan(data, programme, plan))
    loader = Loader(data, programme, "main")
    loader.batch(0)
    pack = loader._open[0].version.pack
    ids = [int(sample) for _, batch in batches for sample in batch.sample_ids]
    assert ids == list(range(pack.sequences))
    assert sum(batch.real_tokens for _, batch in batches) == int(pack.costs(np.arange(pack.sequences))[0].sum())
    for kind, batch in batches:
        assert set(batch.kind_BS[batch.kind_BS >= 0].tolist()) == {KINDS.index(kind)}
    limited = list(scan(data, programme, ScanPlan("dataset", "v0.1", 256, kinds=("web",), limit=7)))
    assert [kind for kind, _ in limited] == ["web"] and limited[0][1].tokens_BS.shape == (7, 256)
