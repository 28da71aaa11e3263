"""The evaluation set: tasks of one attribute each, and held-out documents."""
