"""Files of the reproduction kit as they are handed over. The scripts import torch, transformers, numpy and Pillow only;
`$name` fields of the text files are filled in by `expedition.release.kit`."""
