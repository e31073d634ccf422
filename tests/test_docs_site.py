"""The documentation, built as `make docs` builds it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import connector
from benchmarks.pages import write_tables
from connector.cli.main import cli
from connector.errors import ConnectorError

ROOT = Path(__file__).parents[1]
PAGES_WITH_TABLES = [
    path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if "<!-- table: " in path.read_text(encoding="utf-8")
]


class Page(HTMLParser):
    """What a page names: where its links lead, what it loads, and where links may lead to."""

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
    assert {f"ksparse-{name}" for name in cli.list_commands(None)} <= site[Path("commands.html")].anchors  # type: ignore[arg-type]


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


def rows_of(name: str) -> dict[str, dict[str, Any]]:
    [rows] = json.loads((ROOT / "benchmarks" / "results" / name).read_text(encoding="utf-8"))["results"].values()
    return {f"{row['system']} {row['knob']}".strip(): row for row in rows}


def test_where_it_loses_is_as_the_page_says() -> None:
    debian, wordnet = rows_of("frontier-debian.json"), rows_of("levers-wordnet.json")
    ours = {name: row for name, row in debian.items() if row["system"].startswith("k-sparse")}
    bm25, dense = debian["BM25"], debian["exact dense"]
    assert bm25["ndcg@10"] > max(dense["ndcg@10"], *(row["ndcg@10"] for row in ours.values()))
    near = [row for row in ours.values() if row["ndcg_share"] > bm25["ndcg_share"] - 0.05]
    assert all(bm25[key] < row[key] for row in near for key in ("p50_ms", "index_bytes"))
    assert max(debian.values(), key=lambda row: float(row["ndcg@10"]))["system"] == "BM25 + k-sparse"

    without_codes = [row for name, row in wordnet.items() if "bit" not in name and "knn" not in name]
    features = [row for row in without_codes if not row["system"].startswith(("exact", "HNSW"))]
    assert max(row["ndcg_share"] for row in features) < 0.9
    assert wordnet["k-sparse, 32 a document + 2 bits k_query=16, 100 rescored"]["ndcg_share"] > 0.9

    found = [debian[f"k-sparse k_query={k}"]["overlap@10"] for k in (16, 32, 64)]
    assert all(0.4 < share < 0.6 for share in found)
    with_codes = [row["overlap@10"] for name, row in ours.items() if "bits" in name]
    assert max(found) < min(with_codes) and max(with_codes) < debian["HNSW default"]["overlap@10"]

    assert debian["k-sparse k_query=32"]["p50_ms"] >= debian["HNSW byte default"]["p50_ms"]
    assert wordnet["scaled weights k_query=32"]["p50_ms"] >= wordnet["HNSW byte default"]["p50_ms"]
    assert debian["k-sparse k_query=64"]["p50_ms"] > debian["HNSW default"]["p50_ms"]
    seismic, same = debian["SEISMIC top_n=8"], debian["k-sparse k_query=32"]
    assert seismic["ndcg@10"] == pytest.approx(same["ndcg@10"], abs=1e-3)
    assert seismic["p50_ms"] < same["p50_ms"] and seismic["index_bytes"] > 5 * same["index_bytes"]

    encoded = {
        name: debian[name]["with_encoding"]["p50_ms"] for name in ("HNSW default", "k-sparse k_query=16", "BM25")
    }
    assert encoded["BM25"] < encoded["HNSW default"] < encoded["k-sparse k_query=16"]
