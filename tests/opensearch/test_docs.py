"""Every Python sample of the README and the docs, run from the top of its page; `py` marks what needs more machines."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch

from connector.cli.main import cli

pytestmark = pytest.mark.opensearch

ROOT = Path(__file__).parents[2]
_SAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    if _SAMPLE.search(path.read_text(encoding="utf-8"))
)


@pytest.mark.parametrize("page", PAGES)
def test_the_samples_of_a_page_run(
    page: str, opensearch_url: str, client: OpenSearch, index: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Samples go on with what earlier ones on the page made.
    names: dict[str, Any] = {}
    for sample in _SAMPLE.findall((ROOT / page).read_text(encoding="utf-8")):
        code = sample.replace('"http://localhost:9200"', repr(opensearch_url)).replace('"docs', f'"{index}')
        exec(compile(code, page, "exec"), names)  # noqa: S102
    capsys.readouterr()
    assert client.indices.exists(index=index), "a page of samples writes into the index docs"
    client.indices.delete(index=f"{index}-*")


def test_five_commands_lead_from_a_csv_to_hits(index: str, workplace: Path) -> None:
    block = re.search(r"^```sh\n(.*?)^```$", (ROOT / "docs" / "guide.md").read_text(encoding="utf-8"), re.M | re.S)
    assert block is not None
    install, up, *commands = block.group(1).splitlines()
    # The packages are installed and the node is up: both are tested elsewhere.
    assert install.startswith("pip install") and up == "ksparse up" and len(commands) == 3
    rows = [
        "id,title,text,lang",
        "1,Photosynthesis,Plants make sugar from light.,en",
        "2,Cats,Cats sleep on stones.,en",
    ]
    (workplace / "articles.csv").write_text("\n".join(rows))
    printed = []
    for command in commands:
        name, *arguments = shlex.split(command.replace("--index articles", f"--index {index}"))
        result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert name == "ksparse" and result.exit_code == 0, result.output
        printed.append(result.stdout)
    assert "2 indexed" in printed[0]
    assert printed[1].splitlines()[1].split()[1:3] == ["1", "Photosynthesis"]
    assert printed[2].startswith("1: ") and "share" in printed[2]
