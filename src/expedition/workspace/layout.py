"""The one place that knows where things are: every key of a workspace, as strings with `/`."""

from __future__ import annotations

PROGRAMME = "programme.yaml"
GATES = "gates.json"
LEDGER = "compliance/ledger.jsonl"
EVENTS = "events"
LEASES = "leases"
PAGE = "watch/index.html"
PAGE_HEALTH = "watch/page.json"
GOODPUT = "cluster/goodput.json"
VOYAGE_STEPS = "voyage/steps"
DATASET = "dataset"
BUILDS = "data/builds"


def dataset(version: str, name: str = DATASET) -> str:
    """Folder of one immutable dataset version."""
    return f"data/{name}/{version}"


def manifest(version: str, name: str = DATASET) -> str:
    """Manifest of a dataset version; it is written last and makes the version exist."""
    return f"{dataset(version, name)}/manifest.json"


def signature(version: str, name: str = DATASET) -> str:
    """Signature of a dataset version: beside its folder, so that signing again never writes into the version."""
    return f"data/signatures/{name}/{version}.dsse.json"


def public_key(fingerprint: str) -> str:
    """A public key (PEM) that something here was signed with, by the SHA-256 of its file."""
    return f"keys/{fingerprint}.pem"


def build_status(version: str) -> str:
    """How far an unfinished build of a version is."""
    return f"{BUILDS}/{version}.json"


def run(name: str) -> str:
    """Folder of a training run."""
    return f"runs/{name}"


def run_summary(name: str) -> str:
    """Summary of a run, rewritten at each stop."""
    return f"{run(name)}/summary.json"


def metrics(name: str) -> str:
    """Folder of a run's metric segments."""
    return f"{run(name)}/metrics"


def checkpoints(run_name: str) -> str:
    """Folder of a run's checkpoints."""
    return f"{run(run_name)}/checkpoints"


def checkpoint(run_name: str, name: str) -> str:
    """Folder of one checkpoint."""
    return f"{checkpoints(run_name)}/{name}"


def report(name: str) -> str:
    """Machine-readable twin of a report; the page for people has the same name with `.md`."""
    return f"reports/{name}.json"


def report_page(name: str) -> str:
    """A report for people."""
    return f"reports/{name}.md"


def incident(incident_id: str) -> str:
    """Folder of one incident."""
    return f"incidents/{incident_id}"


def evaluation(checkpoint_name: str) -> str:
    """Folder of one checkpoint's evaluation."""
    return f"evaluations/{checkpoint_name}"


def release(version: str) -> str:
    """Folder of one release."""
    return f"release/{version}"


def node(name: str) -> str:
    """State and history of one node of the cluster."""
    return f"cluster/nodes/{name}.json"
