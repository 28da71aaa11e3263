"""The rules by which `optimizer.py` changes weights: groups, AdamW, Muon, rounding. Pure functions of tensors."""
