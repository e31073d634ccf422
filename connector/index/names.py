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
    rules = {
        "is blank": not name.strip(),
        "is used by ksparse itself": name in taken,
        "begins with _": name.startswith("_"),
        "contains a dot": "." in name,
        "contains an unprintable character": not name.isprintable(),
    }
    broken = next((rule for rule, is_broken in rules.items() if is_broken), None)
    if broken is not None:
        raise ValueError(f"field {name[:80]!r} cannot be declared: its name {broken}. Rename it.")


def no_index(name: str) -> str:
    """Return the message that an index does not exist, with the next step."""
    if any(character in name for character in "*,<"):
        return f"No index matches {name!r}, or one of its names does not exist."
    rule = broken_rule(name, new=True)
    if rule is not None:
        return f"There is no index {name!r}, and none can have that name: it {rule}."
    return f"There is no index {name!r}. Create it with `ksparse ingest CORPUS --index {name}`."


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
