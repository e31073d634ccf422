"""The exception tree. Imports nothing.

    ConnectorError
    ├── ClusterError            OpenSearch could not be reached, started or used
    │   └── BusyError               the server cannot answer now; also a SearchError
    ├── CorpusError             a corpus, query or judgement file cannot be read
    ├── EncoderError            an encoder cannot be loaded or trained
    │   └── EncoderMismatchError    an index was written by another encoder
    ├── IndexMappingError       an index is missing, or ksparse did not create it
    ├── BulkWriteError          a write failed and retrying cannot help
    ├── CheckpointError         a run cannot resume from a checkpoint
    └── SearchError             a query cannot be run

A wrong argument is a `ValueError`. Every message names the value, the rule and the next step.
"""


class ConnectorError(Exception):
    """Base class of all errors of this library."""


class ClusterError(ConnectorError):
    """OpenSearch could not be reached or started, or the server cannot be used."""


class CorpusError(ConnectorError):
    """A corpus, query or judgement file cannot be read."""


class EncoderError(ConnectorError):
    """An encoder cannot be loaded or trained."""


class EncoderMismatchError(EncoderError):
    """An index was written by another encoder than the given one."""


class IndexMappingError(ConnectorError):
    """An index is missing, already exists, or was not created by ksparse."""


class BulkWriteError(ConnectorError):
    """A write failed and retrying cannot help."""


class CheckpointError(ConnectorError):
    """A run cannot resume from a checkpoint."""


class SearchError(ConnectorError):
    """A query cannot be run."""


class BusyError(ClusterError, SearchError):
    """The server cannot answer now: it is starting or overloaded, or no copy of a shard is available."""
