"""`ksparse serve` and `ksparse connect`: encoding and search over HTTP."""
