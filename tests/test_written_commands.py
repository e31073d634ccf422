"""Commands in the Makefile, pages, help texts and messages: each exists and has the options that it is given."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click

from benchmarks.__main__ import benchmarks
from connector.cli.main import cli

ROOT = Path(__file__).parents[1]
# The changelog also names options of earlier versions.
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")]
SOURCES = [path for folder in ("connector", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
_COMMAND = re.compile(r"\b(ksparse|python -m benchmarks) (?!ksparse )([a-z][\w-]*)([^#|;&<>`]*)")
_FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def code_of_makefile(text: str) -> Iterator[str]:
    text = text.replace("\\\n", " ").replace("$$table", "1")
    for _ in range(2):
        for name, value in re.findall(r"^(\w+) := (.*)$", text, re.MULTILINE):
            text = text.replace(f"$({name})", value)
    yield from (line for line in text.splitlines() if line.startswith("\t") and "@echo" not in line)


def code_of_page(text: str) -> Iterator[str]:
    yield from (line for block in _FENCED.findall(text) for line in block.splitlines())
    yield from spans_of(_FENCED.sub("", text))


def code_of_source(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.JoinedStr):
            said = "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            said = node.value
        else:
            continue
        yield from spans_of(said)
        yield from (line for line in said.splitlines() if re.match(r"  +(ksparse|python -m benchmarks) ", line))


def spans_of(text: str) -> Iterator[str]:
    yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text))


def command_of(program: str, words: list[str]) -> click.Command | None:
    if words[:2] == ["train", "splade"] or words[:2] in (["train", "queries"], ["train", "dictionary"]):
        command: click.Command = getattr(import_module(f"connector.cli.train_{words[1]}"), words[1])
        return command
    if words[0] == "bench" and words[1:] and not words[1].startswith("-"):
        program, words = "python -m benchmarks", words[1:]
    group = cli if program == "ksparse" else benchmarks
    return group.get_command(click.Context(group), words[0])


def mistakes_of(piece: str) -> Iterator[str]:
    for program, name, rest in _COMMAND.findall(piece):
        words = [name, *rest.split()]
        command = command_of(program, words)
        if command is None:
            yield f"{program} {name} does not exist"
            continue
        known = {"--help"}.union(*((*each.opts, *each.secondary_opts) for each in command.params))
        given = {word.partition("=")[0].rstrip(".,") for word in words if re.match("--[a-z]", word)}
        yield from (f"{program} {name} has no option {option}" for option in given - known)


def test_every_written_command_exists_with_its_options() -> None:
    pieces = [("Makefile", piece) for piece in code_of_makefile((ROOT / "Makefile").read_text(encoding="utf-8"))]
    for path in PAGES:
        if path.name != "CHANGELOG.md":
            pieces += [(path.name, piece) for piece in code_of_page(path.read_text(encoding="utf-8"))]
    for path in SOURCES:
        pieces += [(path.name, piece) for piece in code_of_source(path.read_text(encoding="utf-8"))]
    assert sum(bool(_COMMAND.search(piece)) for _, piece in pieces) > 200
    assert [f"{name}: {mistake}" for name, piece in pieces for mistake in mistakes_of(piece)] == []
