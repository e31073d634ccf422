"""Dictionaries of a corpus: two levels of k-means on its own documents."""
