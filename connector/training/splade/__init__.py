"""Training of SPLADE models that learn which of their weights to keep."""
