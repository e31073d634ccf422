"""Training of query encoders that have no transformer."""
