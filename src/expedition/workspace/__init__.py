"""workspace: one folder or object-store prefix with a fixed layout, where every room reads and writes, safely.

Why a room: bytes survive a kill at any moment, two writers never overwrite each other, and what happened is on a hash
chain. It knows nothing of data, models or training; it refuses appends and renames, which object stores lack.
Verbs (all that other rooms may call):
    Workspace.open(place, create) -> Workspace      folder path or s3 URL; writes workspace.json once
    Workspace.read_json / write_json / hash         artefacts with schema versions; writes are atomic
    Workspace.events(writer).append(kind, fields)   one durable event on this process's chain
    Workspace.lease(name)                           one live writer; `check()` before each commit
    layout                                          every key, as functions
    store_at(place, create) -> Store                a place that need not be a workspace: a copy, a destination
    AccessDenied, AlreadyExists, NotFound           what a store raises
    Event, Lease, Store                             the nouns
Seams: Store (FolderStore, ObjectStore); a third needs the methods of `store.Store` and a URL scheme in `store_at`.
Imports: errors.  Imported by: every other room.
Reads / writes in the workspace: workspace.json, events/, leases/.
Invariants: a reader never sees half a file [test_reader_never_sees_half_a_file]; of two writers one creates
    [test_only_one_of_many_processes_creates]; a changed or cut event chain is noticed [test_changed_event_is_noticed];
    an overtaken holder cannot commit [test_overtaken_holder_is_fenced].
Read in this order:
    layout.py      where everything is
    store.py       the Store interface and the folder
    objects.py     the object store
    atomic.py      aside, fsync, rename
    events.py      hash chains and anchors
    lock.py        leases with fencing tokens
    hashes.py      content hashes, canonical JSON
    schema.py      schema versions
    workspace.py   what joins them
    signing.py     Ed25519 signatures in DSSE envelopes
    printable.py   text that is safe for a terminal
    orphans.py     children that do not outlive their parent
Try: pytest tests/workspace
"""

from expedition.workspace import layout
from expedition.workspace.events import Event
from expedition.workspace.lock import Lease
from expedition.workspace.store import AccessDenied, AlreadyExists, NotFound, Store
from expedition.workspace.workspace import Workspace, store_at

__all__ = ["AccessDenied", "AlreadyExists", "Event", "Lease", "NotFound", "Store", "Workspace", "layout", "store_at"]
