"""Benchmarks of indices in use: segments as ingested, filters, concurrent writes, other systems, little memory, the
service, several nodes, and timings by OpenSearch Benchmark.
"""
