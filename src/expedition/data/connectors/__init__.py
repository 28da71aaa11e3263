"""data.connectors: files from web, object stores, lists and disks into a data folder, each with its provenance.

Why a room: all that comes from outside comes through one client (polite, bounded, never into the private network) and
lands in one way: asked of the ledger first, verified, recorded. It decodes nothing and judges no content.
Verbs (all that other rooms may call):
    fetch_source(ws, data_dir, source, FetchOptions()) -> dict   resumable; writes files, provenance, data/acquired/
    connector_names() -> names; find_connector(name) -> Connector
    Client(policy): get(url) -> Reply, download(url, target) -> Downloaded     for connectors
    Connector, Context, Downloaded, FetchFailed, FetchPolicy, FetchReason, RemoteItem, Reply   the nouns
Seams: Connector (url-list, object-store, folder, generator, common-crawl, github, youtube); a further one is an entry
    point of the group `expedition.connectors`. Generate (entry points `expedition.generators`): seed, count -> documents.
Imports: errors, workspace, plan.yaml_lines, data.compliance, data.sources, data.decode, data.stages.code.
    Imported by: cli.
Reads / writes in the workspace: data/acquired/<source>/, leases, events. In the data folder: <source>/ and
    <source>/.acquire/ (provenance log, connectors' state).
Invariants: a killed download goes on and has the same bytes [test_killed_in_mid_download_goes_on]; no name and no
    redirect leads into the private network [test_redirect_into_the_private_network_is_refused]; nothing comes in
    without an approval [test_no_approval_no_request]; a revocation stops a run [test_revocation_in_mid_run_stops_it]; a
    killed service goes on to the same files [test_killed_service_goes_on_to_the_same_files]; media come of open videos
    alone [test_media_come_of_creative_commons_videos_alone].
Read in this order:
    connector.py                           what an origin is
    fetching.py                            the run: list, ask, fetch, record, register
    landing.py                             where items land, and the record of each
    client.py  expectation.py  part.py     one request; what must come of it; resuming
    network.py  url.py  body.py            addresses, URLs and bodies within bounds
    policy.py  pace.py  failure.py         limits and manners; what can go wrong
    robots.py  opt_out.py  host_cache.py   what hosts ask for
    url_list.py  object_store.py  folder.py  paths.py    the general connectors
    generator.py                           synthetic documents with what made them
    service_api.py                         manners of a documented web API
    common_crawl.py  crawl_index.py  crawl_records.py  archive_base.py    Common Crawl: what, where, which bytes
    github.py  github_api.py               GitHub: archives with the licence found by text
    youtube.py  youtube_api.py             YouTube: metadata, captions, quota
    request.py                             from what a person wrote to a run
Try: expedition data acquire --help; pytest tests/data/connectors
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expedition.data.connectors.client import Client, Downloaded, Reply
    from expedition.data.connectors.connector import Connector, Context, RemoteItem, connector_names, find_connector
    from expedition.data.connectors.failure import FetchFailed, FetchReason
    from expedition.data.connectors.policy import FetchPolicy
    from expedition.data.connectors.request import FetchOptions, fetch_source

__all__ = [
    "Client",
    "Connector",
    "Context",
    "Downloaded",
    "FetchFailed",
    "FetchOptions",
    "FetchPolicy",
    "FetchReason",
    "RemoteItem",
    "Reply",
    "connector_names",
    "fetch_source",
    "find_connector",
]

_HOMES = {
    "Client": "client",
    "Connector": "connector",
    "Context": "connector",
    "Downloaded": "client",
    "FetchFailed": "failure",
    "FetchOptions": "request",
    "FetchPolicy": "policy",
    "FetchReason": "failure",
    "RemoteItem": "connector",
    "Reply": "client",
    "connector_names": "connector",
    "fetch_source": "request",
    "find_connector": "connector",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(f"expedition.data.connectors.{_HOMES[name]}"), name)
