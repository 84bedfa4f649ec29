"""Records of the stream: their bytes, putting them, and the batches that arrive."""
