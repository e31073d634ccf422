"""The documentation, built as `make docs` builds it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import connector
from benchmarks.pages import write_tables
from benchmarks.results import read_result
from connector.cli.main import cli
from connector.cli.train import SUBCOMMANDS
from connector.errors import ConnectorError

ROOT = Path(__file__).parents[1]
PAGES_WITH_TABLES = [
    path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if "<!-- table: " in path.read_text(encoding="utf-8")
]


class Page(HTMLParser):
    """Links, loaded resources and anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value for name, value in attrs if value}
        self.anchors |= {named[name] for name in ("id", "name") if name in named}
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        elif tag != "a":
            self.loaded += [named[name] for name in ("src", "href", "srcset", "data") if name in named]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """The pages, of a build in which any warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert built.returncode == 0, built.stderr
    return {path.relative_to(folder): Page(path) for path in folder.rglob("*.html")}


def test_every_public_name_is_described(site: dict[Path, Page]) -> None:
    described = set().union(*(page.anchors for path, page in site.items() if path.parts[0] == "api"))
    assert {f"connector.{name}" for name in connector.__all__} - described == set()


def test_every_page_and_every_command_is_in_the_site(site: dict[Path, Page]) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    from_the_first = {Path(link) for link in site[Path("index.html")].links}
    assert pages <= from_the_first, "the navigation leads to each"
    described = site[Path("commands.html")].anchors
    assert {f"ksparse-{name}" for name in cli.list_commands(None)} <= described  # type: ignore[arg-type]
    assert {f"ksparse-train-{name}" for name in SUBCOMMANDS} <= described


def test_every_link_inside_of_the_site_leads_somewhere(site: dict[Path, Page]) -> None:
    by_path = {page.path.resolve(): page for page in site.values()}
    broken = []
    for page in site.values():
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            # 404.html is served for any address, so its links begin at the root of a host.
            if parts.scheme or page.path.name == "404.html":
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path.resolve()
            target = target / "index.html" if target.is_dir() else target
            there = target.is_file() and (not parts.fragment or unquote(parts.fragment) in by_path[target].anchors)
            if not there and parts.fragment != "__skip":
                broken.append(f"{page.path.name}: {link}")
    assert broken == []


def test_nothing_is_loaded_from_another_host(site: dict[Path, Page]) -> None:
    loaded = {(page.path.name, address) for page in site.values() for address in page.loaded}
    assert any(address.endswith(".png") for _, address in loaded)
    assert {each for each in loaded if urlsplit(each[1]).netloc} == set()


@pytest.mark.parametrize("page", PAGES_WITH_TABLES, ids=lambda page: page.name)
def test_the_tables_of_a_page_are_those_of_the_results(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert write_tables(text) == text, f"write them anew: python -m benchmarks report {page.relative_to(ROOT)}"


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("nothing benchmarks/results/ingest-debian.json", "no table 'nothing'; there are compare, "),
        ("compare benchmarks/results/none.json", "none.json cannot be read"),
        ("sizes benchmarks/results/frontier-debian.json\nHNSW twice\n", "no row 'HNSW twice'; it has exact dense; "),
    ],
)
def test_a_table_that_there_is_not_is_refused(comment: str, message: str) -> None:
    with pytest.raises(ConnectorError, match=message):
        write_tables(f"<!-- table: {comment} -->\n<!-- end -->\n")


Rows = dict[str, dict[str, Any]]


def rows_of(name: str) -> Rows:
    [rows] = json.loads((ROOT / "benchmarks" / "results" / name).read_text(encoding="utf-8"))["results"].values()
    return {f"{row['system']} {row['knob']}".strip(): row for row in rows}


DEBIAN, WORDNET = "frontier-debian.json", "levers-wordnet.json"


def ours_of(rows: Rows) -> Rows:
    return {name: row for name, row in rows.items() if row["system"].startswith("k-sparse")}


def bm25_beats_every_setting(debian: Rows) -> bool:
    best = max(debian["exact dense"]["ndcg@10"], *(row["ndcg@10"] for row in ours_of(debian).values()))
    return bool(debian["BM25"]["ndcg@10"] > best)


def bm25_is_smaller_and_faster(debian: Rows) -> bool:
    bm25 = debian["BM25"]
    near = [row for row in ours_of(debian).values() if row["ndcg_share"] > bm25["ndcg_share"] - 0.05]
    return bool(near) and all(bm25[key] < row[key] for row in near for key in ("p50_ms", "index_bytes"))


def both_together_are_best(debian: Rows) -> bool:
    return bool(max(debian.values(), key=lambda row: float(row["ndcg@10"]))["system"] == "BM25 + k-sparse")


def codes_reach_nine_tenths_and_features_do_not(wordnet: Rows) -> bool:
    without_codes = [row for name, row in wordnet.items() if "bit" not in name and "knn" not in name]
    features = [row for row in without_codes if not row["system"].startswith(("exact", "HNSW"))]
    coded = wordnet["k-sparse, 32 a document + 2 bits k_query=16, 100 rescored"]
    return bool(max(row["ndcg_share"] for row in features) < 0.9 < coded["ndcg_share"])


def half_of_the_neighbours(debian: Rows) -> bool:
    return all(0.4 < debian[f"k-sparse k_query={k}"]["overlap@10"] < 0.6 for k in (16, 32, 64))


def codes_bring_most_back(debian: Rows) -> bool:
    found = [debian[f"k-sparse k_query={k}"]["overlap@10"] for k in (16, 32, 64)]
    with_codes = [row["overlap@10"] for name, row in ours_of(debian).items() if "bits" in name]
    return bool(max(found) < min(with_codes) and max(with_codes) < debian["HNSW default"]["overlap@10"])


def as_fast_as_bytes_or_slower(debian: Rows) -> bool:
    return bool(debian["k-sparse k_query=32"]["p50_ms"] >= debian["HNSW byte default"]["p50_ms"])


def slower_at_64(debian: Rows) -> bool:
    return bool(debian["k-sparse k_query=64"]["p50_ms"] > debian["HNSW default"]["p50_ms"])


def seismic_is_faster_and_larger(debian: Rows) -> bool:
    seismic, same = debian["SEISMIC top_n=8"], debian["k-sparse k_query=32"]
    assert seismic["ndcg@10"] == pytest.approx(same["ndcg@10"], abs=1e-3)
    return bool(seismic["p50_ms"] < same["p50_ms"] and seismic["index_bytes"] > 5 * same["index_bytes"])


def encoding_dominates(debian: Rows) -> bool:
    rows = [debian[name] for name in ("HNSW default", "k-sparse k_query=16")]
    slow = all(row["with_encoding"]["p50_ms"] > 2 * row["p50_ms"] for row in rows)
    return slow and all(row["with_encoding"]["p50_ms"] > debian["BM25"]["with_encoding"]["p50_ms"] for row in rows)


def test_a_new_index_finds_what_the_page_says() -> None:
    page = " ".join((ROOT / "docs" / "comparison.md").read_text(encoding="utf-8").split())
    results = [read_result(path)["results"] for path in (ROOT / "benchmarks" / "results").glob("dictionary-*.json")]
    found = [[row["overlap@10"] for row in rows[1:3]] for groups in results for rows in groups.values()]
    graph, own = ([pair[at] for pair in found] for at in (0, 1))
    shares = [f"{100 * min(each):.0f} to {100 * max(each):.0f} %" for each in (own, graph)]
    assert f"By default a new index finds {shares[0]} of the exact top ten, HNSW {shares[1]}." in page


@pytest.mark.parametrize(
    ("claim", "result", "holds"),
    [
        ("On debian BM25 beats exact dense search and every k-sparse setting", DEBIAN, bm25_beats_every_setting),
        ("is smaller and faster than any setting of similar quality", DEBIAN, bm25_is_smaller_and_faster),
        ("Only both together are better.", DEBIAN, both_together_are_best),
        (
            "On wordnet no setting without codes reaches 90 % of dense NDCG@10; with codes it does.",
            WORDNET,
            codes_reach_nine_tenths_and_features_do_not,
        ),
        ("About half of the dense top 10 are in the first ten", DEBIAN, half_of_the_neighbours),
        ("Codes bring most of them back, never all", DEBIAN, codes_bring_most_back),
        ("At `k_query=32` k-sparse is about as fast as HNSW on bytes or slower", DEBIAN, as_fast_as_bytes_or_slower),
        ("at 64 it is slower than HNSW in fp32, too", DEBIAN, slower_at_64),
        (
            "**SEISMIC is faster at the same quality**, with several times the bytes",
            DEBIAN,
            seismic_is_faster_and_larger,
        ),
        ("Encoding the query takes longer than the search, for k-sparse as for HNSW", DEBIAN, encoding_dominates),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_where_it_loses_is_as_the_page_says(claim: str, result: str, holds: Callable[[Rows], bool]) -> None:
    page = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
    section = " ".join(page.partition("## Where it loses")[2].partition("\n## ")[0].split())
    assert claim in section, "the page says something else: bring the test in line with it"
    assert holds(rows_of(result)), f"the page claims {claim!r}, and the result says otherwise"
