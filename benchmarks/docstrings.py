"""A corpus that exists on every machine: docstrings of the standard library and the installed packages.

A document is a docstring without its first sentence, which is a query with this document as the relevant one.
"""

from __future__ import annotations

import ast
import gzip
import hashlib
import json
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_SKIPPED = {"tests", "test", "testing", "_vendor", "vendored", "idlelib", "lib2to3", "__pycache__"}
_FIRST_SENTENCE = re.compile(r"^(.{20,200}?[.:])(?:\s+)(.*)$", re.DOTALL)
_MARKUP = re.compile(r":[a-z]+:`([^`]*)`|``|\*\*|>>> ")
_MAX_CHARACTERS = 600
_MIN_WORDS = 12


class Docstring(NamedTuple):
    """A docstring in two parts."""

    doc_id: str
    first_sentence: str
    body: str


def write_docstrings(
    folder: Path,
    *,
    documents: int = 12_000,
    queries: int = 500,
    found: Iterable[Docstring] | None = None,
) -> int:
    """Write the docstrings as a BEIR folder: corpus.jsonl.gz, queries.jsonl.gz, qrels/test.tsv.

    Args:
        folder: Folder, created if missing.
        documents: Maximum number of documents; files are selected by a hash of their names, so the choice is stable.
        queries: Maximum number of queries.
        found: Docstrings without duplicates; None uses those of the installed packages.

    Returns:
        The number of documents.
    """
    chosen: dict[str, Docstring] = {}
    for docstring in _docstrings() if found is None else found:
        chosen.setdefault(docstring.body, docstring)
        if len(chosen) == documents:
            break
    kept = sorted(chosen.values(), key=lambda docstring: _hash(docstring.doc_id))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "qrels").mkdir(exist_ok=True)
    with gzip.open(folder / "corpus.jsonl.gz", "wt", encoding="utf-8") as corpus:
        for docstring in kept:
            corpus.write(json.dumps({"_id": docstring.doc_id, "title": "", "text": docstring.body}) + "\n")
    sentences: dict[str, Docstring] = {}
    for docstring in kept:
        sentences.setdefault(docstring.first_sentence, docstring)
    asked = list(sentences.values())[:queries]
    with gzip.open(folder / "queries.jsonl.gz", "wt", encoding="utf-8") as out:
        for docstring in asked:
            out.write(json.dumps({"_id": f"q-{docstring.doc_id}", "text": docstring.first_sentence}) + "\n")
    judgements = "".join(f"q-{docstring.doc_id}\t{docstring.doc_id}\t1\n" for docstring in asked)
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judgements, encoding="utf-8")
    return len(kept)


def _docstrings() -> Iterator[Docstring]:
    seen: set[str] = set()
    for module, path in sorted(_modules(), key=lambda found: _hash(found[0])):
        for docstring in _docstrings_of(path, module):
            if docstring.doc_id not in seen:
                seen.add(docstring.doc_id)
                yield docstring


def _modules() -> Iterator[tuple[str, Path]]:
    for name in ("stdlib", "purelib"):
        root = Path(sysconfig.get_path(name))
        for path in root.rglob("*.py"):
            inside = path.relative_to(root).parts
            if not _SKIPPED.intersection(inside) and not (name == "stdlib" and "site-packages" in inside):
                yield ".".join([*inside[:-1], path.stem]).removesuffix(".__init__"), path


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()


def _docstrings_of(path: Path, module: str) -> Iterator[Docstring]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return
    pending: list[tuple[str, ast.AST]] = [(module, tree)]
    while pending:
        name, node = pending.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                pending.append((f"{name}.{child.name}", child))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            parts = split_docstring(ast.get_docstring(node) or "")
            if parts is not None:
                yield Docstring(name, *parts)


def split_docstring(docstring: str) -> tuple[str, str] | None:
    """Split off the first sentence; return None if either part is too short."""
    match = _FIRST_SENTENCE.match(_MARKUP.sub(r"\1", docstring))
    if match is None:
        return None
    sentence, body = (" ".join(part.split()) for part in match.groups())
    if len(body.split()) < _MIN_WORDS or len(sentence.split()) < 4 or not sentence.isprintable():
        return None
    return sentence, body[:_MAX_CHARACTERS]
