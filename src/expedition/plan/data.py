"""The data section: mix, sources' policies, the stage list of each kind, tokenizer, storage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from expedition.plan.section import Section

Kind = Literal["web", "code", "books", "image-text", "video-text", "audio-text", "driving", "synthetic", "chat"]

LicenceClass = Literal["permissive", "copyleft", "restricted", "unknown"]


class MixShare(Section):
    """One line of the data mix."""

    kind: Kind
    """Kind of document; driving data is a stated sub-share of video-text."""
    description: str = ""
    """What the line stands for in the design document."""
    tokens: float = Field(gt=0)
    """Tokens planned over the programme."""
    weight: float | None = Field(default=None, ge=0)
    """Share of a batch's tokens; None: in proportion to `tokens`. Set where a stage of training samples otherwise."""
    max_epochs: float | None = Field(default=None, gt=0)
    """Most passes of a run over a document of the kind; None: the mix's."""
    licences: tuple[LicenceClass, ...] | None = None
    """Classes of licence that documents of the kind may have; None: any that the ledger approves."""


class DataMix(Section):
    """Planned tokens by kind."""

    version: str
    """Version of the table in the design document."""
    total_tokens: float = Field(gt=0)
    """Tokens in all; must equal the sum of the shares."""
    shares: tuple[MixShare, ...]
    """The lines of the table."""
    driving_share_of_video: float = Field(default=0.2, ge=0, le=1)
    """Part of the video-text tokens that is driving data."""
    max_epochs: float | None = Field(default=None, gt=0)
    """Most passes of a run over any document; None: no limit."""
    max_synthetic_share: float | None = Field(default=None, gt=0, le=1)
    """Largest share of synthetic tokens in a version, and in what a run reads; what is beyond it is left out of the
    version. None: a version keeps all, and a run reads the planned share."""
    temperature: float = Field(default=1.0, ge=1)
    """T of p_l ~ n_l^(1/T), the share of a language in its kind: 1 as found, larger lifts small ones (arXiv:1907.05019,
    arXiv:2010.11934)."""

    @model_validator(mode="after")
    def _sums(self) -> DataMix:
        total = sum(share.tokens for share in self.shares)
        if abs(total - self.total_tokens) > 1e-6 * self.total_tokens:
            raise ValueError(f"the shares sum to {total:.4g} tokens, total_tokens is {self.total_tokens:.4g}")
        kinds = [share.kind for share in self.shares]
        for kind in kinds:
            if kinds.count(kind) > 1:
                raise ValueError(f"kind {kind!r} has two lines")
        planned, most = self.weights().get("synthetic", 0.0), self.max_synthetic_share
        if most is not None and planned > most * (1 + 1e-9):
            raise ValueError(f"{planned:.3g} of a batch is planned to be synthetic, max_synthetic_share is {most:.3g}")
        return self

    def weights(self) -> dict[str, float]:
        """Share of each kind in a batch, summing to 1; driving is split off video-text unless it has its own line."""
        raw = {share.kind: share.tokens if share.weight is None else share.weight for share in self.shares}
        if "driving" not in raw and "video-text" in raw:
            raw["driving"] = raw["video-text"] * self.driving_share_of_video
            raw["video-text"] -= raw["driving"]
        total = sum(raw.values())
        return {kind: value / total for kind, value in raw.items()}


class SourcePolicy(Section):
    """What is decided about one source before any of it is used."""

    kind: Kind
    """Kind of its documents."""
    licence: str | None = None
    """SPDX identifier or name, where one licence covers the source."""
    disputed: bool = False
    """Its licence or consent is disputed: needs a minimal-use or anonymise policy in the ledger."""
    pii: Literal["drop", "redact", "keep"] = "redact"
    """What happens to personal data that is found."""
    pii_names: bool = False
    """Look for persons' names too, by the names model (English and other Latin script, Chinese); a fifth of the speed."""
    toxicity_threshold: float = Field(default=0.5, ge=0, le=1)
    """Documents with a higher score are dropped."""
    nsfw_threshold: float = Field(default=0.5, ge=0, le=1)
    """Documents with a picture of a higher score are dropped, where the stage `nsfw` is named; 1 keeps all."""
    weight: float = Field(default=1.0, ge=0)
    """Passes over the source for one pass over others of its kind; 0 leaves it out of training."""
    max_epochs: float | None = Field(default=None, gt=0)
    """Most passes of a run over its documents; None: the kind's."""
    licences: tuple[LicenceClass, ...] | None = None
    """Classes of licence that its documents may have; None: the kind's."""


class TokenizerPlan(Section):
    """The vocabulary and the special tokens."""

    base: str = "qwen"
    """Base vocabulary."""
    base_size: int = Field(default=151_643, ge=256)
    """Entries of the base vocabulary."""
    added_from: int = Field(default=151_669, ge=256)
    """First id of our own special tokens; Qwen's 26 added tokens lie before it."""
    padded_size: int = Field(default=152_064, ge=256)
    """Rows of the embedding table."""
    action_bins: int = Field(default=256, ge=2)
    """Discrete action tokens."""
    compact_entries: int | None = Field(default=None, ge=256)
    """None: the whole vocabulary. A number: at most that many entries, those the data uses, the rest as bytes."""


class DedupPlan(Section):
    """Fuzzy deduplication."""

    shingle: int = Field(default=5, ge=1)
    """Words (characters where a script has no spaces) of one shingle."""
    permutations: int = Field(default=125, ge=16)
    """Length of a MinHash signature."""
    bands: int = Field(default=25, ge=1)
    """Bands of the LSH table; must divide `permutations`."""
    threshold: float = Field(default=0.7, gt=0, le=1)
    """Verified Jaccard similarity from which two documents are one."""
    media_with_other_words: bool = True
    """Whether one picture, clip or sound with other words in the same language is a copy; false keeps every caption of a
    picture."""

    @model_validator(mode="after")
    def _divides(self) -> DedupPlan:
        if self.permutations % self.bands:
            raise ValueError(f"bands={self.bands} does not divide permutations={self.permutations}")
        return self


class QualityPlan(Section):
    """Quality rules of text and the optional learned score."""

    rules: Literal["adapted", "published"] = "adapted"
    """Thresholds: `adapted` to all scripts and to pages of code, tables and formulas; `published`: the papers' own."""
    model: str | None = None
    """File of a learned quality score (`expedition data train-quality`); None: rules alone."""
    min_score: float = Field(default=0.5, ge=0, le=1)
    """Documents with a lower learned score are dropped."""


class SiteLinesPlan(Section):
    """Lines that repeat over the documents of one site."""

    min_documents: int = Field(default=4, ge=0)
    """Documents of a host in which a line must stand to be its template; 0: the step is left out."""
    min_share: float = Field(default=0.1, ge=0, le=1)
    """Share of the host's documents in which it must stand."""


class StoragePlan(Section):
    """The six-camera estimate of the chapter."""

    cameras: int = 6
    """Cameras of a rig."""
    height: int = 480
    """Frame height, pixels."""
    width: int = 854
    """Frame width, pixels."""
    channels: int = 3
    """Bytes a pixel."""
    rate_hz: float = 12.0
    """Frames a second and camera."""
    stated_sample_bytes_per_s: float = 10e6
    """The chapter's figure after compression, bytes a second and sample."""
    batch_samples: int = 1024
    """Samples of a global batch."""
    needed_bytes_per_s: float = 10e9
    """Sustained read rate that is asked for, bytes a second."""


class LanguagePlan(Section):
    """Language identification."""

    model: str | None = None
    """File of an own model: profiles of `expedition data train-language` (.npz) in place of the packaged ones, or a
    fastText model (.bin, .ftz: GlotLID, OpenLID) beside them. None: the packaged ones alone."""
    allowed: tuple[str, ...] | None = None
    """Primary language tags whose documents stay, such as en, zh, yue; None keeps every language and "und"."""


class ToxicityPlan(Section):
    """Who judges toxicity, and how much of a text must be toxic."""

    model: str = "packaged"
    """`packaged`; a .json file of `expedition data train-toxicity`; an .onnx file (extra `onnx`); or the name of an entry
    point of `expedition.toxicity`, a function from texts to probabilities."""
    min_share: float = Field(default=0.15, ge=0, le=1)
    """A document is dropped only where at least this share of its characters stands in toxic sentences."""


class DataPlan(Section):
    """Everything that is decided about data."""

    mix: DataMix
    """Planned tokens by kind."""
    sources: dict[str, SourcePolicy] = Field(default_factory=dict)
    """Decisions about named sources; a source found in a folder and not named here gets its kind's defaults."""
    stages: dict[Kind, tuple[str, ...]]
    """The stage list of each kind, in order, by name (`expedition data stages` lists them)."""
    extraction: Literal["fast", "precise"] = "fast"
    """How the main text of web pages is found: `precise` looks twice at doubtful parts of a page, at a fraction of the speed."""
    tokenizer: TokenizerPlan = TokenizerPlan()
    """Vocabulary and special tokens."""
    dedup: DedupPlan = DedupPlan()
    """Fuzzy deduplication."""
    toxicity: ToxicityPlan = ToxicityPlan()
    """Who judges toxicity."""
    language: LanguagePlan = LanguagePlan()
    """Language identification."""
    quality: QualityPlan = QualityPlan()
    """Quality rules of text."""
    site_lines: SiteLinesPlan = SiteLinesPlan()
    """Lines that repeat over a site."""
    shard_bytes: int = Field(default=256 << 20, ge=1 << 16)
    """Target size of a shard, bytes."""
    batch_documents: int = Field(default=256, ge=1)
    """Documents of one record batch."""
    heldout_fraction: float = Field(default=0.02, ge=0, lt=0.5)
    """Part of the documents kept out of training for perplexity, chosen by a hash of the id."""
    seed: int = 7
    """Seed of every choice in a build."""
    storage: StoragePlan = StoragePlan()
    """The storage estimate."""
