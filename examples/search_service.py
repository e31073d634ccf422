"""A search service: GET /search?q=how+do+plants+eat&lang=en&top_k=5 returns JSON.

    INDEX=articles flask --app examples/search_service.py run

Threads of one process share the encoder and the client.
"""

from __future__ import annotations

import os

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from connector import ClusterError, SearchError, SparseIndex

URL = os.environ.get("OPENSEARCH_URL", "http://localhost:9200")


def create_app(index: str = os.environ.get("INDEX", "articles")) -> Flask:
    """Create the application; it loads the encoder of the index here, not at the first request."""
    app = Flask(__name__)
    searched = SparseIndex(index, url=URL, source=["title", "text"])
    searched.search("warm up", top_k=1)

    @app.get("/search")
    def search() -> ResponseReturnValue:
        lang = request.args.get("lang")
        top_k = request.args.get("top_k", 10, type=int)
        filters = {"lang": lang} if lang else None
        hits = searched.search(request.args.get("q", ""), top_k=min(top_k, 100), filters=filters)
        return jsonify([{"id": hit.id, "score": hit.score, **hit.source} for hit in hits])

    @app.errorhandler(SearchError)
    def refused(error: SearchError) -> ResponseReturnValue:
        return jsonify(error=str(error)), 400

    @app.errorhandler(ClusterError)
    def away(error: ClusterError) -> ResponseReturnValue:
        return jsonify(error="search is not available"), 503

    return app
