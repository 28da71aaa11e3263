"""What is evaluated: a model behind three calls. Our own class, and transformers' class from an exported folder."""
