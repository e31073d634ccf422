"""What comes into the site from outside of docs/: the README, ARCHITECTURE.md, results, the commands' help."""

from __future__ import annotations

import re
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from connector.cli.main import cli

ROOT = Path(__file__).parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and files that pages of docs/ name by `../`, and those that are made here."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=re.sub(r'(\]\(|src=")docs/', r"\1", readme)))
    files.append(File.generated(config, "commands.md", content=commands()))
    for path in (ROOT / "ARCHITECTURE.md", *sorted((ROOT / "benchmarks" / "results").iterdir())):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Take the `../` off links that leave docs/: what they name lies beside the pages here."""
    return markdown if "/" in page.file.src_uri else markdown.replace("](../", "](")


def commands() -> str:
    """Return a page of what `--help` says of each command."""
    whole = click.Context(cli, info_name="ksparse", max_content_width=100)
    parts = [f"# Commands\n\n```text\n{cli.get_help(whole)}\n```\n"]
    for name in cli.list_commands(whole):
        command = cli.get_command(whole, name)
        assert command is not None
        text = command.get_help(click.Context(command, whole, info_name=name))
        parts.append(f"## ksparse {name}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)
