"""Does FP8 train as bf16 does? Arms × seeds on one GPU, and a stress test: python -m benchmarks.train.fp8_convergence."""
