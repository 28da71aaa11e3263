"""The sample world's GitHub with faults."""

from __future__ import annotations

from expedition.sampleworld.services.github import TOKEN, GitHub, Repository
from tests.data.connectors.protocol_server import FaultyServer

__all__ = ["TOKEN", "GitHubServer", "Repository"]


class GitHubServer(FaultyServer, GitHub):
    """The service, whose answers can be made to fail."""
