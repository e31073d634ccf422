"""Train a head on the embeddings of a dense model."""
