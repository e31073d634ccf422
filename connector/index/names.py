"""The server's rules for index and field names, checked before anything is encoded."""

from __future__ import annotations

from connector.corpus.values import is_unicode
from connector.errors import IndexMappingError

MAX_NAME_BYTES = 255
_FORBIDDEN = '\\/*?"<>| ,#:'


def check_index_name(name: str, *, new: bool = False) -> None:
    """Check that a name is valid.

    Args:
        name: Name of an index or alias.
        new: Whether an index of this name is to be created; only aliases may contain capital letters.

    Raises:
        IndexMappingError: The name violates one of the server's rules.
    """
    rule = broken_rule(name, new=new)
    if rule is not None:
        raise IndexMappingError(f"Invalid index name {name[:80]!r}: it {rule}. Choose another name.")


def check_sendable(name: str) -> None:
    """Check that a URL can contain the name of an existing index or alias, or a pattern.

    Raises:
        IndexMappingError: It cannot.
    """
    if not is_unicode(name):
        raise IndexMappingError(f"There is no index {name!r}: the name is not valid Unicode. Give it as UTF-8.")


def check_field_name(name: str, taken: tuple[str, ...]) -> None:
    """Check the name of an additional top-level field.

    Raises:
        ValueError: The name is taken, or the server would split or reserve it.
    """
    if name in taken or not name.strip() or "." in name or name.startswith("_") or not name.isprintable():
        raise ValueError(
            f"field {name[:80]!r} cannot be declared: {', '.join(taken)}, names with a dot or a control character and "
            "names that begin with _ are taken. Rename it."
        )


def broken_rule(name: str, *, new: bool = False) -> str | None:
    """Return the rule that a name violates, as a continuation of "it"; None if it is valid."""
    if not name or name in (".", ".."):
        return "must not be empty, . or .."
    if name[0] in "_-+":
        return "must not begin with _, - or +"
    for character in name:
        if character in _FORBIDDEN or "\ud800" <= character <= "\udfff":  # a surrogate, which no URL can contain
            return f"must not contain {character!r}"
    size = len(name.encode())
    if size > MAX_NAME_BYTES:
        return f"must have at most {MAX_NAME_BYTES} bytes, not {size}"
    return "must be lowercase" if new and name != name.lower() else None
