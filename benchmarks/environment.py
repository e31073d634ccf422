"""Versions and machine, which are stored in every result."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import connector
from connector.cluster import Cluster, read_status
from connector.encoders.graph import choose_backend


def describe(cluster: Cluster) -> dict[str, Any]:
    """Return server, plugins, Java, SIMD, heap, cores, processor and library versions."""
    status = read_status(cluster)
    return {
        "opensearch": status.version,
        "cluster": status.kind,
        "plugins": status.plugins,
        "java": status.java,
        "simd": status.simd,
        "heap_bytes": status.heap_max_bytes,
        **describe_machine(),
        "backend": choose_backend(None, "cpu"),
    }


def describe_machine() -> dict[str, Any]:
    """Return cores, processor and library versions."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "ksparse": connector.__version__,
        **{name: _version(name) for name in ("opensearch-py", "sentence-transformers", "torch", "openvino")},
    }


def describe_device(device: str) -> dict[str, Any]:
    """Return what torch computes on: name, memory and CUDA version of a GPU, else the device alone."""
    import torch

    if not device.startswith("cuda"):
        return {"device": device}
    facts = torch.cuda.get_device_properties(torch.device(device))
    return {"device": device, "gpu": facts.name, "gpu_bytes": facts.total_memory, "cuda": torch.version.cuda}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    simd = [flag for flag in ("avx2", "avx512f", "avx512_bf16") if flag in facts.get("flags", "").split()]
    return f"{facts.get('model name', platform.machine())}, model {facts.get('model', '?')} ({' '.join(simd)})"
