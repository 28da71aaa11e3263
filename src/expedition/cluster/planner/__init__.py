"""The planner: what a model needs and what a cluster gives, as arithmetic on the programme file."""
