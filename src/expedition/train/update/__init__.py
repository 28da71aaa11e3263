"""The rules by which `optimizer.py` changes weights: groups, Muon. Pure functions of tensors."""
