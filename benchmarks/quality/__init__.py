"""Quality of data: what the stages find, keep and cost, beside peers and labels. `python -m benchmarks.quality`."""
