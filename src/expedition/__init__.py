"""Expedition: carries a multimodal pretraining programme from raw data to a signed, evaluated, reproducible model."""

__version__ = "0.1.0"
