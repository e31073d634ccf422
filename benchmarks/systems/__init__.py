"""One file per system, behind the Protocol of `base`."""
