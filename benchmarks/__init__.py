"""Benchmarks on a live OpenSearch. They import the connector, which does not import them."""
