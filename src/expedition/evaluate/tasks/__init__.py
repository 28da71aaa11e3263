"""Where items come from: the attribute tasks of a data folder, plain multiple choice files, and held-out documents."""
