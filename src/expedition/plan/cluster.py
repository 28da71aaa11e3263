"""The machine that a programme runs on: accelerators, links, storage, price, burn-in."""

from __future__ import annotations

from pydantic import Field, model_validator

from expedition.plan.section import Section


class LinkPlan(Section):
    """Bandwidth between accelerators, one direction, a GPU."""

    intra_node_bytes_per_s: float = Field(default=450e9, gt=0)
    """NVLink 4 on an HGX H100: 900 GB/s both directions together."""
    inter_node_bytes_per_s: float = Field(default=50e9, gt=0)
    """One 400 Gbit/s InfiniBand port a GPU."""
    efficiency: float = Field(default=0.8, gt=0, le=1)
    """Share of the nominal bandwidth that large collectives reach."""


class StoragePlan(Section):
    """What the data path must carry."""

    read_bytes_per_s: float = Field(default=10e9, gt=0)
    """Sustained read that a batch of `batch_samples` needs (the chapter's 10 GB/s)."""
    batch_samples: int = Field(default=1024, gt=0)
    """Six-camera samples in a batch (the chapter's 1024)."""
    cameras: int = Field(default=6, gt=0)
    frame_width: int = Field(default=854, gt=0)
    frame_height: int = Field(default=480, gt=0)
    frames_per_s: float = Field(default=12.0, gt=0)
    compression_ratio: float = Field(default=8.0, ge=1)
    """Raw bytes to stored bytes; the chapter's 10 MB/s a sample implies 7 to 9."""
    cache_bytes: int = Field(default=30_000_000_000_000, ge=0)
    """Local SSD cache of a node, bytes."""


class BurninPlan(Section):
    """How long and how hard a node is tested before it may serve."""

    hours: float = Field(default=48.0, gt=0)
    """The chapter's 48 h at full load with a training-like job."""
    steps: int = Field(default=0, ge=0)
    """Rounds of the load; 0 = until `hours` are over. A short burn-in states rounds."""
    matrix_size: int = Field(default=512, ge=32)
    """Side of the square matrices of the compute load."""
    memory_bytes: int = Field(default=64 * 2**20, ge=2**20)
    """Bytes that are written, permuted and checked a round."""
    file_bytes: int = Field(default=8 * 2**20, ge=2**16)
    """Bytes that are written to the file system, read back and checked a round."""
    slow_factor: float = Field(default=1.5, gt=1)
    """A worker slower than this many times the median of its peers is suspect."""


class ClusterPlan(Section):
    """Accelerators, price and acceptance thresholds of the cluster."""

    gpus: int = Field(default=256, ge=1)
    """Accelerators in all (the chapter's 256)."""
    gpus_per_node: int = Field(default=8, ge=1)
    price_usd_per_gpu_hour: float = Field(default=4.0, ge=0)
    """The chapter's $4."""
    gpu: str = "H100 SXM 80GB"
    """Accelerator model; `cpu` for a rehearsal without one."""
    peak_flops: float = Field(default=989e12, gt=0)
    """Dense bf16 FLOP/s of one accelerator: the denominator of MFU."""
    memory_bytes: int = Field(default=80 * 10**9, gt=0)
    """Memory of one accelerator."""
    links: LinkPlan = LinkPlan()
    storage: StoragePlan = StoragePlan()
    burnin: BurninPlan = BurninPlan()
    min_effective_utilisation: float = Field(default=0.95, gt=0, le=1)
    """Productive seconds over wall seconds (the chapter's 95 %)."""
    drill_bound_s: float = Field(default=600.0, gt=0)
    """A fault drill passes when training makes steps again within this many seconds of the fault."""
    outage_hours: float = Field(default=12.0, gt=0)
    """Length of the outage whose cost is printed (the chapter's 12 h)."""

    @model_validator(mode="after")
    def _whole_nodes(self) -> ClusterPlan:
        if self.gpus > self.gpus_per_node and self.gpus % self.gpus_per_node:
            raise ValueError(
                f"gpus ({self.gpus}) must be a multiple of gpus_per_node ({self.gpus_per_node}): whole nodes are leased"
            )
        return self

    @property
    def nodes(self) -> int:
        """Nodes of `gpus_per_node` accelerators."""
        return max(1, self.gpus // self.gpus_per_node)
