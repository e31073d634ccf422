"""A control group that limits the memory of what is started in it, page cache included. Linux, as root."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from connector.errors import ConnectorError

_DROP_CACHES = Path("/proc/sys/vm/drop_caches")
_PATIENCE_S = 30.0
_PREFIX = "ksparse-bench-"


class NoGroupsError(ConnectorError):
    """No memory group can be made here; the message has the reason."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a group holds, in bytes.

    Attributes:
        total: Everything that counts against its limit.
        cached: Pages of files among it, which the system may take away.
        mapped: Those that a process has mapped.
        major_faults: Pages that had to be read from the disk, ever.
    """

    total: int
    cached: int
    mapped: int
    major_faults: int


@dataclass(frozen=True, slots=True)
class _Names:
    """What a version of control groups calls things."""

    limit: str
    usage: str
    no_limit: str
    cached: str
    mapped: str
    major_faults: str


_V1 = _Names(
    "memory.limit_in_bytes", "memory.usage_in_bytes", "-1", "total_cache", "total_mapped_file", "total_pgmajfault"
)
_V2 = _Names("memory.max", "memory.current", "max", "file", "file_mapped", "pgmajfault")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where groups are made: below the group that this process is in, or beside it, so that its own limits hold too.

    Attributes:
        parent: Folder of the group that they are made in.
        home: Folder of the group that this process is in.
        names: Of the version.
    """

    parent: Path
    home: Path
    names: _Names

    @contextmanager
    def group(self, limit: int | None) -> Iterator[MemoryGroup]:
        """Make a group with a limit in bytes (None for none), and remove it; it must be empty by then.

        Raises:
            NoGroupsError: The system refuses it.
        """
        folder = self.parent / f"{_PREFIX}{os.getpid()}-{uuid.uuid4().hex[:8]}"
        try:
            folder.mkdir()
            made = MemoryGroup(folder, self)
            made.limit(limit)
        except OSError as error:
            _remove(folder)
            raise NoGroupsError(f"{folder} cannot be made with a limit ({error.strerror}).") from error
        try:
            yield made
        finally:
            _remove(folder)


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """A group that is there.

    Attributes:
        folder: Where the system shows it.
        hierarchy: What it belongs to.
    """

    folder: Path
    hierarchy: Hierarchy

    def limit(self, limit: int | None) -> None:
        """Set the limit in bytes; None takes it away."""
        names = self.hierarchy.names
        (self.folder / names.limit).write_text(names.no_limit if limit is None else str(limit))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Have this process in the group for a moment: what it starts meanwhile stays there."""
        own = str(os.getpid())
        (self.folder / "cgroup.procs").write_text(own)
        try:
            yield
        finally:
            (self.hierarchy.home / "cgroup.procs").write_text(own)

    def usage(self) -> Usage:
        """Read what it holds."""
        names = self.hierarchy.names
        lines = (line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        facts = {line[0]: int(line[1]) for line in lines if len(line) == 2}
        total = int((self.folder / names.usage).read_text())
        return Usage(total, facts[names.cached], facts[names.mapped], facts[names.major_faults])

    @property
    def processes(self) -> list[int]:
        """Ids of those that are in it."""
        return [int(line) for line in (self.folder / "cgroup.procs").read_text().split()]


def find_hierarchy(*, proc: Path = Path("/proc")) -> Hierarchy:
    """Find where groups can be made.

    Args:
        proc: Where the system describes processes.

    Raises:
        NoGroupsError: This is not Linux, we are not root, or the controller of memory is not to be had.
    """
    try:
        own = dict(_own_groups((proc / "self" / "cgroup").read_text()))
        mounts = [line.split() for line in (proc / "self" / "mounts").read_text().splitlines()]
    except OSError:
        raise NoGroupsError("This system has no control groups; they are Linux's.") from None
    if os.geteuid() != 0:
        raise NoGroupsError("Only root makes control groups; run the suite as root.")
    for _, mount, kind, options, *_ in mounts:
        if kind == "cgroup" and "memory" in options.split(","):
            home = _existing(Path(mount), own.get("memory", "/"))
            return _checked(Hierarchy(home, home, _V1))
        if kind == "cgroup2" and "memory" in _words(Path(mount) / "cgroup.controllers"):
            home = _existing(Path(mount), own.get("", "/"))
            # A group of version 2 that holds processes cannot have limited groups below it, the root apart.
            parent = home if home == Path(mount) else home.parent
            return _checked(Hierarchy(parent, home, _V2))
    raise NoGroupsError("No control group of this machine limits memory; its kernel lacks the controller.")


def drop_caches() -> None:
    """Have the system forget all files that it keeps in memory, so that the next reader pays for them."""
    os.sync()
    _DROP_CACHES.write_text("3\n")


def _own_groups(text: str) -> Iterator[tuple[str, str]]:
    """Controllers, and the path of the group that this process is in; version 2 has no name."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _existing(mount: Path, path: str) -> Path:
    """The folder of a group; a container sees its own at the mount."""
    folder = mount / path.lstrip("/")
    return folder if folder.is_dir() else mount


def _checked(hierarchy: Hierarchy) -> Hierarchy:
    if hierarchy.names is _V2 and "memory" not in _words(hierarchy.parent / "cgroup.subtree_control"):
        try:
            (hierarchy.parent / "cgroup.subtree_control").write_text("+memory")
        except OSError as error:
            raise NoGroupsError(f"{hierarchy.parent} does not let memory be limited ({error.strerror}).") from error
    _remove_old(hierarchy.parent)
    with hierarchy.group(None):
        return hierarchy


def _remove_old(parent: Path) -> None:
    """Remove groups of runs that were killed; one that still holds a process stays."""
    for folder in parent.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not psutil.pid_exists(int(pid)):
            with suppress(OSError):
                folder.rmdir()


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _remove(folder: Path) -> None:
    """Remove a group; a process that was killed takes a moment to leave."""
    deadline = time.monotonic() + _PATIENCE_S
    while folder.is_dir():
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
