"""The page of `ksparse explore` on a real node, in a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import numpy as np
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from opensearchpy import OpenSearch
from playwright.sync_api import Browser, Page, expect, sync_playwright

from connector.cli.explore import open_companion
from connector.cli.main import cli
from connector.cluster.node import free_ports
from connector.connection.client import connect
from connector.encoders.text import TextEncoder
from connector.errors import IndexMappingError
from connector.explore.app import HEADERS, create_app
from connector.explore.columns import Explorer, Question
from connector.explore.frontier import results_folder
from connector.explore.hnsw import HnswIndex
from connector.index.new_index import NewIndex
from connector.index.writer import BulkWriter
from connector.ingest.own_dictionary import OwnDictionary
from connector.ingest.pipeline import ingest_documents
from connector.ingest.prepare import prepare_encoder
from connector.query.pruning import Pruning
from connector.query.settings import SearchSettings
from connector.search.retriever import Retriever
from connector.types import Document
from tests.app_server import serving_app
from tests.fault_proxy import fault_proxy
from tests.patience import PATIENCE_S, process
from tests.tiny import NUM_LATENTS, WORDS, build_splade

pytestmark = pytest.mark.opensearch

QUERY = "plants eat light"
HOSTILE = "<script>document.title = 'taken'</script> <b>plants</b>"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
COLUMNS = ["K-sparse", "HNSW", "BM25", "Hybrid"]

# Minimum contrast of each element with text to its background.
CONTRAST = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parts(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
  };
  const ratios = [...document.body.querySelectorAll("*")]
    .filter((each) => each.checkVisibility() && [...each.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .map((each) => {
      const [a, b] = [luminance(parts(getComputedStyle(each).color)), luminance(behind(each))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), each.outerHTML.slice(0, 80)];
    });
  return [ratios.length, ...ratios.reduce((least, each) => each[0] < least[0] ? each : least)];
}"""


class Served(NamedTuple):
    """A page that is up, and what it asks."""

    url: str
    explorer: Explorer


def documents() -> list[Document]:
    random = np.random.default_rng(0)
    some = [" ".join(random.choice(WORDS, 6)) for _ in range(120)]
    known = [
        Document("plants", "eat light with green leaves", title="Plants", metadata={"lang": "en"}),
        Document("hostile", HOSTILE, title=HOSTILE, metadata={"lang": "en"}),
        Document("cats", "cats sleep on warm stones", metadata={"lang": "de"}),
    ]
    return known + [Document(f"random {row}", text) for row, text in enumerate(some)]


@pytest.fixture(scope="module")
def labelled(lexical: TextEncoder) -> TextEncoder:
    """The tiny encoder, its latents named."""
    return TextEncoder(lexical.model, labels=tuple((f"meaning {latent}", "term") for latent in range(NUM_LATENTS)))


@pytest.fixture(scope="module")
def explored(client: OpenSearch, labelled: TextEncoder) -> Iterator[Retriever]:
    """An index with codes that all tests of this file may read."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    texts = [document.content for document in documents()]
    calibrated = prepare_encoder(client, name, labelled, sample=texts, new=NewIndex(code_bits=4))
    assert ingest_documents(documents(), calibrated, BulkWriter(client, name)).indexed == len(texts)
    client.indices.refresh(index=name)
    yield Retriever(client, name, labelled)
    client.indices.delete(index=f"{name}*")


@pytest.fixture(scope="module")
def explorer(client: OpenSearch, explored: Retriever) -> Explorer:
    hnsw = HnswIndex(client, explored.schema, explored.encoder)
    hnsw.build(lambda _done: None)
    return Explorer(client, explored, hnsw)


@pytest.fixture(scope="module")
def served(explorer: Explorer) -> Iterator[Served]:
    with serving_app(create_app(explorer, results_folder())) as url:
        yield Served(url, explorer)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        expect.set_options(timeout=1_000 * PATIENCE_S)
        with playwright.chromium.launch(executable_path=found, args=arguments) as browser:
            yield browser


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """A window of 1,280 pixels; whatever the browser complains about fails the test."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, base_url=served.url)
    page.set_default_timeout(1_000 * PATIENCE_S)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    page.close()
    # Errors that the page itself explains.
    assert [each for each in complaints if "responded with a status of 400" not in each] == []


@pytest.fixture
def web(explorer: Explorer, tmp_path: Path) -> FlaskClient:
    return create_app(explorer, tmp_path).test_client()


def move(page: Page, slider: str, value: int) -> None:
    """As a hand would: the value, then that it was let go."""
    with page.expect_response(re.compile(rf"{slider}={value}\b")):
        page.locator(f"input[name={slider}]").fill(str(value))
    expect(page.locator("#answer")).not_to_have_attribute("aria-busy", "true")


def ids_of(page: Page, column: str) -> list[str | None]:
    rows = page.locator(f".column.{column.lower()} .hits > li")
    return [row.get_attribute("data-key") for row in rows.all()]


def test_a_typed_query_is_answered_in_four_columns(page: Page, served: Served) -> None:
    page.goto("/")
    page.get_by_label("Query", exact=True).fill(QUERY)
    page.keyboard.press("Enter")
    expect(page.locator(".column .latency")).to_have_count(4)
    assert page.locator(".column h2").all_text_contents() == COLUMNS
    found = served.explorer.ask(Question(QUERY, served.explorer.defaults))
    for column in found.columns:
        assert ids_of(page, column.name) == [row.hit.doc_id for row in column.rows] != []
    assert ids_of(page, "BM25")[0] == "plants"
    for shown in page.locator(".latency b").all_text_contents():
        assert 0 < float(shown) < 1_000 * PATIENCE_S
    assert f"q={QUERY.replace(' ', '+')}" in page.url, "the address can be kept"
    assert page.title().startswith(QUERY)


def test_the_first_slider_changes_the_features(page: Page) -> None:
    page.goto(f"/?q={QUERY}&k_query=2")
    assert page.locator(".features li").count() == 2
    page.locator(".features summary").click()
    move(page, "k_query", 12)
    assert page.locator("output").first.text_content() == "12"
    assert page.locator(".features li").count() == 12
    expect(page.locator(".features ol"), "what was open stays open").to_be_visible()
    assert "k_query=12" in page.url


def test_the_second_slider_rescores_by_codes(page: Page) -> None:
    page.goto(f"/?q={QUERY}&k_query=4&window=0")
    by_features = ids_of(page, "K-sparse")
    expect(page.locator(".column.k-sparse .how")).to_have_text("4 features")
    move(page, "window", 100)
    expect(page.locator(".column.k-sparse .how")).to_have_text("4 features, 100 rescored")
    assert ids_of(page, "K-sparse") != by_features
    page.locator(".column.k-sparse .hits summary").first.click()
    expect(page.get_by_text("its code then determined the score").first).to_be_visible()


def test_the_features_of_a_hit_have_labels_and_shares_that_add_up(page: Page) -> None:
    page.goto(f"/?q={QUERY}&k_query=16&window=0")
    hit = page.locator(".column.k-sparse .hits > li").first
    hit.locator("summary").click()
    expect(hit.locator(".why")).to_be_visible()
    shares = [float(text.removesuffix(" %")) for text in hit.locator(".share").all_text_contents()]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(100, abs=0.05 * len(shares))
    labels = hit.locator(".label").all_text_contents()
    assert len(labels) == len(shares) and all(re.fullmatch(r'"\w+"|meaning \d+, term', label) for label in labels)
    widths = [bar.bounding_box() for bar in hit.locator(".why rect").all()]
    assert widths[0] is not None and widths[-1] is not None and widths[0]["width"] > widths[-1]["width"] > 0


def test_badges_show_the_other_ranks_of_a_hit(page: Page) -> None:
    page.goto(f"/?q={QUERY}")
    ranks = {name: {key: rank for rank, key in enumerate(ids_of(page, name), start=1)} for name in COLUMNS}
    for name in COLUMNS:
        for row in page.locator(f".column.{name.lower()} .hits > li").all():
            key = row.get_attribute("data-key")
            wanted = [f"{other} {ranks[other][key]}" for other in COLUMNS if other != name and key in ranks[other]]
            assert row.locator(".place").all_text_contents() == (wanted or ["only here"])
    first = page.locator(".column.bm25 .hits > li").first
    first.hover()
    expect(page.locator(".hits > li.same")).to_have_count(1 + first.locator(".place", has_not_text="only").count())


def test_a_filter_holds_in_every_column(page: Page) -> None:
    page.goto(f"/?q={QUERY}")
    page.get_by_label("Filter").fill("lang=de")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".column.hnsw .hits > li")).to_have_count(1)
    for name in COLUMNS:
        assert set(ids_of(page, name)) <= {"cats"}
    expect(page.locator(".column.bm25")).to_contain_text("No hits.")


def test_the_second_tab_shows_plot_and_figures(page: Page) -> None:
    page.goto("/")
    page.get_by_role("link", name="Frontier").click()
    picture = page.locator("figure img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 500, "once it is loaded"
    heads = page.locator("thead th").all_text_contents()
    assert heads == ["System", "NDCG@10", "of dense", "bytes per document", "p50 of HNSW", "p99 of HNSW"]
    [newest] = [path for path in results_folder().glob("frontier-*.json") if path.stem in picture.get_attribute("src")]  # type: ignore[operator]
    [rows] = json.loads(newest.read_text())["results"].values()
    assert page.locator("tbody tr").count() == len(rows)
    hnsw = page.locator("tbody tr", has_text="HNSW default").first.locator("td").all_text_contents()
    assert hnsw[3:] == ["1.00", "1.00"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("address", ["/", f"/?q={QUERY}", "/?q=+", "/frontier"])
def test_every_size_and_scheme_fits_and_can_be_read(page: Page, address: str, width: int, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(address)
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    texts, least, where = page.evaluate(CONTRAST)
    assert texts > 5 and least >= 4.5, where
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(background[4:].split(",")[0]) < 60) == (scheme == "dark")


def test_a_narrow_window_shows_one_column_at_a_time(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"/?q={QUERY}")
    for name in COLUMNS:
        page.locator(".tabs").get_by_text(name, exact=True).click()
        assert page.locator(".column:visible h2").all_text_contents() == [name]
    move(page, "k_query", 3)
    assert page.locator(".column:visible h2").all_text_contents() == ["Hybrid"], "the same after another answer"


def test_everything_is_reached_by_keyboard(page: Page) -> None:
    page.goto(f"/?q={QUERY}&k_query=8")
    page.get_by_label("Query", exact=True).focus()
    page.keyboard.press("Tab")
    with page.expect_response(re.compile("k_query=9")):
        page.keyboard.press("ArrowRight")
    expect(page.locator("output").first).to_have_text("9")
    assert page.evaluate("document.activeElement.name") == "k_query", "the next press goes on"


def test_the_page_works_without_scripts(browser: Browser, served: Served) -> None:
    page = browser.new_page(base_url=served.url, java_script_enabled=False)
    page.goto("/")
    page.get_by_label("Query", exact=True).fill(QUERY)
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".column .latency")).to_have_count(4)
    page.close()


def test_a_document_cannot_bring_markup(page: Page) -> None:
    page.goto("/?q=plants script")
    hit = page.locator('.column.bm25 li[data-key="hostile"]')
    expect(hit.locator("h3")).to_contain_text(HOSTILE)
    expect(hit.locator(".text")).to_have_text(HOSTILE)
    assert page.title().startswith("plants script")
    assert page.locator("#answer script, .text b").count() == 0


def test_a_page_whose_server_is_gone_reports_it(browser: Browser, explorer: Explorer, tmp_path: Path) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(serving_app(create_app(explorer, tmp_path)))
        page = browser.new_page(base_url=url)
        page.goto(f"/?q={QUERY}")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("alert")).to_contain_text("is `ksparse explore` still running?")
    page.close()


def test_an_internal_error_is_not_taken_for_a_server_that_is_gone(
    browser: Browser, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = browser.new_page(base_url=served.url)
    page.goto("/")

    def broken(_question: Question) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(served.explorer, "ask", broken)
    page.get_by_label("Query", exact=True).fill(QUERY)
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("alert")).to_contain_text("Internal error; see the terminal")
    page.close()


@pytest.mark.parametrize("host", ["example.org", "example.org:8765", "127.0.0.1.example.org", "10.0.0.1"])
def test_a_foreign_name_is_refused(web: FlaskClient, explorer: Explorer, host: str) -> None:
    for path in ("/", "/?q=plants", "/nowhere", "/static/page.js"):
        reply = web.get(path, headers={"Host": host})
        assert reply.status_code == 400 and reply.text.startswith("This page is only shown")
        assert explorer.retriever.schema.index not in reply.text


def test_every_answer_forbids_what_the_page_does_not_need(web: FlaskClient) -> None:
    for address in ("/", "/?q=plants", "/nowhere", "/static/style.css"):
        with web.get(address) as reply:
            assert HEADERS.items() <= dict(reply.headers).items()
    assert "unsafe" not in HEADERS["Content-Security-Policy"]
    assert web.post("/").status_code == 405


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/?q=", "The query is empty"),
        ("/?q=%20", "The query is empty"),
        (f"/?q={'plants ' * 60}", "the encoder reads at most 12; shorten it"),
        ("/?q=plants&filter=lang", "is not of the form NAME=VALUE"),
        ("/?q=plants&k_query=many", "k_query must be a whole number from 1 to 64"),
        ("/?q=plants&k_query=0", "k_query must be a whole number from 1 to 64"),
        ("/?q=plants&window=-1", "window must be a whole number from 0 to 500"),
    ],
)
def test_mistakes_are_said_on_the_page(web: FlaskClient, address: str, words: str) -> None:
    reply = web.get(address)
    assert reply.status_code == 400 and words in reply.text and "Traceback" not in reply.text


def test_a_server_that_is_gone_is_said_on_the_page(
    opensearch_url: str, explored: Retriever, labelled: TextEncoder, tmp_path: Path
) -> None:
    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as client:
        web = create_app(Explorer(client, Retriever(client, explored.schema.index, labelled)), tmp_path).test_client()
        assert web.get(f"/?q={QUERY}").status_code == 200
    gone = web.get(f"/?q={QUERY}")
    assert gone.status_code == 503 and "No OpenSearch answers at" in gone.text and "Traceback" not in gone.text


def test_an_index_that_is_deleted_meanwhile_is_said_on_the_page(
    client: OpenSearch, index: str, labelled: TextEncoder, tmp_path: Path
) -> None:
    calibrated = prepare_encoder(client, index, labelled, sample=["plants eat light"], new=NewIndex(code_bits=None))
    ingest_documents([Document("1", "plants eat light")], calibrated, BulkWriter(client, index))
    client.indices.refresh(index=index)
    retriever = Retriever(client, index, labelled)
    hnsw = HnswIndex(client, retriever.schema, retriever.encoder)
    hnsw.build(lambda _done: None)
    web = create_app(Explorer(client, retriever, hnsw), tmp_path).test_client()
    client.indices.delete(index=hnsw.name)
    without = web.get(f"/?q={QUERY}").text
    assert f"{hnsw.name} no longer exists; start again with --hnsw." in without
    assert without.count('class="latency"') == 3, "the other columns are answered"
    client.indices.delete(index=index)
    reply = web.get(f"/?q={QUERY}")
    assert reply.status_code == 400 and f"There is no index &#39;{index}&#39;" in reply.text


def test_what_the_page_does_not_foresee_is_no_stack_trace(
    explorer: Explorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_question: Question) -> None:
        raise RuntimeError("s3cret")

    monkeypatch.setattr(explorer, "ask", broken)
    reply = create_app(explorer, tmp_path).test_client().get(f"/?q={QUERY}")
    assert reply.status_code == 500 and "Internal error" in reply.text
    assert "s3cret" not in reply.text and "Traceback" not in reply.text


def test_columns_hold_what_each_search_finds(explorer: Explorer, explored: Retriever) -> None:
    answer = explorer.ask(Question(QUERY, SearchSettings(8, 0), "lang=en"))
    assert [column.name for column in answer.columns] == COLUMNS
    found = {column.name: [row.hit.doc_id for row in column.rows] for column in answer.columns}
    filters = [{"term": {"metadata.lang": {"value": "en"}}}]
    asked: dict[str, Any] = {"settings": SearchSettings(8, 0), "filters": filters}
    assert found["K-sparse"] == [hit.doc_id for hit in explored.search(QUERY, **asked)]
    assert found["Hybrid"] == [hit.doc_id for hit in explored.search_hybrid(QUERY, **asked)]
    assert set(found["BM25"]) == {"plants", "hostile"}
    [query] = explored.encoder.embed([QUERY], task="query")
    near = {document.doc_id: explored.encoder.embed([document.content])[0] @ query for document in documents()[:2]}
    assert found["HNSW"] == sorted(near, key=lambda doc_id: -near[doc_id]), "by the dense model's own order"
    assert len(answer.features) == 8 and answer.documents == len(documents()) and answer.encoding_ms > 0
    assert all(column.latency_ms > 0 and not column.error for column in answer.columns)


def test_the_shown_features_are_those_that_are_searched(client: OpenSearch, named: str, encoder: TextEncoder) -> None:
    random = np.random.default_rng(4)
    texts = [" ".join(random.choice(WORDS, 7)) for _ in range(1_200)]
    own = OwnDictionary(texts, documents=len(texts))
    calibrated = prepare_encoder(client, named, encoder, sample=texts, dictionary=own, new=NewIndex(code_bits=4))
    some = [Document(str(row), text) for row, text in enumerate(texts[:50])]
    assert ingest_documents(some, calibrated, BulkWriter(client, named)).indexed == 50
    client.indices.refresh(index=named)
    explorer = Explorer(client, Retriever(client, named, calibrated))
    for settings in (explorer.defaults, replace(explorer.defaults, pruning=Pruning("top_k", 3))):
        answer = explorer.ask(Question(QUERY, settings))
        searched, _ = explorer.retriever.opened.encode(QUERY, settings)
        assert {each.name: each.weight for each in answer.features} == pytest.approx(searched)
        weights = [each.weight for each in answer.features]
        assert weights == sorted(weights, reverse=True)


def test_without_hnsw_a_line_says_how_to_get_it(client: OpenSearch, explored: Retriever, tmp_path: Path) -> None:
    web = create_app(Explorer(client, explored), tmp_path, without_hnsw="start with --hnsw").test_client()
    page = web.get(f"/?q={QUERY}").text
    assert page.count('class="latency"') == 3 and "start with --hnsw" in page


def test_an_encoder_without_a_dense_model_goes_without_hnsw(
    client: OpenSearch, index: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splade = TextEncoder(build_splade(tmp_path / "splade"))
    calibrated = prepare_encoder(client, index, splade, new=NewIndex(code_bits=None))
    ingest_documents([Document("1", "plants eat light")], calibrated, BulkWriter(client, index))
    client.indices.refresh(index=index)
    retriever = Retriever(client, index, splade)
    hnsw, without_hnsw = open_companion(client, retriever, asked=True, quiet=True)
    assert hnsw is None and "no dense model" in without_hnsw and without_hnsw in capsys.readouterr().err
    answer = Explorer(client, retriever, hnsw).ask(Question(QUERY, SearchSettings(8, 0)))
    assert [[row.hit.doc_id for row in column.rows] for column in answer.columns] == [["1"]] * 3


def test_an_index_without_codes_has_no_second_slider(
    client: OpenSearch, index: str, lexical: TextEncoder, tmp_path: Path
) -> None:
    prepare_encoder(client, index, lexical, new=NewIndex(code_bits=None))
    explorer = Explorer(client, Retriever(client, index, lexical))
    web = create_app(explorer, tmp_path).test_client()
    page = web.get("/?q=plants").text
    assert 'name="window"' not in page and "--code-bits 4" in page and "No hits." in page


def test_a_companion_is_taken_again_only_where_it_is_whole_and_fits(
    client: OpenSearch, index: str, labelled: TextEncoder
) -> None:
    texts = ["plants eat light", "stars burn for years"]
    calibrated = prepare_encoder(client, index, labelled, sample=texts, new=NewIndex(code_bits=None))
    writer = BulkWriter(client, index)
    ingest_documents([Document(str(row), text) for row, text in enumerate(texts)], calibrated, writer)
    client.indices.refresh(index=index)

    def companion() -> HnswIndex:
        retriever = Retriever(client, index, labelled)
        return HnswIndex(client, retriever.schema, retriever.encoder)

    def stopped(_done: int) -> None:
        raise KeyboardInterrupt

    assert companion().stale_reason() == "it does not exist yet"
    with pytest.raises(KeyboardInterrupt):
        companion().build(stopped)
    assert companion().stale_reason() == "its last build was interrupted"
    told_of: list[int] = []
    companion().build(told_of.append)
    assert told_of == [2] and companion().stale_reason() == ""
    ingest_documents([Document("2", "cats sleep")], calibrated, writer)
    client.indices.refresh(index=index)
    assert companion().stale_reason() == f"it holds 2 documents, {index} 3"
    companion().build(told_of.append)
    assert companion().stale_reason() == ""
    client.indices.delete(index=index)
    prepare_encoder(client, index, labelled, sample=texts, new=NewIndex(code_bits=None))
    assert companion().stale_reason() == f"{index} was recreated"
    client.indices.delete(index=index)
    prepare_encoder(client, index, labelled, sample=["another corpus"], new=NewIndex(code_bits=None))
    assert companion().stale_reason() == f"{index} has another encoder now"
    client.indices.delete(index=companion().name)
    client.indices.create(index=companion().name)
    with pytest.raises(IndexMappingError, match="was not created by `ksparse explore --hnsw`"):
        companion().stale_reason()
    client.indices.delete(index=companion().name)


def test_a_companion_has_whole_documents_whatever_their_fields_are_named(
    client: OpenSearch, index: str, labelled: TextEncoder
) -> None:
    named = {
        "version": "integer",
        "routing": "keyword",
        "parent": "keyword",
        "pipeline": "keyword",
        "if_seq_no": "long",
    }
    new = NewIndex(code_bits=None, fields=named, settings={"number_of_shards": 3})
    fields: dict[str, Any] = {"version": 3, "routing": "a", "parent": "b", "pipeline": "c", "if_seq_no": 4}
    metadata = {"lang": "en", "long": "x" * 40_000}
    documents = [Document(str(row), f"{text} cats", metadata=metadata, fields=fields) for row, text in enumerate(WORDS)]
    calibrated = prepare_encoder(client, index, labelled, new=new)
    assert ingest_documents(documents, calibrated, BulkWriter(client, index)).indexed == len(WORDS)
    client.indices.refresh(index=index)
    retriever = Retriever(client, index, labelled)
    hnsw = HnswIndex(client, retriever.schema, retriever.encoder)
    try:
        hnsw.build(lambda _done: None)
        [query] = calibrated.embed(["cats"], task="query")
        english: list[dict[str, Any]] = [{"term": {"metadata.lang": {"value": "en"}}}, {"term": {"routing": "a"}}]
        hits = hnsw.search(query, filters=english)
        assert len(hits) == 10
        assert all(hit.metadata == metadata and hit.source.items() >= fields.items() for hit in hits)
        assert client.get(index=hnsw.name, id="0")["found"], "in the shard of its id"
    finally:
        client.indices.delete(index=hnsw.name, ignore_unavailable=True)


def test_a_companion_of_an_alias_is_built_anew_when_its_filter_changes(
    client: OpenSearch, index: str, labelled: TextEncoder
) -> None:
    texts = ["plants eat light", "stars burn for years"]
    calibrated = prepare_encoder(client, index, labelled, sample=texts, new=NewIndex(code_bits=None))
    documents = [Document(str(row), text, metadata={"tenant": str(row)}) for row, text in enumerate(texts)]
    ingest_documents(documents, calibrated, BulkWriter(client, index))
    alias = f"{index}-alias"

    def shown(tenant: str) -> HnswIndex:
        client.indices.refresh(index=index)
        client.indices.put_alias(index=index, name=alias, body={"filter": {"term": {"metadata.tenant": tenant}}})
        retriever = Retriever(client, alias, labelled)
        return HnswIndex(client, retriever.schema, retriever.encoder)

    try:
        companion = shown("0")
        companion.build(lambda _done: None)
        assert companion.stale_reason() == "" and client.count(index=companion.name)["count"] == 1
        assert shown("1").stale_reason() == f"the alias {alias} was changed"
    finally:
        client.indices.delete(index=f"{alias}-hnsw", ignore_unavailable=True)


def test_results_that_are_not_there_or_broken_are_said(explorer: Explorer, tmp_path: Path) -> None:
    web = create_app(explorer, tmp_path).test_client()
    assert "python -m benchmarks frontier" in web.get("/frontier").text
    row = {"system": "HNSW", "knob": "default", "ndcg@10": 0.5, "ndcg_share": 1.0}
    head = {"suite": "frontier", "params": {"dataset": "a set"}, "environment": {}}
    (tmp_path / "frontier-a.json").write_text(json.dumps(head | {"results": {"a": [row]}}))
    (tmp_path / "frontier-b.json").write_text('{"suite": "frontier"}')
    (tmp_path / "secret.png").write_bytes(b"")
    shown = web.get("/frontier?result=frontier-a").text
    assert "a set" in shown and "0.500" in shown and "python -m benchmarks report" in shown
    broken = web.get("/frontier?result=frontier-b")
    assert broken.status_code == 400 and "is not a result of `python -m benchmarks frontier`" in broken.text
    assert "contains no result" in web.get("/frontier?result=nothing").text
    for name in ("frontier-a", "secret", "..%2Fsecret", "nothing"):
        assert web.get(f"/frontier/{name}.png").status_code == 404


def test_mistakes_of_the_command_are_one_line(workplace: Path, index: str, head_folder: Path) -> None:
    run = CliRunner().invoke
    options = ["explore", "--index", index, "--encoder", str(head_folder)]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run(cli, [*options, "--port", str(port)])
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"Error: Port {port} on 127.0.0.1 is not available")
        assert f"--port {port + 1}" in result.stderr and result.stderr.count("\n") == 1
    result = run(cli, [*options, "--port", str(port)])
    assert result.exit_code == 1 and f"There is no index '{index}'" in result.stderr
    assert run(cli, ["explore"]).exit_code == 2


def test_the_command_serves_until_it_is_stopped(
    explored: Retriever, explorer: Explorer, workplace: Path, head_folder: Path, client: OpenSearch, index: str
) -> None:
    (workplace / "corpus.jsonl").write_text('{"_id": "1", "text": "plants eat light"}\n')
    options = ["--index", index, "--encoder", str(head_folder), "--quiet"]
    assert CliRunner().invoke(cli, ["ingest", "corpus.jsonl", *options]).exit_code == 0
    [port] = free_ports(1)
    command = [str(Path(sys.executable).with_name("ksparse")), "explore", *options, "--hnsw", "--port", str(port)]
    # A shell's background jobs ignore SIGINT, and so would this one.
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with process(command, preexec_fn=heeds, **pipes) as started:
        assert started.stdout is not None and started.stderr is not None
        said = started.stdout.readline()
        assert said == f"{index} is at http://127.0.0.1:{port} (Ctrl-C stops the server)\n"
        with urlopen(f"http://127.0.0.1:{port}/?q=plants", timeout=PATIENCE_S) as reply:
            assert 'class="column hnsw"' in reply.read().decode()
        started.send_signal(signal.SIGINT)
        assert started.wait(PATIENCE_S) == 0
        assert started.stderr.read() == (
            f"{index}-hnsw: it does not exist yet; embedding 1 documents (needs the k-NN plugin)\n"
        )
    client.indices.delete(index=f"{index}-hnsw")


def test_the_page_needs_flask(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.cli.explore.find_spec", lambda _name: None)
    result = CliRunner().invoke(cli, ["explore", "--index", "docs"])
    assert result.exit_code == 1 and "pip install 'ksparse[explore]'" in result.stderr
