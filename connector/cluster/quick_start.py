"""Start a node for tests with half the processor time, which the distribution's script and compilation take."""

from __future__ import annotations

from pathlib import Path

_OPTIONS = (
    # 18 s of processor time with both compilers, 9 s with C1 alone, and 8 s without the threads of G1.
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    # Classes of the distribution need not be verified: 1 s.
    "-XX:+UnlockDiagnosticVMOptions",
    "-XX:-BytecodeVerificationRemote",
    # As set by the distribution.
    "-XX:-OmitStackTraceInFastThrow",
    "-Xss1m",
    "-Djava.awt.headless=true",
    "-Dfile.encoding=UTF-8",
    "-Djava.locale.providers=SPI,CLDR",
    "-Djna.nosys=true",
    "-Dio.netty.noUnsafe=true",
    "-Dio.netty.noKeySetOptimization=true",
    "-Dio.netty.recycler.maxCapacityPerThread=0",
    "-Dio.netty.allocator.numDirectArenas=0",
    "-Dlog4j.shutdownHookEnabled=false",
    "-Dlog4j2.disable.jmx=true",
    "-Dorg.apache.lucene.store.MMapDirectory.sharedArenaMaxPermits=1",
    "--add-opens=java.base/java.nio=org.apache.arrow.memory.core,ALL-UNNAMED",
)


def quick_command(java: Path, distribution: Path, folder: Path, heap: str) -> list[str]:
    """Return the command that starts a node without the distribution's script, which starts Java seven times.

    The agent that restricts plugins is not loaded: it compares every class with many patterns (3 s).

    Args:
        java: Home of the Java runtime.
        distribution: An unpacked OpenSearch.
        folder: The node's folder, with its config and tmp.
        heap: Size of the Java heap.
    """
    # The server needs the classes of the agent even without it.
    [agent] = (distribution / "agent").glob("opensearch-agent-bootstrap-*.jar")
    return [
        str(java / "bin" / "java"),
        *_OPTIONS,
        f"-Xms{heap}",
        f"-Xmx{heap}",
        f"-XX:ErrorFile={folder / 'logs'}/hs_err_pid%p.log",
        f"-Xbootclasspath/a:{agent}",
        f"-Djava.io.tmpdir={folder / 'tmp'}",
        f"-Dopensearch.path.home={distribution}",
        f"-Dopensearch.path.conf={folder / 'config'}",
        "-Dopensearch.distribution.type=zip",
        "-Dopensearch.bundled_jdk=false",
        "-cp",
        f"{distribution / 'lib'}/*",
        "org.opensearch.bootstrap.OpenSearch",
    ]
