"""The web page: search form, result columns, and benchmark results on a second tab. Read-only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from flask import Flask, Response, abort, render_template, request, send_file
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException, SecurityError

from connector.errors import ClusterError, ConnectorError
from connector.explore.columns import ROUNDS, Explorer, Question
from connector.explore.frontier import MAKE_ONE, frontier_names, read_frontier

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(explorer: Explorer, results: Path, *, without_hnsw: str = "") -> Flask:
    """Create the web application of an index.

    Args:
        explorer: Searches the index.
        results: Folder of results of `python -m benchmarks frontier`.
        without_hnsw: Why HNSW is disabled, and how to enable it.
    """
    app = Flask("connector.explore")
    # Protection against DNS rebinding: such a page sends its own host name.
    app.config["TRUSTED_HOSTS"] = ["127.0.0.1", "localhost"]
    app.jinja_env.globals |= {"explorer": explorer, "without_hnsw": without_hnsw, "rounds": ROUNDS}

    @app.get("/")
    def search() -> tuple[str, int]:
        question, answer, error, status = Question("", explorer.defaults), None, "", 200
        try:
            question = _read_question(request.args, explorer)
            if "q" in request.args:
                answer = explorer.ask(question)
        except (ConnectorError, ValueError) as problem:
            error, status = str(problem), 503 if isinstance(problem, ClusterError) else 400
        return render_template("search.html", question=question, answer=answer, error=error), status

    @app.get("/frontier")
    def frontier() -> tuple[str, int]:
        names, shown, error = frontier_names(results), None, ""
        name = request.args.get("result", names[0] if names else "")
        if name in names:
            try:
                shown = read_frontier(results, name)
            except ConnectorError as problem:
                error = str(problem)
        elif names:
            error = f"{results} contains no result {name!r}; choose one below."
        page = render_template(
            "frontier.html", names=names, name=name, shown=shown, error=error, results=results, make_one=MAKE_ONE
        )
        return page, 400 if error else 200

    @app.get("/frontier/<name>.png")
    def picture(name: str) -> Response:
        path = results / f"{name}.png"
        if name not in frontier_names(results) or not path.is_file():
            abort(404)
        return send_file(path.resolve())

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    @app.errorhandler(SecurityError)
    def refuse(_problem: SecurityError) -> Response:
        # Not the usual page, which names the index and its model.
        return Response("This page is only shown under the names 127.0.0.1 and localhost.", 400, mimetype="text/plain")

    @app.errorhandler(HTTPException)
    def explain(problem: HTTPException) -> tuple[str, int]:
        status = problem.code or 500
        said = "Internal error; see the terminal of `ksparse explore`." if status >= 500 else ""
        return render_template("error.html", title=problem.name, error=said or problem.description), status

    return app


def _read_question(asked: MultiDict[str, str], explorer: Explorer) -> Question:
    """Parse the question from the URL, with defaults."""
    defaults = explorer.defaults
    settings = replace(
        defaults,
        k_query=_whole_number(asked, "k_query", defaults.k_query or 0, 1, explorer.max_k_query),
        window=_whole_number(asked, "window", defaults.window or 0, 0, explorer.max_window),
    )
    return Question(asked.get("q", ""), settings, asked.get("filter", "").strip())


def _whole_number(asked: MultiDict[str, str], name: str, usual: int, least: int, most: int) -> int:
    text = asked.get(name, "").strip()
    if not text:
        return usual
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise ValueError(f"{name} must be a whole number from {least} to {most}, got {text[:40]!r}.")
    return int(text)
