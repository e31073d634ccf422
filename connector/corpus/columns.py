"""Which column of a table becomes which part of a document: the rule that CSV and Parquet share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from connector.corpus.check import RESERVED
from connector.corpus.jsonl import parse_object
from connector.errors import CorpusError


class Columns:
    """The columns of one table.

    `_id` (or `id`), `title` and `text` are themselves, declared fields go to the document's fields, a column
    `metadata` holds an object (or JSON text of one), and every other column is a key of the metadata.
    """

    def __init__(self, names: Sequence[str], fields: Collection[str], *, table: str, generate_ids: bool) -> None:
        """Read the header.

        Args:
            names: The columns in order.
            fields: Top-level fields that the index declares.
            table: What errors call the table.
            generate_ids: Whether a table may do without ids.

        Raises:
            CorpusError: A column has no name or another's name, or there is none for the text or the id.
        """
        found = f"{table} has the columns {', '.join(map(repr, names)) or '(none)'}"
        if "" in names:
            raise CorpusError(f"{found}; column {names.index('') + 1} has no name. Name it or drop it.")
        for name in names:
            if names.count(name) > 1:
                raise CorpusError(f"{found}; {name!r} stands twice. Rename one of them.")
        if "text" not in names:
            raise CorpusError(f"{found} and none called 'text', which holds what is encoded. Rename the one that does.")
        if not generate_ids and "_id" not in names and "id" not in names:
            raise CorpusError(f"{found} and none called '_id' or 'id'. Rename one, or have ids generated.")
        targets = {name: name for name in (*RESERVED, *fields)}
        if "_id" not in names and "id" not in fields:
            targets["id"] = "_id"
        self._names = list(names)
        self._targets = [targets.get(name) for name in names]

    def record(self, cells: Sequence[Any]) -> dict[str, Any]:
        """Return one row as a record for the checker; cells that are empty or None leave their key out.

        Raises:
            ValueError: The metadata is no object, or has a key that is a column as well.
        """
        record: dict[str, Any] = {}
        metadata: dict[str, Any] = {}
        for name, target, cell in zip(self._names, self._targets, cells, strict=True):
            if cell is None or cell == "":
                continue
            if target is None:
                metadata[name] = cell
            else:
                record[target] = cell
        given = record.pop("metadata", {})
        if isinstance(given, str):
            try:
                given = parse_object(given)
            except ValueError as error:
                raise ValueError(f"'metadata' is {error}") from None
        if not isinstance(given, dict):
            raise ValueError("'metadata' is not an object")
        for key in given.keys() & metadata.keys():
            raise ValueError(f"key {key!r} stands in the column 'metadata' and is a column as well; drop one")
        return record | {"metadata": given | metadata}
