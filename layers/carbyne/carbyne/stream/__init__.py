"""Records of the stream: their bytes, putting them there, batches that arrive."""
