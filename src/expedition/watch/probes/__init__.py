"""Probes: what can be read of the machine itself; a figure that the machine does not give is None."""

from expedition.watch.probes.host import HostSample, sample_host

__all__ = ["HostSample", "sample_host"]
