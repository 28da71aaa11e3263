"""Around `checkpoint.py`: names, the writing thread, state to tensors and back, where a run goes on."""
