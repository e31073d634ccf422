"""Imports go in the direction given in ARCHITECTURE.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]

LAYERS = (
    {"arguments", "errors", "files", "imports", "limits", "source_tree"},
    {"types", "connection"},
    {"vectors", "corpus", "cluster"},
    {"query", "evaluation", "encoders"},
    {"index", "training"},
    {"ingest"},
    {"search"},
    {"integrations", "explore", "service"},
    {"cli"},
)
"""Packages and modules of connector/ by layer, lowest first. They import only from lower layers and from themselves."""


def imported_by(file: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                submodule = ROOT.joinpath(*node.module.split("."), alias.name)
                is_module = submodule.is_dir() or submodule.with_suffix(".py").is_file()
                yield f"{node.module}.{alias.name}" if is_module else node.module


def modules(package: str) -> dict[str, Path]:
    """Every module of a package, by its full name."""
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for file in (ROOT / package).rglob("*.py")
    }


def test_imports_go_in_one_direction() -> None:
    layer_of = {package: layer for layer, packages in enumerate(LAYERS) for package in packages}
    against = []
    for name, file in modules("connector").items():
        if name == "connector":
            continue  # the public names of all packages
        package = name.split(".")[1]
        for target in imported_by(file):
            parts = target.split(".")
            if parts[0] == "benchmarks" or parts[0] == "tests":
                against.append(f"{name} imports {target}")
            if parts[0] == "connector" and len(parts) > 1 and parts[1] != package and parts[1] in layer_of:
                if layer_of[parts[1]] >= layer_of[package]:
                    against.append(f"{name} imports {target}")
    assert against == []


def test_every_package_has_a_layer() -> None:
    packages = {name.split(".")[1] for name in modules("connector") if name != "connector"}
    assert packages == set().union(*LAYERS)


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = modules("connector") | modules("benchmarks")
    graph = {name: {target for target in imported_by(file) if target in known} for name, file in known.items()}
    for name in ("connector", "benchmarks"):  # whose names are imported when they are first used
        graph[name] = set()
    assert len(list(TopologicalSorter(graph).static_order())) == len(known)


def test_no_class_is_longer_than_250_lines() -> None:
    classes = {
        f"{name}.{node.name}": node.end_lineno - node.lineno + 1
        for name, file in (modules("connector") | modules("benchmarks")).items()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.end_lineno is not None
    }
    assert {name: lines for name, lines in classes.items() if lines > 250} == {}
