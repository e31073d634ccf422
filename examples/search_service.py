"""A search service: GET /search?q=how+do+plants+eat&lang=en&top_k=5 returns JSON.

    INDEX=articles flask --app examples/search_service.py run

Threads of one process share the encoder and the client.
"""

from __future__ import annotations

import os

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from connector import ClusterError, Retriever, SearchError, connect

URL = os.environ.get("OPENSEARCH_URL", "http://localhost:9200")


def create_app(index: str = os.environ.get("INDEX", "articles")) -> Flask:
    """Create the application; it loads the encoder of the index here, not at the first request."""
    app = Flask(__name__)
    retriever = Retriever(connect(URL), index, source=["title", "text"])

    @app.get("/search")
    def search() -> ResponseReturnValue:
        lang = request.args.get("lang")
        filters = [{"term": {"metadata.lang": {"value": lang}}}] if lang else []
        top_k = request.args.get("top_k", 10, type=int)
        hits = retriever.search(request.args.get("q", ""), top_k=min(top_k, 100), filters=filters)
        return jsonify([{"id": hit.doc_id, "score": hit.score, **hit.source} for hit in hits])

    @app.errorhandler(SearchError)
    def refused(error: SearchError) -> ResponseReturnValue:
        return jsonify(error=str(error)), 400

    @app.errorhandler(ClusterError)
    def away(error: ClusterError) -> ResponseReturnValue:
        return jsonify(error="search is not available"), 503

    return app
