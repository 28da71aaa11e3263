"""The package's own S3 server, for tests and benchmarks."""

from expedition.voyage.object_server import ACCESS_KEY, SECRET_KEY, object_server, weed_binary

__all__ = ["ACCESS_KEY", "SECRET_KEY", "object_server", "weed_binary"]
