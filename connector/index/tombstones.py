"""Report documents that are not written because a deletion is newer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from logging import getLogger
from threading import Event

from connector.errors import ClusterError
from connector.index.lookup import DocumentLookup
from connector.index.outcome import Action
from connector.types import SparseDocument

_log = getLogger("ksparse.index")


def warn_of_deletions(
    lookup: DocumentLookup, index: str, actions: Sequence[Action], superseded: Collection[str], stopped: Event
) -> bool:
    """Log a warning if superseded documents are not in the index, because it remembers newer deletions of them.

    A deletion without a version counts as one version more than the document had. So documents that are deleted and
    written again with their versions are refused until the server has forgotten the deletions. That can also be right:
    an older document may arrive after its deletion.

    Args:
        lookup: Finds documents of the index.
        index: Name of the index in the warning.
        actions: The documents and deletions of the write.
        superseded: Ids of those that are superseded.
        stopped: Ends retries when set.

    Returns:
        Whether there was a warning.

    Raises:
        BulkWriteError: A request failed and retries did not help.
    """
    documents = [each.document for each in actions if isinstance(each.document, SparseDocument)]
    wanted = {each.doc_id: each.routing for each in documents if each.doc_id in superseded}
    try:
        found = lookup.find(wanted, source=False, hidden=True, placed=wanted, stopped=stopped)
    except ClusterError:  # no read permission
        return False
    missing = [doc_id for doc_id in wanted if doc_id not in found]
    if missing:
        _log.warning(
            "Documents count as superseded, but are not in %s (%d of one batch, e.g. %r): they were deleted as a newer "
            "version. If they should be in it, write them again when the server has forgotten that "
            "(index.gc_deletes, 60 s by default).",
            index,
            len(missing),
            missing[0],
        )
    return bool(missing)
