"""Names that an index and its fields can have: the server's rules, before anything is encoded. Imports the errors."""

from __future__ import annotations

from connector.errors import IndexMappingError

MAX_NAME_BYTES = 255
_FORBIDDEN = '\\/*?"<>| ,#:'


def check_index_name(name: str, *, new: bool = False) -> None:
    """Make sure that a name can be written to.

    Args:
        name: Of an index or an alias.
        new: An index of this name shall be made; only aliases may have capital letters.

    Raises:
        IndexMappingError: It breaks one of the server's rules.
    """
    rule = broken_rule(name, new=new)
    if rule is not None:
        raise IndexMappingError(f"Invalid index name {name[:80]!r}: it {rule}. Choose another name.")


def check_field_name(name: str, taken: tuple[str, ...]) -> None:
    """Make sure that a further top-level field may have a name.

    Raises:
        ValueError: It is one of the taken ones, or one that the server would take apart or keep for itself.
    """
    if name in taken or not name.strip() or "." in name or name.startswith("_") or not name.isprintable():
        raise ValueError(
            f"field {name[:80]!r} cannot be declared: {', '.join(taken)}, names with a dot or a control character and "
            "names that begin with _ are taken. Rename it."
        )


def broken_rule(name: str, *, new: bool = False) -> str | None:
    """The rule that a name breaks, to follow "it"; None if it breaks none."""
    if not name or name in (".", ".."):
        return "must not be empty, . or .."
    if name[0] in "_-+":
        return "must not begin with _, - or +"
    for character in name:
        if character in _FORBIDDEN or "\ud800" <= character <= "\udfff":  # half of a pair, which no address can hold
            return f"must not contain {character!r}"
    size = len(name.encode())
    if size > MAX_NAME_BYTES:
        return f"must have at most {MAX_NAME_BYTES} bytes, not {size}"
    return "must be lowercase" if new and name != name.lower() else None
