from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from connector.files import cache_folder, write_whole, written_whole


def test_a_file_is_replaced_as_a_whole_or_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file.json"
    write_whole(path, "old ü")
    with pytest.raises(RuntimeError), written_whole(path) as file:
        file.write(b"half of the new")
        raise RuntimeError
    assert path.read_text(encoding="utf-8") == "old ü"
    with written_whole(path) as file:
        file.write(b"new")
        assert path.read_text(encoding="utf-8") == "old ü", "until the end"
    assert path.read_bytes() == b"new" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666])
def test_a_replaced_file_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file.json"
    path.write_text("old")
    if os.geteuid() == 0:
        os.chown(path, 12_345, 23_456)
    path.chmod(mode)
    before = path.stat()
    with written_whole(path) as file:
        found = os.fstat(file.fileno())
        assert (found.st_mode, found.st_uid, found.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
        file.write(b"new")
    found = path.stat()
    assert path.read_text() == "new" and stat.S_IMODE(found.st_mode) == mode
    assert (found.st_uid, found.st_gid) == (before.st_uid, before.st_gid)


def test_a_cache_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KSPARSE_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine" and not cache_folder().exists()
    monkeypatch.delenv("KSPARSE_CACHE")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert cache_folder() == Path("/var/cache/ksparse")
    monkeypatch.setattr("os.geteuid", lambda: 1_000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "ksparse"
