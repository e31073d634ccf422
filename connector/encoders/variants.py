"""Variants of an encoder that share its weights: for another corpus, with other codes, on another device."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Self

from sentence_transformers import SentenceTransformer, SparseEncoder
from torch import nn

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.backend import DenseModel, OpenVinoModel, TorchModel, run_modules
from connector.encoders.dictionary import TwoLevelDictionary
from connector.encoders.facts import ModelFacts
from connector.encoders.graph import Backend, choose_backend, describe_backend
from connector.encoders.idf import QueryIdf, with_query_idf
from connector.encoders.labels import Labels
from connector.encoders.light_heads import CellsHead
from connector.encoders.precision import Precision
from connector.encoders.splade_pooling import modules_to_pooling
from connector.errors import EncoderError
from connector.vectors.codes import Bits, RotatedCode
from connector.vectors.statistics import CorpusStatistics


class AdaptableModel(ModelFacts):
    """A `SparseEncoder` that can create variants of itself, which share the dense model.

    Arguments and errors are those of `TextEncoder`.
    """

    def __init__(
        self,
        model: SparseEncoder,
        *,
        k: int | None = None,
        k_query: int | None = None,
        base_model: str | None = None,
        revision: str = "",
        code: RotatedCode | None = None,
        labels: Labels = (),
        query_model: SentenceTransformer | None = None,
        name: str = "",
        backend: str | DenseModel = "torch",
        precision: Precision = "float32",
    ) -> None:
        super().__init__(model, k, k_query, base_model, revision, labels)
        self.code = code
        self.query_model = query_model
        self.name = name
        if query_model is not None and query_model.get_embedding_dimension() != self._require_head().dim:
            raise ValueError(
                f"query_model has {query_model.get_embedding_dimension()} dimensions, the dense model has "
                f"{self._require_head().dim}."
            )
        self.precision = precision
        self._dense = self._run_by(backend) if isinstance(backend, str) else backend

    @property
    def graph_folder(self) -> Path | None:
        """Folder of the model's graph; None if torch runs it."""
        return self._dense.folder if isinstance(self._dense, OpenVinoModel) else None

    @property
    def backend(self) -> Backend:
        """Runtime of the dense model or the SPLADE; always torch for CSR."""
        return self._dense.backend

    @property
    def runtime(self) -> str:
        """Backend and precision, for summaries."""
        return describe_backend(self.backend, self.precision)

    def dense_model(self) -> SentenceTransformer:
        """The dense model without the head, sharing its weights.

        Raises:
            ValueError: The model is not a dense model with a head.
        """
        return SentenceTransformer(modules=self._dense_modules(), device=str(self.model.device), prompts=self._prompts)

    def with_statistics(self, statistics: CorpusStatistics | None) -> Self:
        """Return this encoder with other corpus statistics.

        Args:
            statistics: The statistics; None returns this encoder.

        Raises:
            ValueError: The model has neither a head nor `QueryIdf`, or the sizes differ.
        """
        if statistics is None:
            return self
        calibrated = copy.deepcopy(self._calibrated if self._calibrated is not None else self._require_head())
        calibrated.use_statistics(statistics)
        return self._of([calibrated if module is self._calibrated else module for module in self.model])

    def with_idf(self) -> Self:
        """Return this SPLADE with query features weighted by IDF (`QueryIdf`).

        `prepare_encoder` measures the IDF and the index stores it, so searches need no further option.

        Raises:
            ValueError: The model is not a SPLADE.
        """
        if isinstance(self._calibrated, QueryIdf):
            return self
        return self._of(with_query_idf(self.model))

    def make_code(self, bits: Bits, norm: float = 1.0) -> RotatedCode:
        """Create the quantizer of a new index: of the dictionary's principal components, or randomly rotated.

        Args:
            bits: Mean bits per dimension.
            norm: Norm of the embeddings.

        Raises:
            ValueError: The model is not a dense model with a head, or this number of bits is not supported.
        """
        head = self._require_head()
        if isinstance(head, TwoLevelDictionary):
            return head.code(bits, norm)
        return RotatedCode(head.statistics.mean, bits, norm=norm)

    def with_code(self, code: RotatedCode | None) -> Self:
        """Return this encoder with another quantizer for documents.

        Raises:
            ValueError: The model is not a dense model with a head, or the widths differ.
        """
        if code is not None:
            head = self._require_head()
            if code.dim != head.dim:
                raise ValueError(f"codes of {code.dim} dimensions do not fit embeddings of {head.dim}.")
            if code.groups and isinstance(head, TwoLevelDictionary):
                code = code.with_components(head.principal_components)
        return self._with(self.model, code)

    def with_head(self, head: KSparseAutoEncoder | CellsHead) -> Self:
        """Return the dense model with another head, without codes, labels and name.

        Raises:
            ValueError: The model is not a dense model with a head, or the widths differ.
        """
        own = self._require_head()
        if isinstance(head, CellsHead):
            head = TwoLevelDictionary.from_cells(head).eval()
        if head.dim != own.dim:
            raise ValueError(f"a head of {head.dim} dimensions does not fit embeddings of {own.dim}.")
        modules = [head.to(self.model.device) if module is own else module for module in self.model]
        model = SparseEncoder(
            modules=modules, device=str(self.model.device), prompts=self._prompts, similarity_fn_name="dot"
        )
        return type(self)(
            model,
            base_model=self._base_model,
            revision=self._revision,
            query_model=self.query_model,
            backend=self._dense,
            precision=self.precision,
        )

    def on_device(self, device: str) -> Self:
        """Return a copy on another device, or a second copy on the same device."""
        model = copy.deepcopy(self.model).to(device)
        backend = "auto" if isinstance(self._dense, OpenVinoModel) else "torch"
        return self._with(model, self.code, backend)

    def _of(self, modules: list[nn.Module]) -> Self:
        model = SparseEncoder(modules=modules, device=str(self.model.device), prompts=self._prompts)
        return self._with(model, self.code)

    def _with(self, model: SparseEncoder, code: RotatedCode | None, backend: str | None = None) -> Self:
        return type(self)(
            model,
            k=self.k,
            k_query=self.k_query,
            base_model=self._base_model,
            revision=self._revision,
            code=code,
            labels=self.labels,
            query_model=self.query_model,
            name=self.name,
            backend=backend or self._dense,
            precision=self.precision,
        )

    def _run_by(self, backend: str) -> DenseModel:
        if self._head is not None:
            return run_modules(
                self._dense_modules(),
                self.model,
                backend,
                self._base_model,
                self.precision,
                revision=self._revision,
            )
        if self.precision != "float32":
            raise EncoderError(
                f"The precision {self.precision} needs a dense model with a head; {self._base_model} runs in float32."
            )
        openvino = choose_backend(backend, self.model.device.type) == "openvino"
        pooled = modules_to_pooling(self._max_logit_model) if openvino else []
        return OpenVinoModel(pooled, self._max_logit_model) if pooled else TorchModel(list(self.model))
