"""Export an encoder for use without torch and sentence-transformers."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from connector.encoders.labels import LABELS_FILE
from connector.encoders.light_heads import to_head
from connector.encoders.light_model import FACTS_FILE, HEAD_FOLDER
from connector.encoders.text import TextEncoder
from connector.errors import EncoderError


def export_encoder(encoder: TextEncoder, folder: Path) -> None:
    """Write tokenizer, graph, configuration and head; a dictionary stays in its index.

    Args:
        encoder: An encoder with the OpenVINO backend.
        folder: Output folder; must not exist or be empty.

    Raises:
        EncoderError: The encoder runs on torch, its head needs torch, or the folder is not empty.
    """
    head, graph = encoder.head, encoder.graph_folder
    if head is None or graph is None:
        raise EncoderError(
            "only a dense model with a K-sparse head on the OpenVINO backend can be exported: install ksparse[cpu], "
            "and leave KSPARSE_BACKEND and --device out."
        )
    if encoder.query_model is not None:
        raise EncoderError("an encoder with a query model cannot be exported.")
    if not (graph / FACTS_FILE).is_file():
        raise EncoderError(
            "this dense model cannot be exported: sentence-transformers does more than tokenize its texts."
        )
    to_head(head.get_config_dict(), {})
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise EncoderError(f"{folder} already exists; name a new folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        shutil.copytree(graph, new, dirs_exist_ok=True)
        facts = json.loads((new / FACTS_FILE).read_text(encoding="utf-8"))
        named = {"base_model": encoder.fingerprint.base_model, "revision": encoder.fingerprint.revision}
        (new / FACTS_FILE).write_text(json.dumps(facts | named), encoding="utf-8")
        if not (encoder.has_dictionary or encoder.needs_dictionary):
            (new / HEAD_FOLDER).mkdir()
            head.save(str(new / HEAD_FOLDER))
            (new / HEAD_FOLDER / LABELS_FILE).write_text(json.dumps({"labels": encoder.labels}), encoding="utf-8")
        new.chmod(0o755)
        new.replace(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
