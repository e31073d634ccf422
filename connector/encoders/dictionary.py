"""A head whose latents are cells of the embedding space: a two-level dictionary of a corpus."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.cells import nearest_in_groups
from connector.encoders.lexical import Task, TokenCounts
from connector.encoders.light_heads import (
    CACHED,
    CANDIDATE_CELLS,
    CANDIDATE_SHARE,
    CANDIDATE_TOKENS,
    CELL_BITS,
    FLOOR,
    POOL,
    PROBES,
    SPREAD,
    CellsHead,
    min_idf,
)
from connector.vectors.codes import (
    Bits,
    RotatedCode,
    choose_groups,
    random_rotation,
    unpack_levels,
)

_BLOCK = 2_048
"""Documents per block when comparing them with cells."""


class TwoLevelDictionary(KSparseAutoEncoder):
    """Turns `sentence_embedding` (n, dim) into its nearest cells, weighed by cosine, and its strongest tokens.

    Embeddings are first projected to `width` dimensions: the strongest principal components of the corpus, rotated
    randomly so that cells need only a few bits per dimension. Codes also quantize the components.

    A text is compared with the coarse cells, then with the fine cells of the nearest ones. A query keeps its nearest
    fine cells. A document keeps near cells with different residuals r = x - c: each next cell minimizes
    |r|^2 + spread * mean((r . r_j / |r_j|)^2) over the selected j (after SOAR, Sun et al. 2023, arXiv:2404.00774).

    Cells find neighbours and tokens find answers, so each has a fixed share: `cells` of `k` features of a document,
    `query_cells` of `k_query` features of a query; the others are tokens. If codes rescore, a query has
    `candidate_cells` cells and its `candidate_tokens` rarest tokens, which find some neighbours that cells miss, and
    answers that are not neighbours.

    Args:
        dim: Width of the dense embedding.
        width: Width after the projection, a multiple of 4 and at most `num_components`.
        num_coarse: Coarse cells.
        num_fine: Fine cells in each coarse cell.
        num_components: Number of stored principal components, at most `dim`; `width` if None.
        k: Features kept per document, cells and tokens together.
        k_query: Features kept per query; `k` if None.
        cells: Cells among the `k` features of a document; all of them without lexical features.
        query_cells: Cells among the `k_query` features of a query.
        candidate_cells: Cells of a query whose hits are rescored by codes; at most as many as there are.
        candidate_tokens: Maximum tokens of such a query; none without lexical features.
        probes: Coarse cells whose fine cells are compared with a document, at most `num_coarse`.
        spread: Weight of the penalty on parallel residuals; 0 keeps the nearest cells.
        query_probes: Coarse cells whose fine cells are compared with a query; `probes` if None.
        base_model: Name of the dense model whose embeddings the cells were built from.
        lexical_config: Arguments of `LexicalFeatures`; None for cells alone.

    Raises:
        ValueError: A size is below 1, `width` is not a multiple of 4 or above `dim`, or cells exceed features.
    """

    config_keys = [
        "dim", "width", "num_coarse", "num_fine", "num_components", "k", "k_query", "cells", "query_cells",
        "candidate_cells", "candidate_tokens", "probes", "query_probes", "spread", "base_model", "lexical_config",
    ]  # fmt: skip
    components: Tensor
    component_scales: Tensor
    variances: Tensor
    projection: Tensor
    coarse: Tensor
    fine_codes: Tensor
    points: Tensor
    scales: Tensor

    def __init__(
        self,
        dim: int,
        width: int,
        num_coarse: int,
        num_fine: int,
        k: int,
        k_query: int | None = None,
        cells: int | None = None,
        query_cells: int | None = None,
        candidate_cells: int = CANDIDATE_CELLS,
        candidate_tokens: int = CANDIDATE_TOKENS,
        probes: int = PROBES,
        spread: float = SPREAD,
        num_components: int | None = None,
        query_probes: int | None = None,
        base_model: str = "",
        lexical_config: dict[str, Any] | None = None,
    ) -> None:
        query_probes = probes if query_probes is None else query_probes
        if min(num_coarse, num_fine, probes, query_probes) < 1 or spread < 0:
            raise ValueError(
                f"num_coarse {num_coarse}, num_fine {num_fine}, probes {probes} and query_probes {query_probes} must "
                f"be at least 1 and spread {spread} at least 0."
            )
        self.num_components = width if num_components is None else num_components
        if not 4 <= width <= self.num_components <= dim or width % 4:
            raise ValueError(
                f"width must be a multiple of 4 between 4 and the {self.num_components} components, and these at most "
                f"dim {dim}, got {width}."
            )
        super().__init__(dim, num_coarse * num_fine, k, k_query, base_model=base_model, lexical_config=lexical_config)
        self.width = width
        self.num_coarse = num_coarse
        self.num_fine = num_fine
        self.cells = self.k if cells is None else cells
        self.query_cells = self.k_query if query_cells is None else query_cells
        self.candidate_cells = min(candidate_cells, self.num_latents)
        self.candidate_tokens = candidate_tokens if self.lexical is not None else 0
        self.probes = min(probes, num_coarse)
        self.query_probes = min(query_probes, num_coarse)
        self.spread = spread
        for name, share, whole in (("cells", self.cells, self.k), ("query_cells", self.query_cells, self.k_query)):
            if not 1 <= share <= whole:
                raise ValueError(f"{name} must be between 1 and the {whole} features kept, got {share}.")
        if self.lexical is None and (self.cells, self.query_cells) != (self.k, self.k_query):
            raise ValueError("without lexical features every feature is a cell; leave cells and query_cells out.")
        self.register_buffer("components", torch.zeros(dim, self.num_components, dtype=torch.int8))
        self.register_buffer("component_scales", torch.zeros(self.num_components))
        self.register_buffer("variances", torch.zeros(self.num_components))
        self.register_buffer("coarse", torch.zeros(num_coarse, width))
        self.register_buffer("fine_codes", torch.zeros(self.num_latents, width * CELL_BITS // 8, dtype=torch.uint8))
        self.register_buffer("projection", torch.empty(0), persistent=False)
        self.register_buffer("points", torch.empty(0, dtype=torch.int8), persistent=False)
        self.register_buffer("scales", torch.empty(0), persistent=False)
        self.register_load_state_dict_post_hook(lambda module, _keys: module.unpack())  # type: ignore[no-untyped-call]
        self.unpack()

    def build_encoder(self) -> nn.Module:
        """Cells are buffers; there is no linear layer."""
        return nn.Identity()

    @classmethod
    def from_cells(cls, cells: CellsHead) -> Self:
        """Convert a dictionary without torch."""
        head = cls(**cells.config)
        head.load_state_dict({name: torch.from_numpy(value) for name, value in cells.stored().items()})
        return head

    @property
    def principal_components(self) -> NDArray[np.float32]:
        """Float32 (dim, num_components), strongest first."""
        return (self.components.float() * self.component_scales).cpu().numpy()

    def code(self, bits: Bits, norm: float = 1.0) -> RotatedCode:
        """Create the quantizer of the components for embeddings of a given norm."""
        groups = choose_groups(self.variances.float().cpu().numpy(), self.dim, bits)
        mean = self.mean.float().cpu().numpy()
        return RotatedCode(mean, bits, norm=norm, groups=groups, components=self.principal_components)

    def half_weights(self) -> dict[str, Tensor]:
        """The weights as stored: cells with 2 bits per dimension, components with 8, others in half precision."""
        return {
            name: (tensor.half() if tensor.dtype is torch.float32 else tensor).cpu().contiguous()
            for name, tensor in self.state_dict().items()
        }

    def unpack(self) -> None:
        """Compute the projection, and the cells as int8 (num_coarse, num_fine, width) with their inverse lengths."""
        turn = torch.from_numpy(random_rotation(self.width, 0)).to(self.components.device)
        self.projection = (self.components.float() * self.component_scales)[:, : self.width] @ turn
        blocks = torch.split(self.fine_codes.cpu(), _BLOCK)
        levels = torch.cat([torch.from_numpy(unpack_levels(block.numpy(), CELL_BITS).view("int8")) for block in blocks])
        points = (2 * levels - (2**CELL_BITS - 1)).to(self.fine_codes.device)
        self.scales = torch.cat([block.float().square().sum(dim=1).rsqrt() for block in torch.split(points, _BLOCK)])
        self.points = points.view(self.num_coarse, self.num_fine, self.width)
        self.scales = self.scales.view(self.num_coarse, self.num_fine)

    @property
    def k_candidates(self) -> int:
        """Features of a query whose hits are rescored by codes."""
        return self.candidate_cells + self.candidate_tokens

    def strongest(
        self,
        embeddings: Tensor,
        k: int,
        *,
        task: Task | None = None,
        tokens: TokenCounts | None = None,
        candidates: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Keep k features of each text: its cells, and its strongest tokens if `tokens` are given."""
        directions = normalize((embeddings - self.mean) @ self.projection, dim=1)
        count = self._share_of_cells(k, task, candidates) if tokens is not None else min(k, self.num_latents)
        blocks = [self._cells(block, count, task) for block in torch.split(directions, _BLOCK)]
        cells, values = (torch.cat(parts) for parts in zip(*blocks, strict=True))
        if self.lexical is not None and tokens is not None and k > count:
            weights = self.lexical(tokens, task).to(values.dtype)
            if candidates:
                rare = self.lexical.token_weights[tokens.ids].square() >= min_idf(self.num_latents)
                weights = CANDIDATE_SHARE * weights * rare
            weights, slots = weights.topk(min(k - count, tokens.ids.shape[1]), dim=1)
            cells = torch.cat([cells, self.num_latents + tokens.ids.gather(1, slots)], dim=1)
            values, slots = torch.cat([values, weights], dim=1).sort(dim=1, descending=True)
            cells = cells.gather(1, slots)
        return cells, values.relu()

    def _share_of_cells(self, k: int, task: Task | None, candidates: bool) -> int:  # noqa: FBT001
        """Number of cells among k features, in the proportion of the configured k."""
        if self.lexical is None:
            return k
        share, whole = self.cells, self.k
        if task == "query":
            share, whole = (self.candidate_cells, self.k_candidates) if candidates else (self.query_cells, self.k_query)
        return max(1, round(k * share / whole))

    def _cells(self, directions: Tensor, count: int, task: Task | None) -> tuple[Tensor, Tensor]:
        """The cells of a block of texts, nearest first: (n, count) ids and cosines."""
        width = count if task == "query" or not self.spread else POOL * count
        cosines, cells = self._nearest(directions, width, self.query_probes if task == "query" else self.probes)
        if task == "query":
            return cells, cosines - FLOOR * cosines[:, -1:].clamp_min(0)
        if not self.spread or count >= cells.shape[1]:
            return cells, cosines
        size = CACHED if cells.device.type == "cpu" else _BLOCK
        pairs = zip(torch.split(cells, size), torch.split(cosines, size), strict=True)
        chosen = torch.cat([_spread(near, self._units(ids), count, self.spread) for ids, near in pairs])
        return cells.gather(1, chosen), cosines.gather(1, chosen)

    def _units(self, cells: Tensor) -> Tensor:
        """The directions of cells (n, m): (n, m, width)."""
        coarse, fine = cells // self.num_fine, cells % self.num_fine
        return self.points[coarse, fine].float() * self.scales[coarse, fine].unsqueeze(2)

    def _nearest(self, directions: Tensor, count: int, probes: int) -> tuple[Tensor, Tensor]:
        """Cosines and ids of the nearest fine cells, (n, at most count) each, nearest first."""
        probed = (directions @ self.coarse.T).topk(probes, dim=1).indices
        if probed.is_cuda:
            found, ids = nearest_in_groups(directions, probed, self.points, self.scales, min(count, self.num_fine))
            cosines, slots = found.flatten(1).topk(min(count, found[0].numel()), dim=1)
            return cosines, ids.flatten(1).gather(1, slots)
        if len(probed) == 1:
            # One product per probed cell: the unpacked cells fit into the CPU cache.
            products = torch.stack([self.points[cell].float() @ directions[0] for cell in probed[0].tolist()])
            found = (products * self.scales[probed[0]]).view(1, -1)
        else:
            found = self._by_coarse_cell(directions, probed)
        cosines, slots = found.topk(min(count, found.shape[1]), dim=1)
        return cosines, probed.gather(1, slots // self.num_fine) * self.num_fine + slots % self.num_fine

    def _by_coarse_cell(self, directions: Tensor, probed: Tensor) -> Tensor:
        """Cosines of the fine cells of the probed coarse cells, (n, probes * num_fine): with one product per cell."""
        places = probed.flatten()
        order = places.argsort()
        cosines = directions.new_empty(len(places), self.num_fine)
        start = 0
        for coarse, size in enumerate(places.bincount(minlength=self.num_coarse).tolist()):
            if size:
                rows = order[start : start + size]
                products = directions[rows // probed.shape[1]] @ self.points[coarse].float().T
                cosines.index_copy_(0, rows, products * self.scales[coarse])
                start += size
        return cosines.view(len(probed), -1)


def _spread(cosines: Tensor, units: Tensor, count: int, spread: float) -> Tensor:
    """Select cells of documents from the nearest ones: slots (n, count), nearest first."""
    # Both x and c are of length 1, so r . r_j = 1 - x . c - x . c_j + c . c_j, and |r|^2 = 2 - 2 x . c.
    products = 1 - cosines.unsqueeze(1) - cosines.unsqueeze(2) + torch.bmm(units, units.transpose(1, 2))
    distances = 2 - 2 * cosines
    parallel = products.square() / distances.clamp_min(1e-12).unsqueeze(1)
    penalty, taken = torch.zeros_like(distances), torch.zeros_like(distances)
    slots = []
    for place in range(count):
        slot = (distances + taken + spread / max(place, 1) * penalty).argmin(dim=1, keepdim=True)
        slots.append(slot)
        taken.scatter_(1, slot, torch.inf)
        penalty += parallel.gather(2, slot.unsqueeze(1).expand(-1, parallel.shape[1], -1)).squeeze(2)
    # Lower slots are nearer.
    return torch.cat(slots, dim=1).sort(dim=1).values
