"""The web services that the sample world is offered by: real HTTP on this machine, in the protocols of the real ones."""
