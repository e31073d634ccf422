"""Add README, ARCHITECTURE.md, examples, results and the help of commands to the site."""

from __future__ import annotations

import re
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from connector.cli.main import cli
from connector.cli.train import SUBCOMMANDS, subcommand

ROOT = Path(__file__).parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add generated pages, and files outside docs/ to which pages link."""
    files.append(File.generated(config, "index.md", abs_src_path=str(ROOT / "README.md")))
    files.append(File.generated(config, "commands.md", content=commands()))
    named = [ROOT / name for name in ("ARCHITECTURE.md", "CHANGELOG.md", "LICENSE", "NOTICE")]
    for path in (*named, *_files_of("examples"), *_files_of("benchmarks/results")):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def _files_of(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).iterdir() if path.is_file())


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite links into and out of docs/ to locations in the site."""
    if "/" in page.file.src_uri:
        return markdown
    return re.sub(r'(\]\(|src=")(\.\.|docs)/', r"\1", markdown).replace("](README.md", "](index.md")


def commands() -> str:
    """Return a page with the `--help` output of each command."""
    whole = click.Context(cli, info_name="ksparse", max_content_width=100)
    parts = [f"# Commands\n\n```text\n{cli.get_help(whole)}\n```\n"]
    for name in cli.list_commands(whole):
        command = cli.get_command(whole, name)
        assert command is not None
        parts.append(_help_of(command, whole, name))
        if name == "train":
            parts += [_help_of(subcommand(each), whole, f"{name} {each}") for each in SUBCOMMANDS]
    return "\n".join(parts)


def _help_of(command: click.Command, parent: click.Context, name: str) -> str:
    text = command.get_help(click.Context(command, parent, info_name=name))
    return f"## ksparse {name}\n\n```text\n{text}\n```\n"
