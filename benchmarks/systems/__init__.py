"""The compared systems, one file each, with the protocol in `base`."""
