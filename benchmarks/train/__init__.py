"""Measurements of training: curves, and what each choice of the optimiser costs."""
