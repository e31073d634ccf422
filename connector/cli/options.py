"""Options that are the same in every command that has them."""

from __future__ import annotations

import click

from connector.codes import Bits


def _to_bits(_context: click.Context, _option: click.Parameter, value: str) -> Bits | None:
    bits: dict[str, Bits] = {"1": 1, "2": 2, "4": 4, "8": 8}
    return bits.get(value)


rescore_option = click.option(
    "--rescore",
    type=click.Choice(["none", "1", "2", "4", "8"]),
    default="none",
    show_default=True,
    callback=_to_bits,
    help="Bits a dimension of a code that puts the first hits into the dense order. Of a new index.",
)

device_option = click.option("--device", help="cuda, mps or cpu.  [default: the best there is]")

quiet_option = click.option("--quiet", is_flag=True, help="No progress.")

index_encoder_option = click.option(
    "--encoder", default="all-MiniLM-L6-v2", show_default=True, help="The one that wrote the index."
)
