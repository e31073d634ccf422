"""Options for the layout of a corpus: field names, separator, encoding."""

from __future__ import annotations

from functools import wraps
from typing import Any, cast

import click

from connector.cli.options import F, together
from connector.corpus.layout import Layout

_SEPARATOR_NAMES = {"tab": "\t", "\\t": "\t"}

encoding_option = click.option(
    "--encoding",
    metavar="NAME",
    help="Text encoding, e.g. cp1252 or utf-16.  [default: UTF-8, or by byte order mark]",
)

_NAMES = (
    click.option("--id-field", metavar="NAME", help="Key or column of the id.  [default: _id, else id]"),
    click.option("--title-field", metavar="NAME", help="Key or column of the title.  [default: title]"),
    click.option(
        "--text-field",
        "text_fields",
        multiple=True,
        metavar="NAME",
        help="Key or column of the text. Repeatable; texts are joined.  [default: text]",
    ),
    click.option(
        "--exclude-field", "exclude", multiple=True, metavar="NAME", help="Key or column to ignore. Repeatable."
    ),
)
_FILES = (
    click.option(
        "--separator",
        metavar="CHARACTER",
        help="Separator of CSV and TSV, e.g. `tab`.  [default: detected from the header]",
    ),
    encoding_option,
)


def name_options(command: F) -> F:
    """Add the field name options, passed to the command as `layout`."""
    return together(*_NAMES)(_gathered(command))


def layout_options(command: F) -> F:
    """Add the field name and file options, passed to the command as `layout`."""
    return together(*_NAMES, *_FILES)(_gathered(command))


def _gathered(command: F) -> F:
    @wraps(command)
    def with_layout(
        *arguments: Any,  # noqa: ANN401
        id_field: str | None,
        title_field: str | None,
        text_fields: tuple[str, ...],
        exclude: tuple[str, ...],
        separator: str | None = None,
        encoding: str | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        try:
            layout = Layout(
                id_field=id_field,
                title_field=title_field,
                text_fields=text_fields,
                exclude=frozenset(exclude),
                separator=_SEPARATOR_NAMES.get(separator, separator) if separator else None,
                encoding=encoding,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        return command(*arguments, layout=layout, **options)

    return cast(F, with_layout)


def check_encoding(encoding: str | None) -> None:
    """Refuse an unknown text encoding.

    Raises:
        UsageError: The encoding is unknown.
    """
    try:
        Layout(encoding=encoding)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
