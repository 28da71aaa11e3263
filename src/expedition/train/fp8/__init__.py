"""FP8 in a run: which modules multiply in it and who multiplies, their layers, counts of what they lose, the way back."""
