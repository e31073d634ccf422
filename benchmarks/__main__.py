"""`python -m benchmarks`, also `ksparse bench`."""

from __future__ import annotations

from importlib.util import find_spec

import click

from benchmarks.cli.as_ingested import as_ingested
from benchmarks.cli.backends import backends
from benchmarks.cli.churn import churn
from benchmarks.cli.clock import clock
from benchmarks.cli.cluster import cluster
from benchmarks.cli.demo import demo
from benchmarks.cli.dictionary import dictionary
from benchmarks.cli.dictionary_levers import dictionary_levers
from benchmarks.cli.encoder_frontier import encoder_frontier
from benchmarks.cli.filtered import filtered
from benchmarks.cli.frontier import frontier
from benchmarks.cli.gpu import gpu
from benchmarks.cli.growth import growth
from benchmarks.cli.ht_tables import table_command as ht_table_command
from benchmarks.cli.ingest import ingest
from benchmarks.cli.ksparse_table4 import ksparse_table4
from benchmarks.cli.ksparse_tables import table_command
from benchmarks.cli.levers import levers
from benchmarks.cli.memory import memory
from benchmarks.cli.query_encoders import query_encoders
from benchmarks.cli.report import report
from benchmarks.cli.rivals import rivals
from benchmarks.cli.selection import feature_selection
from benchmarks.cli.service import service
from benchmarks.cli.sheet import sheet
from benchmarks.cli.stream import stream
from connector.errors import ConnectorError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def benchmarks() -> None:
    """Compare systems on a live OpenSearch, and encoders without one."""


benchmarks.add_command(demo)
benchmarks.add_command(frontier)
benchmarks.add_command(encoder_frontier)
benchmarks.add_command(feature_selection)
benchmarks.add_command(table_command(1, "iVAE, K-sparse and dense"))
benchmarks.add_command(table_command(2, "quality by k"))
benchmarks.add_command(table_command(3, "quality by loss weights"))
benchmarks.add_command(ksparse_table4)
benchmarks.add_command(ht_table_command("ht-table1", "Table 1 of the HT paper: thresholds and earlier work."))
benchmarks.add_command(ht_table_command("ht-table2", "Table 2 of the HT paper: sets that no model was trained on."))
benchmarks.add_command(ht_table_command("ht-table3", "Table 3 of the HT paper: variants of the design."))
benchmarks.add_command(ht_table_command("ht-idf", "Beyond the HT paper: higher thresholds, IDF, posting budgets."))
benchmarks.add_command(dictionary)
benchmarks.add_command(dictionary_levers)
benchmarks.add_command(growth)
benchmarks.add_command(as_ingested)
benchmarks.add_command(filtered)
benchmarks.add_command(rivals)
benchmarks.add_command(churn)
benchmarks.add_command(memory)
benchmarks.add_command(clock)
benchmarks.add_command(sheet)
benchmarks.add_command(service)
benchmarks.add_command(cluster)
benchmarks.add_command(ingest)
benchmarks.add_command(backends)
benchmarks.add_command(gpu)
benchmarks.add_command(stream)
benchmarks.add_command(levers)
benchmarks.add_command(query_encoders)
benchmarks.add_command(report)


def main() -> None:
    """Run the command; expected errors are printed as one line."""
    if missing := [name for name in ("matplotlib", "psutil") if find_spec(name) is None]:
        # Checked before a run, because plots are drawn at its end.
        raise SystemExit(
            f"Error: The benchmarks need {' and '.join(missing)}. In a clone: pip install --editable '.[cluster,plot]'"
        )
    try:
        benchmarks(prog_name="python -m benchmarks")
    except ConnectorError as error:
        raise SystemExit(f"Error: {error}") from error


if __name__ == "__main__":
    main()
