"""A local page that shows K-sparse, HNSW, BM25 and hybrid search side by side."""
