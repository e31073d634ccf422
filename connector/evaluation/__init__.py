"""Retrieval sets, runs, metrics and exact search, for `ksparse evaluate` and the benchmarks.

Import its modules separately: only `exact` needs SciPy, and only `metrics` needs ir-measures.
"""
