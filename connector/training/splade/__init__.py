"""Training of SPLADE models with learned thresholds."""
