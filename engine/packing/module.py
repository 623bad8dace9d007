"""The packed modules: an `nn.TransformerEncoder` or a torchtext RobertaModel, executed without padding.

The residual stream stays in fp32 whatever the linear layers compute in, which makes bf16 about three times as
exact as a model converted to bf16 (benchmarks/paths.py prints both errors).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own habit)

from engine.errors import Refusal
from engine.packing import huge_pages
from engine.packing.attention import Attention, takes_varlen
from engine.packing.build import default_folder
from engine.packing.head import PackedHead
from engine.packing.last_attention import LastAttention
from engine.packing.layer import PackedLayer, check
from engine.packing.norm import Norm
from engine.packing.operators import Attending, CompiledOperators, operators_for
from engine.packing.plan import Plan, plan_of
from engine.packing.precisions import TORCH_DTYPES
from engine.records import DType

FEW_ROWS = 32
"""Up to so many rows a linear layer takes as long as its weights take to arrive: leaving rows out saves nothing."""


class PackedStack:
    """The layers of an encoder over packed rows.

    Args:
        encoder: `nn.TransformerEncoder` in eval mode; layers of `nn.TransformerEncoderLayer`.
        dtype: what the linear layers and attention compute in.
        release: let go of the encoder's own linear weights, layer by layer; it cannot be used afterwards.
        kernels_folder: where compiled kernels are kept; None to compute with torch's operators.

    Attributes:
        layers: what was made of its layers.
        operators: what they are computed with.
        without_kernels: why the compiled kernels are not used though they were asked for and would serve; or empty.

    Raises:
        Refusal: a layer has something that is not known here; it is named.
    """

    def __init__(
        self, encoder: nn.TransformerEncoder, dtype: DType, *, release: bool, kernels_folder: Path | None
    ) -> None:
        layers: list[Any] = list(encoder.layers)
        for layer in layers:
            check(layer)
        self.heads: int = layers[0].self_attn.num_heads
        self.width: int = layers[0].self_attn.embed_dim
        self.dtype = TORCH_DTYPES[dtype]
        device = layers[0].linear1.weight.device
        self.operators, self.without_kernels = operators_for(
            self.dtype, device, self.width, self.heads, kernels_folder
        )
        self._last_attention = LastAttention.of(layers[-1].self_attn, copied=release)
        self.layers = tuple(
            PackedLayer.of(layer, dtype, last=layer is layers[-1], release=release) for layer in layers
        )
        self._few_rows = self.operators.few_rows(self.layers)
        places = (linear.place for layer in self.layers for linear in layer.linears)
        huge_pages.gather(place for place in places if place is not None)
        self.norm = None if encoder.norm is None else Norm.of(encoder.norm)

    @property
    def kernels(self) -> bool:
        """Whether the compiled kernels are used."""
        return isinstance(self.operators, CompiledOperators)

    @property
    def onednn(self) -> bool:
        """Whether its linear layers are oneDNN's, on laid-out weights."""
        return all(linear.onednn for layer in self.layers for linear in layer.linears)

    @property
    def weights_mb(self) -> float:
        """Memory in MB of the laid-out linear layers."""
        linears = sum(linear.megabytes for layer in self.layers for linear in layer.linears)
        return linears + self._last_attention.megabytes

    def all_tokens(self, rows: Tensor, plan: Plan) -> Tensor:
        """(rows, width) fp32, which is written into -> the last layer's rows."""
        if not plan.texts:
            return rows
        if self._few_rows is not None and self._few_rows.serves(rows):
            rows = self._few_rows(rows, plan, firsts=False)
        else:
            rows, _ = self._through(self.layers, rows, self.operators.attention(plan))
        return self._normed(rows)

    def first_tokens(self, rows: Tensor, plan: Plan) -> Tensor:
        """(rows, width) fp32, which is written into -> (texts, width): only what each text's first token becomes."""
        if not plan.texts:
            return rows
        if self._few_rows is not None and self._few_rows.serves(rows):
            return self._normed(self._few_rows(rows, plan, firsts=True))
        first = torch.tensor(plan.starts[:-1], device=rows.device)
        if len(rows) <= FEW_ROWS:
            return self.all_tokens(rows, plan).index_select(0, first)
        attention, last = self.operators.attention(plan), self.layers[-1]
        rows, x = self._through(self.layers[:-1], rows, attention)
        x = self._read(last, rows, x)
        queries, keys_values = last.projections
        q = self.operators.linear(queries, x.index_select(0, first))
        if takes_varlen(x):
            mixed = Attention(plan, self.heads, self.width).first_tokens(
                q, self.operators.linear(keys_values, x)
            )
        else:
            # Without norms before it the layer reads the rows themselves, which are exact.
            mixed = self._last_attention(q, x if last.norm_first else rows, plan.starts)
        rows, _ = self._behind_attention(last, rows.index_select(0, first), mixed)
        return self._normed(rows)

    def _normed(self, rows: Tensor) -> Tensor:
        return rows if self.norm is None else self.norm(rows)

    def _through(
        self, layers: Iterable[PackedLayer], rows: Tensor, attention: Attending
    ) -> tuple[Tensor, Tensor]:
        x = rows.to(self.dtype)
        for layer in layers:
            x = self._read(layer, rows, x)
            mixed = attention.all_tokens(*self._queries_keys_values(layer, x))
            rows, x = self._behind_attention(layer, rows, mixed)
        return rows, x

    def _read(self, layer: PackedLayer, rows: Tensor, x: Tensor) -> Tensor:
        """What attention reads: `x`, which is the rows in the computing precision, or their norm before it."""
        return self.operators.norm(rows, layer.norm1) if layer.norm_first else x

    def _queries_keys_values(self, layer: PackedLayer, x: Tensor) -> tuple[Tensor, Tensor]:
        """(rows, width) -> queries (rows, width), keys and values (rows, 2 * width)."""
        parts = [self.operators.linear(projection, x) for projection in layer.projections]
        return (
            (parts[0], parts[1])
            if len(parts) == 2
            else (parts[0][:, : self.width], parts[0][:, self.width :])
        )

    def _behind_attention(self, layer: PackedLayer, rows: Tensor, mixed: Tensor) -> tuple[Tensor, Tensor]:
        """The layer's rows, and for a layer with its norms behind them the same in the computing precision."""
        operators = self.operators
        if layer.norm_first:
            rows = operators.add(rows, layer.out, mixed)
            x = operators.norm(rows, layer.norm2)
            return operators.add(rows, layer.down, operators.linear(layer.up, x, layer.activation)), x
        rows, x = operators.add_and_norm(rows, layer.out, mixed, layer.norm1)
        inner = operators.linear(layer.up, x, layer.activation)
        return operators.add_and_norm(rows, layer.down, inner, layer.norm2)


class PackedEncoder(nn.Module):
    """An `nn.TransformerEncoder` without padding: `packed(src, src_key_padding_mask=...)`.

    Hidden states of padding places are zeros. Inference only: no dropout, no gradients.
    """

    def __init__(
        self, encoder: nn.TransformerEncoder, dtype: DType, *, release: bool, kernels_folder: Path | None
    ) -> None:
        super().__init__()
        self.stack = PackedStack(encoder, dtype, release=release, kernels_folder=kernels_folder)
        self._batch_first: bool = encoder.layers[0].self_attn.batch_first

    @property
    def weights_mb(self) -> float:
        """Memory in MB of the laid-out weights."""
        return self.stack.weights_mb

    @torch.no_grad()
    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """(batch, length, width) -> the same shape and dtype, or with the first two exchanged as in the original.

        Args:
            src_key_padding_mask: (batch, length) bool, True on padding, wherever it stands.

        Raises:
            Refusal: an attention mask is given, or a padding mask that is not of booleans.
        """
        if mask is not None or is_causal:
            raise Refusal("A packed encoder attends to all real tokens: it takes no attention mask.")
        if src_key_padding_mask is not None and src_key_padding_mask.dtype != torch.bool:
            raise Refusal("A packed encoder takes a padding mask of booleans, True on padding.")
        batch = src if self._batch_first else src.transpose(0, 1)
        shape = batch.shape[:2]
        real = (
            torch.ones(shape, dtype=torch.bool, device=src.device)
            if src_key_padding_mask is None
            else ~src_key_padding_mask
        )
        plan = plan_of(real)
        rows = batch.reshape(-1, batch.shape[-1]).index_select(0, plan.places).float()
        hidden = _scattered(self.stack.all_tokens(rows, plan), plan, *shape).to(src.dtype)
        return hidden if self._batch_first else hidden.transpose(0, 1)


class PackedRoberta(nn.Module):
    """A torchtext RobertaModel without padding: the same call, the same logits.

    Padding may stand anywhere in a row. A classification head reads each text's first real token, which is the
    first place of the row unless the padding is on the left. Inference only: no dropout, no gradients.
    """

    def __init__(self, model: Any, dtype: DType, *, release: bool, kernels_folder: Path | None) -> None:
        super().__init__()
        body = model.encoder.transformer
        self.stack = PackedStack(body.layers, dtype, release=release, kernels_folder=kernels_folder)
        self._padding_id: int = body.padding_idx
        self._token_table = body.token_embedding.weight.detach()
        self._position_table = body.positional_embedding.embedding.weight.detach()
        norm = Norm.of(body.embedding_layer_norm)
        self._first_norm: Norm | None = None if body.normalize_before else norm
        self._last_norm: Norm | None = norm if body.normalize_before else None
        self.head = model.head
        first_token_head = type(model.head).__name__ == "RobertaClassificationHead"
        self._first_token_head = (
            PackedHead(model.head, _dtype_of(model.head), self.stack.operators) if first_token_head else None
        )

    @property
    def weights_mb(self) -> float:
        """Memory in MB of the laid-out weights; the embeddings are the original's."""
        head = self._first_token_head
        return self.stack.weights_mb + (0.0 if head is None else head.megabytes)

    @torch.no_grad()
    def forward(self, tokens: Tensor, masked_tokens: Tensor | None = None) -> Tensor:
        """(batch, length) int64 -> the head's logits, or hidden states where the model has no head.

        Args:
            masked_tokens: (batch, length), true where hidden states are wanted, as in the original.
        """
        if self._first_token_head is None or masked_tokens is not None:
            hidden = self.hidden(tokens)
            wanted = hidden if masked_tokens is None else hidden[masked_tokens.to(torch.bool), :]
            return wanted if self.head is None else self.head(self._for_head(wanted))
        plan, rows = self._embedded(tokens)
        firsts = self._normed(self.stack.first_tokens(rows, plan))
        places = torch.tensor(plan.texts, dtype=torch.int64, device=tokens.device)
        features = firsts.new_zeros(len(tokens), firsts.shape[-1]).index_copy_(0, places, firsts)
        return self._first_token_head(features)

    @torch.no_grad()
    def hidden(self, tokens: Tensor) -> Tensor:
        """(batch, length) int64 -> hidden states (batch, length, width) fp32, zeros on padding."""
        plan, rows = self._embedded(tokens)
        return _scattered(self._normed(self.stack.all_tokens(rows, plan)), plan, *tokens.shape)

    def _embedded(self, tokens: Tensor) -> tuple[Plan, Tensor]:
        real = tokens.ne(self._padding_id)
        plan = plan_of(real)
        positions = real.cumsum(1).view(-1).index_select(0, plan.places) + self._padding_id
        ids = tokens.reshape(-1).index_select(0, plan.places)
        rows = F.embedding(ids, self._token_table) + F.embedding(positions, self._position_table)
        rows = rows.float()
        return plan, rows if self._first_norm is None else self._first_norm(rows)

    def _normed(self, rows: Tensor) -> Tensor:
        return rows if self._last_norm is None else self._last_norm(rows)

    def _for_head(self, features: Tensor) -> Tensor:
        parameter = next(iter(self.head.parameters()), features)
        return features.to(parameter.dtype)


def pack(
    model: nn.Module,
    dtype: DType | None = None,
    *,
    release: bool = False,
    compiled: bool = True,
    kernels_folder: Path | None = None,
) -> nn.Module:
    """A module with the same call as `model`, which spends nothing on padding.

    Args:
        model: a torchtext RobertaModel, or an `nn.TransformerEncoder`; in eval mode, on one device.
        dtype: "fp32", "bf16" or "fp16" for the linear layers and attention; None takes the model's own. Residuals
            and norms stay in fp32.
        release: free the original's linear weights while they are laid out anew, so that memory does not double;
            the original cannot be used afterwards.
        compiled: use kernels that are compiled for this processor on first use, which takes some seconds. If they
            cannot be compiled, torch's operators do the same work, and `packed.stack.without_kernels` says why.
        kernels_folder: where compiled kernels are kept; None takes `build.default_folder()`.

    Raises:
        Refusal: the model is of another kind, or has a part that is not known here; nothing was changed.
    """
    chosen = dtype or _dtype_of(model)
    folder = (kernels_folder or default_folder()) if compiled else None
    if isinstance(model, nn.TransformerEncoder):
        return PackedEncoder(model, chosen, release=release, kernels_folder=folder).eval()
    if isinstance(getattr(getattr(model, "encoder", None), "transformer", None), nn.Module):
        return PackedRoberta(model, chosen, release=release, kernels_folder=folder).eval()
    raise Refusal(
        f"Cannot pack a {type(model).__name__}: give a torchtext RobertaModel or an nn.TransformerEncoder."
    )


def _dtype_of(model: nn.Module) -> DType:
    own = next(model.parameters()).dtype
    for name, dtype in TORCH_DTYPES.items():
        if dtype == own:
            return name
    raise Refusal(f"Cannot pack a model of {own}: choose fp32, bf16 or fp16.")


def _scattered(rows: Tensor, plan: Plan, batch: int, length: int) -> Tensor:
    """Packed rows (real tokens, width) back at their places in (batch, length, width); zeros on padding."""
    hidden = rows.new_zeros(batch * length, rows.shape[-1])
    return hidden.index_copy_(0, plan.places, rows).view(batch, length, -1)
