"""What `ksparse evaluate` and the benchmarks share: retrieval sets, runs, metrics and the exact truth.

Import its modules one by one; only `exact` needs SciPy and only `metrics` needs ir-measures.
"""
