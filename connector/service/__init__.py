"""`ksparse serve` and `ksparse connect`: texts in, hits out, for clients in any language."""
