"""The routes of `ksparse serve`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from opensearchpy import OpenSearch

import connector
from connector.index.derived import with_derived
from connector.query.body import FEATURES_FIELD, NO_OPTIONS, SearchOptions, build_query
from connector.query.rescore import CODE_FIELD
from connector.query.settings import SearchSettings
from connector.query.terms import META_FIELD, TERMS_FIELD
from connector.service.bodies import (
    EncodeDocument,
    EncodeQuery,
    Found,
    Hits,
    PipelineDocument,
    Search,
    Vector,
    Vectors,
)
from connector.service.escape import unescape, unescape_all
from connector.service.gate import App, Gate, is_permitted
from connector.service.indices import Indices
from connector.service.lookups import check_lookups
from connector.service.metrics import Metrics
from connector.service.problems import RESPONSES, TooLargeError, add_problems
from connector.service.rewrite import find_text, with_features
from connector.service.searches import Searches
from connector.service.served import QueryText, ServedIndex
from connector.service.settings import ServiceSettings
from connector.types import Document, Hit


def create_app(client: OpenSearch, settings: ServiceSettings | None = None) -> App:
    """Create the service, an ASGI application.

    Args:
        client: A connected client that supports `max_searches` concurrent searches.
        settings: Limits, keys and indices.
    """
    settings = settings or ServiceSettings()
    metrics = Metrics()
    return Gate(_routes(client, settings, metrics), settings, metrics)


def _routes(client: OpenSearch, settings: ServiceSettings, metrics: Metrics) -> FastAPI:
    indices = Indices(client, settings, metrics)
    searches = Searches(settings.max_searches)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await indices.open_named()
        yield
        indices.close()
        searches.close()

    app = FastAPI(
        title="ksparse",
        version=connector.__version__,
        summary="Texts in, features or hits out.",
        lifespan=lifespan,
        # The documentation page would load scripts from another host.
        docs_url=None,
        redoc_url=None,
    )
    add_problems(app, metrics, retry_after_s=settings.retry_after_s)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Liveness: the process answers."""
        return {"status": "ok", "version": connector.__version__}

    @app.get("/ready")
    async def ready(request: Request) -> JSONResponse:
        """Readiness: the encoders are loaded. If keys are required, only clients with one see the indices' names."""
        state: dict[str, Any] = {"ready": indices.ready}
        if is_permitted(request.scope["headers"], settings.api_keys):
            state["indices"] = indices.names
        return JSONResponse(state, 200 if indices.ready else 503)

    @app.get("/metrics")
    async def read_metrics() -> Response:
        """For Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.post("/encode/query", responses=RESPONSES, response_model=None)
    async def encode_query(body: EncodeQuery) -> Vectors | list[dict[str, float]]:
        """Encode queries: `texts` returns `Vectors`, `inputs` returns ML Commons' list of token weights."""
        served = await indices.get(body.index)
        texts = _few(body.all_texts, settings)
        asked = QueryText("", body.top_k, _settings(body), alone=body.inputs is not None)
        found = await served.encode_queries([replace(asked, text=text) for text in texts], space=body.space)
        unscale = 2.0 ** -found[0].opened.schema.weight_exponent
        if body.inputs is not None:
            # `neural_sparse` multiplies these by the stored weights.
            return [{name: weight * unscale for name, weight in each.features.items()} for each in found]
        vectors = [Vector(features=each.features, rescore=each.rescore) for each in found]
        return _vectors(served, found[0].opened.schema.weight_exponent, found[0].opened.schema.space, vectors)

    @app.post("/encode/document", responses=RESPONSES, response_model=None)
    async def encode_document(body: EncodeDocument) -> Vectors | list[dict[str, float]]:
        """Encode documents, with weights as stored; forms as in `/encode/query`."""
        served = await indices.get(body.index)
        found = await served.encode_documents(_few(body.all_texts, settings), space=body.space)
        features = [json.loads(each.features) for each in found]
        if body.inputs is not None:
            return features
        vectors = [
            Vector(
                features=names if body.parts != "codes" else None, code=each.code if body.parts != "features" else None
            )
            for names, each in zip(features, found, strict=True)
        ]
        return _vectors(served, found[0].opened.schema.weight_exponent, found[0].opened.schema.space, vectors)

    @app.post("/search", responses=RESPONSES, response_model_exclude_none=True)
    async def search(body: Search) -> Hits:
        """Search; see `SparseIndex.search`."""
        served = await indices.get(body.index)
        if settings.indices:  # otherwise any index is served
            check_lookups([body.filters, body.highlight], settings.indices)
        alone = body.hybrid and body.bm25_weight is not None
        asked = _settings(body, body.rank_window_size)
        query = QueryText(body.query, body.top_k, asked, alone, body.filters, _options(body))
        # Encode in a batch with concurrent queries; the search then finds it in the cache.
        found = await searches.run(lambda: served.encode_queries([query]), lambda: _search(served, body))
        return Hits(hits=[_found(hit) for hit in found])

    @app.post("/indices/{index}/pipeline/search", responses=RESPONSES)
    async def pipeline_search(index: str, request: Request, space: str | None = None) -> Response:
        """Replace the text of a search request by features; called by the search pipeline of an index.

        The request is returned as a string, so that ML Commons does not convert its integers to floats.
        """
        asked = json.loads(await request.body())
        clause = find_text(asked)
        if clause is None:
            return _rewritten(asked)
        served = await indices.get(index)
        text = QueryText(clause.text, clause.depth, alone=not clause.rescored, clauses=clause.filters)
        [found] = await served.encode_queries([text], space=space)
        features = {name: weight * clause.boost for name, weight in found.features.items()}
        schema, rescore = found.opened.schema, found.rescore
        query = build_query(features, weight_exponent=schema.weight_exponent, space=schema.space)
        searcher = found.opened.searcher
        if rescore is not None and searcher.reach.is_counted(clause.filters, NO_OPTIONS):
            query, rescore = await asyncio.to_thread(searcher.scanned, query, rescore, clause.filters)
        return _rewritten(with_features(asked, clause, query, rescore))

    @app.post("/indices/{index}/pipeline/document", responses=RESPONSES)
    async def pipeline_document(index: str, document: PipelineDocument, space: str | None = None) -> Response:
        """Return the fields to add to a document; called by the ingest pipeline of an index."""
        doc_id, title, text = (unescape(each or "") for each in (document.id, document.title, document.text))
        content = Document(doc_id, text, title).content
        if not content:
            raise ValueError(f"document {doc_id!r} has neither text nor title; there is nothing to encode.")
        served = await indices.get(index)
        [found] = await served.encode_documents([content], space=space)
        parts = {CODE_FIELD: found.code} if found.code is not None else {}
        if document.meta is not None:
            parts[TERMS_FIELD] = with_derived({META_FIELD: unescape_all(document.meta)}, (TERMS_FIELD,))[TERMS_FIELD]
        rest = json.dumps(parts)[1:]
        fields = f'{{"{FEATURES_FIELD}":{found.features}{"," if parts else ""}{rest}'
        return Response(fields, media_type="application/json")

    return app


def _few(texts: list[str], settings: ServiceSettings) -> list[str]:
    if len(texts) > settings.max_texts:
        raise TooLargeError(
            f"the request has {len(texts)} texts, the limit is {settings.max_texts}; send them in parts."
        )
    return texts


def _vectors(served: ServedIndex, exponent: int, space: str, vectors: list[Vector]) -> Vectors:
    return Vectors(index=served.index.index, space=space, weight_exponent=exponent, vectors=vectors)


def _settings(body: EncodeQuery | Search, rank_window_size: int | None = None) -> SearchSettings:
    return SearchSettings(body.k_query, body.window, body.pruning, rank_window_size)


def _options(body: Search) -> SearchOptions:
    return SearchOptions(body.min_score, body.fields, body.highlight, body.routing, body.preference)


def _search(served: ServedIndex, body: Search) -> list[Hit]:
    return served.index.search(
        body.query,
        top_k=body.top_k,
        filters=body.filters,
        hybrid=body.hybrid,
        alpha=body.alpha,
        bm25_weight=body.bm25_weight,
        explain=body.explain,
        settings=_settings(body, body.rank_window_size),
        options=_options(body),
    )


def _found(hit: Hit) -> Found:
    return Found(
        id=hit.doc_id,
        score=hit.score,
        source=dict(hit.source),
        highlight={name: list(parts) for name, parts in hit.highlight.items()} or None,
        explanation=None if hit.explanation is None else asdict(hit.explanation),
    )


def _rewritten(request: dict[str, Any]) -> Response:
    # ML Commons substitutes variables (`${`) in this content, so the texts must not contain `${`.
    written = json.dumps(request, separators=(",", ":")).replace("${", "\\u0024{")
    return Response(json.dumps({"request": written}), media_type="application/json")
