"""What can go wrong, as one tree. Imports nothing.

    ConnectorError
    ├── ClusterError            no OpenSearch could be reached or started, or it cannot be used
    ├── CorpusError             a corpus, query or judgement file cannot be read
    ├── EncoderError            an encoder cannot be loaded or trained
    │   └── EncoderMismatchError    an index was written by another encoder
    ├── IndexMappingError       an index is missing, or its mapping is not ours
    ├── BulkWriteError          a write failed and retrying cannot help
    ├── CheckpointError         a run cannot go on where another one stood
    └── SearchError             a query cannot be run

A wrong argument is a `ValueError`. Every message names the value, the rule and the next step.
"""


class ConnectorError(Exception):
    """The base of every error that this library raises on purpose."""


class ClusterError(ConnectorError):
    """No OpenSearch could be reached or started, or the one that answers cannot be used."""


class CorpusError(ConnectorError):
    """A corpus, query or judgement file cannot be read."""


class EncoderError(ConnectorError):
    """An encoder cannot be loaded or trained."""


class EncoderMismatchError(EncoderError):
    """An index was written by another encoder than the one at hand."""


class IndexMappingError(ConnectorError):
    """An index is missing, exists already, or has a mapping that is not ours."""


class BulkWriteError(ConnectorError):
    """A write failed and retrying cannot help."""


class CheckpointError(ConnectorError):
    """A run cannot go on from a checkpoint."""


class SearchError(ConnectorError):
    """A query cannot be run."""
