"""Around `checkpoint.py`, from tensors to files and back. Read in this order:

name.py         checkpoint_1.5T_tokens
snapshot.py     the training state by name, and back
shards.py       what a rank holds of each tensor, and what it writes
staging.py      host memory for the copy
tensor_file.py  safetensors of whole tensors and boxes
ranges.py       hashes that give damage a name
agreement.py    ranks that succeed or fail together
commit.py       files, manifest, COMPLETE
writer.py       the thread
reader.py       any shards into any shards
resume.py       where a run goes on
"""
