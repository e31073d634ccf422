"""Read and check corpus files and iterables: each record becomes a `Document` or a `MalformedRecord`."""

from connector.corpus.layout import Layout
from connector.corpus.read import CorpusRecord, check_documents, count_records, read_corpus
from connector.corpus.source import Format

__all__ = ["CorpusRecord", "Format", "Layout", "check_documents", "count_records", "read_corpus"]
