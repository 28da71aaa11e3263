"""Where the time of a step goes: a few real steps, timed and traced, split into parts that add up, and a verdict."""
