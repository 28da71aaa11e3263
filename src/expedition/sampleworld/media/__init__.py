"""Pictures, clips, speech and drives: how each is drawn or sounded, and the sources that hold them."""
