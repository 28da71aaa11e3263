"""Red team: a fixed suite of prompts and sentence pairs, what a model answers, and the controls beside it."""
