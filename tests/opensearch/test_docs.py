"""Every Python sample of the README and the docs, run from the top of its page; `py` marks what needs more machines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from opensearchpy import OpenSearch

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
        code = sample.replace('"http://localhost:9200"', repr(opensearch_url)).replace('"docs"', repr(index))
        exec(compile(code, page, "exec"), names)  # noqa: S102
    capsys.readouterr()
    assert client.indices.exists(index=index), "a page of samples writes into the index docs"
