"""Training of heads, dictionaries, SPLADE models and static query encoders."""
