"""Convert results to Markdown tables. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.plots import exponent, growth_lines
from benchmarks.results import name_of

SCORES_HEADING = "## Scores"

COLUMNS = ("system", "NDCG@10", "of dense", "index MB", "of HNSW", "p50 ms", "p99 ms", "p50 of HNSW", "postings")


def to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows of a result as a Markdown table."""
    return to_table(COLUMNS, to_cells(rows))


def to_table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, left: Container[int] = (0,)) -> str:
    """Return a Markdown table.

    Args:
        heads: Column names.
        rows: Cells as text.
        left: Columns aligned to the left; the others are aligned to the right.
    """
    ruler = " | ".join("---" if column in left else "---:" for column in range(len(heads)))
    lines = [" | ".join(heads), ruler, *(" | ".join(cells) for cells in rows)]
    return "".join(f"| {line} |\n" for line in lines)


def to_cells(rows: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return the rows of a result as text, one cell per column of `COLUMNS`."""
    hnsw = next(row for row in rows if row["system"] == "HNSW")
    return [
        (
            name_of(row),
            f"{row['ndcg@10']:.3f}",
            f"{row['ndcg_share']:.1%}",
            _cell(row, "index_bytes", lambda value: f"{value / 1e6:.1f}"),
            _cell(row, "index_bytes", lambda value: f"{value / hnsw['index_bytes']:.2f}"),
            _cell(row, "p50_ms", lambda value: f"{value:.2f}"),
            _cell(row, "p99_ms", lambda value: f"{value:.2f}"),
            _cell(row, "p50_ratio", lambda value: f"{value:.2f}"),
            _cell(row, "postings_per_document", lambda value: f"{value:.2f} N"),
        )
        for row in rows
    ]


def _cell(row: dict[str, Any], key: str, form: Any) -> str:  # noqa: ANN401
    return form(row[key]) if key in row else ""


def rows_to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return all values of rows as a Markdown table."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return to_table(names, ([_any_cell(name, row.get(name)) for name in names] for row in rows))


def _any_cell(name: str, value: Any) -> str:  # noqa: ANN401
    if value is None:
        return ""
    if name in ("zeros", "of dense", "of dense, here", "of dense, paper"):
        return f"{value:.1%}"
    return f"{value:.2f} N" if name == "postings" else f"{value:.4g}" if isinstance(value, float) else str(value)


def paper_to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return Table 1, 2 or 3 of the K-sparse paper: settings, NDCG@10 relative to dense search, postings of a query."""
    figures = {"of dense, paper": "of dense, paper", "of dense, here": "of dense", "postings": "postings"}
    settings = [name for name in rows[0] if name not in ("zeros", "paper", "ndcg@10", *figures.values())]
    columns = dict(zip(settings, settings, strict=True)) | figures
    return rows_to_markdown([{head: row.get(name) for head, name in columns.items()} for row in rows])


def systems_to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return all tables of a comparison of systems."""
    fastest = "The fastest setting of each system that reaches a fraction of dense NDCG@10:\n"
    return "\n".join((to_markdown(rows), details_to_markdown(rows), fastest, cheapest_to_markdown(rows)))


def details_to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table of the measured values that `to_markdown` does not include."""
    clients = list(dict.fromkeys(count for row in rows for count in row.get("requests_per_s", ())))
    heads = ["system", "Recall@100", "of dense top 10", "p50 with encoding, ms", "p99", "mapped MB", "heap MB"]
    heads += [f"requests/s, {count} client{'s' if count != '1' else ''}" for count in clients]
    heads += ["documents/s", "merged after, s"]
    lines = []
    for row in rows:
        encoded, memory, answered = (row.get(key, {}) for key in ("with_encoding", "memory", "requests_per_s"))
        cells = [
            name_of(row),
            _cell(row, "recall@100", lambda value: f"{value:.3f}"),
            _cell(row, "overlap@10", lambda value: f"{value:.3f}"),
            _cell(encoded, "p50_ms", lambda value: f"{value:.2f}"),
            _cell(encoded, "p99_ms", lambda value: f"{value:.2f}"),
            _cell(memory, "mapped_bytes", lambda value: f"{value / 1e6:.0f}"),
            _cell(memory, "heap_bytes", lambda value: f"{value / 1e6:.0f}"),
            *(_cell(answered, count, lambda value: f"{value:,.0f}") for count in clients),
            _cell(row, "documents_per_s", lambda value: f"{value:,.0f}"),
            _cell(row, "build_s", lambda value: f"{value:.0f}"),
        ]
        lines.append(cells)
    return to_table(heads, lines)


_POSTINGS = "postings, p99"


def compare_to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return a comparison, with latency and throughput as ratios to the first timed system, HNSW.

    Columns without values are omitted.
    """
    lines = _compared(rows)
    heads = [head for head in lines[0] if head != _POSTINGS and any(line[head] for line in lines)]
    return to_table(heads, ([line[head] for head in heads] for line in lines))


def levers_to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return what reduces the cost of a query, as in `compare_to_markdown`, with the postings of a query."""
    heads = ["system", "of dense", "of HNSW", "p50", "p99", "requests/s, 8 clients", _POSTINGS]
    return to_table(heads, ([line[head] for head in heads] for line in _compared(rows)))


def costs_to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return bytes and latency of the systems that were timed, without their quality."""
    heads = ["system", "bytes per document", "of HNSW", "p50", "p99"]
    return to_table(heads, ([line[head] for head in heads] for line in _compared(rows) if line["p50"]))


def _compared(rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Cells by column; ratios are those to the first timed system."""
    base = next(row for row in rows if "p50_ms" in row)

    def ratio(of: dict[str, Any], first: dict[str, Any], key: str, form: str) -> str:
        absolute = f" ({form.format(first[key])})" if of is first and key in of else ""
        return _cell(of, key, lambda value: f"{value / first[key]:.2f}{absolute}")

    lines = []
    for row in rows:
        encoded, memory, answered = (row.get(key, {}) for key in ("with_encoding", "memory", "requests_per_s"))
        low, high = row.get("ndcg_difference_interval") or (0, 0)
        lines.append(
            {
                "system": name_of(row),
                "NDCG@10": f"{row['ndcg@10']:.3f}",
                "of dense": f"{row['ndcg_share']:.1%}",
                "difference to HNSW, 95 %": f"{low:+.3f} to {high:+.3f}" if low or high else "",
                "of dense top 10": f"{row['overlap@10']:.1%}",
                "bytes per document": _cell(row, "bytes_per_document", lambda value: f"{value:,.0f}"),
                "of HNSW": _cell(row, "index_bytes", lambda value: f"{value / base['index_bytes']:.2f}"),
                "p50": ratio(row, base, "p50_ms", "{:.2f} ms"),
                "p99": ratio(row, base, "p99_ms", "{:.1f} ms"),
                "p50, query encoded": ratio(encoded, base.get("with_encoding", {}), "p50_ms", "{:.1f} ms"),
                "requests/s, 8 clients": ratio(answered, base.get("requests_per_s", {}), "8", "{:,.0f}"),
                "mapped MB": _cell(memory, "mapped_bytes", lambda value: f"{value / 1e6:.0f}"),
                "indexed, documents/s": _cell(row, "documents_per_s", lambda value: f"{value:,.0f}"),
                _POSTINGS: ", ".join(
                    f"{row[key]:.2f} N" for key in ("postings_per_document", "postings_per_document_p99") if key in row
                ),
            }
        )
    return lines


def encoders_to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table of the suite `query-encoders`: latency without and with encoding, and ratios to HNSW."""
    base = next(row for row in rows if "with_encoding" in row)
    heads = ("system", "NDCG@10", "of dense", "search, p50", "p99", "text to hits, p50", "p99", "of HNSW")
    lines = []
    for row in rows:
        encoded = row.get("with_encoding", {})
        cells = [name_of(row), f"{row['ndcg@10']:.3f}", f"{row['ndcg_share']:.1%}"]
        cells += [_cell(of, key, "{:.1f} ms".format) for of in (row, encoded) for key in ("p50_ms", "p99_ms")]
        cells.append(_cell(encoded, "p50_ms", lambda value: f"{value / base['with_encoding']['p50_ms']:.2f}"))
        lines.append(cells)
    return to_table(heads, lines)


def sizes_to_markdown(rows: Sequence[dict[str, Any]], counts: Sequence[int] = (1_000_000, 10_000_000)) -> str:
    """Return bytes per document, the mapped fraction of them, and extrapolated sizes for some numbers of documents."""
    heads = ["system", "bytes per document", "mapped", *(f"{count:,} documents" for count in counts)]
    lines = []
    for row in rows:
        own, whole = row["bytes_per_document"], row["index_bytes"]
        mapped = f"{row['memory']['mapped_bytes'] / whole:.0%}" if "memory" in row else ""
        lines.append([name_of(row), f"{own:,.0f}", mapped, *(f"{own * count / 1e9:.1f} GB" for count in counts)])
    return to_table(heads, lines)


def cheapest_to_markdown(
    rows: Sequence[dict[str, Any]], shares: Sequence[float] = (0.9, 0.95, 0.98, 1.0), *, key: str = "ndcg_share"
) -> str:
    """Return each system's fastest setting that reaches a fraction of dense quality: p50 and bytes.

    Both are ratios to the first timed system, HNSW at its default.

    Args:
        rows: Rows of `compare`.
        shares: Fractions to reach, 0 to 1.
        key: Measure of quality: NDCG@10 relative to dense search, or `overlap@10`.
    """
    timed = [row for row in rows if "p50_ms" in row]
    lines = []
    for system in dict.fromkeys(row["system"] for row in timed):
        cells = [system]
        for share in shares:
            enough = [row for row in timed if row["system"] == system and row[key] >= share]
            best = min(enough, key=lambda row: float(row["p50_ratio"]), default=None)
            size = best["index_bytes"] / timed[0]["index_bytes"] if best else 0.0
            cells.append(f"{best['p50_ratio']:.2f}, {size:.2f} ({best['knob']})" if best else "not reached")
        lines.append(cells)
    return to_table(["system", *(f"{share:.0%}: p50, bytes" for share in shares)], lines)


_PAPER_TABLE_4: dict[str, dict[int, dict[str, float]]] = {
    "MB": {
        25_000: {"k = 100": 13, "k = 200": 25, "k = 600": 60, "HNSW": 75},
        50_000: {"k = 100": 24, "k = 200": 43, "k = 600": 113, "HNSW": 149},
        100_000: {"k = 100": 46, "k = 200": 85, "k = 600": 224, "HNSW": 298},
    },
    "ms": {
        25_000: {"k = 100": 37.3, "k = 200": 57.5, "k = 600": 225.8, "HNSW": 30.6},
        50_000: {"k = 100": 48.1, "k = 200": 97.0, "k = 600": 366.5, "HNSW": 33.6},
        100_000: {"k = 100": 58.0, "k = 200": 128.1, "k = 600": 755.6, "HNSW": 38.0},
    },
    "NDCG@10": {
        25_000: {"k = 100": 0.2268, "k = 200": 0.2451, "k = 600": 0.2535, "HNSW": 0.2410},
        50_000: {"k = 100": 0.2183, "k = 200": 0.2973, "k = 600": 0.3404, "HNSW": 0.3513},
        100_000: {"k = 100": 0.2887, "k = 200": 0.3485, "k = 600": 0.3616, "HNSW": 0.3710},
    },
}
"""Figures of the K-sparse paper: MS MARCO, 768 dimensions, times include query encoding."""

_OF_TABLE_4: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("MB", "index_bytes", lambda value: f"{value / 1e6:.1f} MB"),
    ("ms", "p50_ms", "{:.2f} ms".format),
    ("NDCG@10", "ndcg@10", "{:.3f}".format),
)


def table_4_to_markdown(groups: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Return Table 4 of the K-sparse paper: ratios to HNSW by number of documents, with the paper's in brackets.

    Args:
        groups: Rows by number of documents: exact search, HNSW, others.
    """
    lines: dict[str, list[str]] = {}
    for count, rows in groups.items():
        timed = [row for row in rows if "p50_ms" in row]
        for row in timed:
            name = row["system"].removeprefix("K-sparse, ")
            of_the_paper = row["system"].startswith(("K-sparse", "HNSW"))
            cells = lines.setdefault(row["system"] if of_the_paper else name_of(row), [])
            for figure, key, form in _OF_TABLE_4:
                paper = _PAPER_TABLE_4[figure].get(int(count), {})
                absolute = f" ({form(row[key])})" if row is timed[0] else ""
                of_paper = f" ({paper[name] / paper['HNSW']:.2f})" if name in paper and not absolute else ""
                cells.append(f"{row[key] / timed[0][key]:.2f}{absolute or of_paper}")
    heads = [f"{int(count):,}: {figure}" for count in groups for figure, *_ in _OF_TABLE_4]
    return to_table(["system", *heads], ([name, *cells] for name, cells in lines.items()))


def growth_to_markdown(groups: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Return p50, p99 and bytes per document by the number of documents, and the exponents of p50 and p99."""
    kinds = (("p50, ms", "p50_ms"), ("p99, ms", "p99_ms"), ("bytes per document", "bytes_per_document"))
    counts = sorted(map(int, groups))
    lines = []
    for name, key in kinds:
        for system, at, values in growth_lines(groups, key):
            cells = {count: f"{value:.4g}" for count, value in zip(at, values, strict=True)}
            power = f"{exponent(at, values):.2f}"
            lines.append([name, system, *(cells.get(count, "") for count in counts), power])
    return to_table(["figure", "system", *(f"{count:,}" for count in counts), "exponent"], lines, left=(0, 1))


def scaling_to_markdown(groups: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Return p50 by number of documents, and bytes and mapped pages for the largest number.

    All but the first system have ratios to the first.
    """
    timed = {count: [row for row in groups[count] if "p50_ms" in row] for count in sorted(groups, key=int)}
    *_, largest = timed.values()
    lines = []
    for place, row in enumerate(largest):
        p50 = [
            f"{rows[place]['p50_ms']:.2f} ms" + (f" ({rows[place]['p50_ratio']:.2f})" if place else "")
            for rows in timed.values()
        ]
        held = (_with_ratio(*pair) for pair in zip(_held(row), _held(largest[0]), strict=True))
        lines.append((name_of(row), *p50, *held))
    return to_table(("system", *(f"{int(count):,}" for count in timed), "bytes", "mapped"), lines)


def neighbours_to_markdown(groups: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Return the fraction of the exact top ten that each system finds, by number of documents."""
    found = {
        count: {name_of(row): f"{row['overlap@10']:.1%}" for row in groups[count] if "p50_ms" in row}
        for count in sorted(groups, key=int)
    }
    systems = dict.fromkeys(name for names in found.values() for name in names)
    lines = [(system, *(names.get(system, "") for names in found.values())) for system in systems]
    return to_table(("system", *(f"{int(count):,}" for count in found)), lines)


def _held(row: dict[str, Any]) -> tuple[int | None, int | None]:
    return row["index_bytes"], row.get("memory", {}).get("mapped_bytes")


def _with_ratio(value: int | None, base: int | None) -> str:
    if value is None or not base:
        return ""
    return f"{value / 1e6:,.0f} MB" + ("" if value == base else f" ({value / base:.2f})")


def ht_to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table of the HT paper, with its figures in brackets; times and bytes are ratios to the first row."""
    first = rows[0]
    heads = ("system", "MRR@10", "NDCG@10", "difference to the first, 95 %", "mean at 10", "p99, ms", "mean at 1,000",
             "p99, ms", "Qlen", "Dlen", "index", "postings")  # fmt: skip

    def of_paper(row: dict[str, Any], key: str, form: str, *, ratio: bool = False) -> str:
        own, base = row["paper"].get(key), first["paper"].get(key)
        if own is None or (ratio and base is None):
            return ""
        return f" ({format(own / base if ratio else own, form)})"

    lines = []
    for row in rows:
        low, high = row["ndcg_difference_interval"]
        lines.append(
            (
                row["system"],
                f"{row['mrr@10']:.3f}{of_paper(row, 'mrr@10', '.3f')}",
                f"{row['ndcg@10']:.3f}{of_paper(row, 'ndcg@10', '.3f')}",
                f"{low:+.3f} to {high:+.3f}" if row is not first else "",
                f"{row['mean_ratio@10']:.2f}{of_paper(row, 'mean_ms@10', '.2f', ratio=True)}",
                f"{row['p99_ms@10']:.1f}",
                f"{row['mean_ratio@1000']:.2f}{of_paper(row, 'mean_ms@1000', '.2f', ratio=True)}",
                f"{row['p99_ms@1000']:.1f}",
                f"{row['qlen']:.1f}{of_paper(row, 'qlen', '.1f')}",
                f"{row['dlen']:.0f}{of_paper(row, 'dlen', '.0f')}",
                f"{row['index_bytes'] / first['index_bytes']:.2f}",
                _cell(row, "postings_per_document", lambda value: f"{value:.2f} N"),
            )
        )
    return to_table(heads, lines)


def ht_sets_to_markdown(groups: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Return Table 2 of the HT paper: NDCG@10 per set and on average, with the paper's average in brackets."""
    heads = ("system", *groups, "mean", "index", "postings", "mean at 10", "mean at 1,000")
    lines = []
    for place, row in enumerate(next(iter(groups.values()))):
        pairs = [(rows[place], rows[0]) for rows in groups.values()]
        qualities = [own["ndcg@10"] for own, _ in pairs]
        cells = [f"{value:.3f}" for value in (*qualities, fmean(qualities))]
        cells[-1] += f" ({row['paper']['ndcg@10']:.3f})"
        ratios = [
            [own["index_bytes"] / first["index_bytes"] for own, first in pairs],
            [own["postings_per_document"] / first["postings_per_document"] for own, first in pairs],
            *([own[f"mean_ratio@{depth}"] for own, _ in pairs] for depth in (10, 1_000)),
        ]
        lines.append((row["system"], *cells, *(f"{fmean(values):.2f}" for values in ratios)))
    return to_table(heads, lines)


def ingest_to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows of the suite `ingest` as a Markdown table."""
    lines = [
        (
            row["way"],
            f"{row['documents_per_s']:,.0f}",
            _cell(row, "documents_per_s_merged", lambda value: f"{value:,.0f}"),
            _cell(row, "client_bytes", lambda value: f"{value / 1e6:.0f}"),
        )
        for row in rows
    ]
    return to_table(("method", "documents/s", "until merged", "memory of the client, MB"), lines)


def stream_to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return some samples of the suite `stream` as a Markdown table."""
    some = [rows[round(share * (len(rows) - 1))] for share in (0, 0.01, 0.1, 0.25, 0.5, 0.75, 1)]
    lines = [
        (f"{row['documents']:,}", f"{row['seconds']:.1f}", f"{row['memory_bytes'] / 1e6:.0f}")
        for row in {row["documents"]: row for row in some}.values()
    ]
    return to_table(("documents", "seconds", "memory of the client, MB"), lines)


def frontier_to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows of an encoder's frontier as a Markdown table."""
    heads = (
        "k_doc/k_query",
        "NDCG@10",
        "of dense",
        "dense top 10 in first 100",
        "rescored, of dense",
        "postings",
        "highest df",
        "dead",
    )
    lines = [
        (
            f"{row['k_doc']}/{row['k_query']}",
            f"{row['ndcg@10']:.3f}",
            f"{row['ndcg_share']:.1%}",
            f"{row['recall_of_dense_top_10@100']:.1%}",
            f"{row['rescored_ndcg_share']:.1%}",
            f"{row['postings_per_document']:.2f} N",
            f"{row['highest_document_frequency']:.1%}",
            f"{row['dead_latents']:.1%}",
        )
        for row in rows
    ]
    return to_table(heads, lines, left=())


def selection_to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows of `feature-selection` as a Markdown table."""
    heads = (
        "k_doc/k_query",
        "rule",
        "NDCG@10 of dense",
        "difference to the first, 95 %",
        "dense top 10 in first 100",
        "postings",
        "Dlen",
        "Qlen",
    )
    lines = []
    for row in rows:
        low, high = row["ndcg_difference_interval"]
        lines.append(
            (
                row["length"],
                row["rule"],
                f"{row['ndcg_share']:.1%}",
                "" if row["rule"] == "k of all" else f"{low:+.3f} to {high:+.3f}",
                f"{row['recall_of_dense_top_10@100']:.1%}",
                f"{row['postings_per_document']:.3f} N",
                f"{row['dlen']:.1f}",
                f"{row['qlen']:.1f}",
            )
        )
    return to_table(heads, lines, left=(0, 1))


def scores_section(results: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Return the section `Scores` of a head's card."""
    explanation = (
        "NDCG@10 on test queries relative to exact dense search, by features alone (per document/per query) and after\n"
        "exact rescoring of the first 100 hits, as written by `python -m benchmarks encoder-frontier`."
    )
    return "\n\n".join((SCORES_HEADING, explanation, scores_to_markdown(results)))


def scores_to_markdown(results: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Return the results of each set with 64 features per document as a Markdown table."""
    heads = ("set", "exact dense", "64/16", "64/32", "64/32 rescored", "dense top 10 in first 100", "postings at 64/32")
    lines = []
    for name, rows in results.items():
        at = {(row["k_doc"], row["k_query"]): row for row in rows}
        short, full = at[64, 16], at[64, 32]
        cells = (
            name,
            f"{full['dense_ndcg@10']:.3f}",
            f"{short['ndcg_share']:.1%}",
            f"{full['ndcg_share']:.1%}",
            f"{full['rescored_ndcg_share']:.1%}",
            f"{full['recall_of_dense_top_10@100']:.1%}",
            f"{full['postings_per_document']:.2f} N",
        )
        lines.append(cells)
    return to_table(heads, lines)
