"""The packed modules: an `nn.TransformerEncoder` or a torchtext RobertaModel, executed without padding."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, Never, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own habit)

from engine.errors import Refusal
from engine.packing.build import default_folder, gain_here
from engine.packing.checks import (
    check_batch,
    check_call,
    check_encoder,
    check_eval_mode,
    check_padding,
    check_precision,
    check_tokens,
    precision_of,
)
from engine.packing.head import PackedHead
from engine.packing.norm import Norm
from engine.packing.plan import Plan, plan_of
from engine.packing.stack import PackedStack
from engine.records import DType


class PackedModule(nn.Module):
    """What the packed modules have in common: inference only, and weights that stay where and as they are.

    torch cannot copy weights in oneDNN's layout, and they are no parameters. So copying, pickling, `state_dict`,
    train mode and moves to another device or precision raise a Refusal instead of doing half of it.
    """

    stack: PackedStack

    def train(self, mode: bool = True) -> Self:
        """Eval mode alone.

        Raises:
            Refusal: train mode is asked for.
        """
        if mode:
            raise Refusal("A packed module cannot be trained: train the original, and pack it again.")
        return super().train(mode)

    def state_dict(self, *_args: Any, **_keywords: Any) -> Never:
        """Nothing could be saved that could be loaded again.

        Raises:
            Refusal: always.
        """
        raise Refusal("A packed module has no state_dict: save the original's, and pack it again.")

    def __reduce_ex__(self, _protocol: Any) -> Never:
        raise Refusal("A packed module cannot be copied or pickled: pack the original again instead.")

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: ARG002
        """What `.to()`, `.half()` and the like call: nothing to do if it would change nothing, else refused."""
        own = torch.empty(0, dtype=self.stack.dtype, device=self.stack.device)
        moved = fn(own)
        if (moved.dtype, moved.device) != (own.dtype, own.device):
            raise Refusal(
                f"A packed module stays {own.dtype} on {own.device}: move or convert the original, and pack it again."
            )
        return self


class PackedEncoder(PackedModule):
    """An `nn.TransformerEncoder` without padding: `packed(src, src_key_padding_mask=...)`.

    Hidden states of padding places are zeros. Inference only: no dropout, no gradients. Autocast has no effect:
    the precision is the one that `pack` was given.
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

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """Hidden states in the shape and dtype of `src`.

        Args:
            src: (batch, length, width), or (length, batch, width) if the original is not batch_first, or
                (length, width) for one text; fp32, bf16 or fp16. Any of the sizes may be 0, but for the width.
            mask: None; an attention mask is refused.
            src_key_padding_mask: (batch, length) or (length,) bool, True on padding, wherever it stands.
            is_causal: None or False.

        Raises:
            Refusal: something that a packed encoder cannot compute is given, or the input has another width, shape,
                device or type, or wants gradients.
        """
        check_call(src, mask, is_causal)
        check_batch(src, self.stack.width, self.stack.device)
        turned = src.dim() == 3 and not self._batch_first
        batch = src.transpose(0, 1) if turned else src
        if src_key_padding_mask is not None:
            check_padding(src_key_padding_mask, tuple(batch.shape[:-1]), self.stack.device)
        with _inference(src.device):
            hidden = self._hidden(batch, src_key_padding_mask)
        return hidden.transpose(0, 1) if turned else hidden

    def _hidden(self, batch: Tensor, padding: Tensor | None) -> Tensor:
        """([batch,] length, width), ([batch,] length) -> the same shape and dtype as `batch`."""
        real = batch.new_ones(batch.shape[:-1], dtype=torch.bool) if padding is None else ~padding
        plan = plan_of(real[None] if batch.dim() == 2 else real)
        rows = batch.reshape(-1, self.stack.width).index_select(0, plan.places).float()
        return _scattered(self.stack.all_tokens(rows, plan), plan, batch.shape).to(batch.dtype)


class PackedRoberta(PackedModule):
    """A torchtext RobertaModel without padding: the same call, the same logits.

    Padding may stand anywhere in a row. A classification head reads each text's first real token, which is the
    first place of the row unless the padding is on the left. Inference only: no dropout, no gradients. Autocast has
    no effect.
    """

    def __init__(self, model: Any, dtype: DType, *, release: bool, kernels_folder: Path | None) -> None:
        super().__init__()
        body = model.encoder.transformer
        norm = Norm.of(body.embedding_layer_norm)
        self.stack = PackedStack(body.layers, dtype, release=release, kernels_folder=kernels_folder)
        self._padding_id: int = body.padding_idx
        self._token_table = body.token_embedding.weight.detach()
        self._position_table = body.positional_embedding.embedding.weight.detach()
        self._first_norm: Norm | None = None if body.normalize_before else norm
        self._last_norm: Norm | None = norm if body.normalize_before else None
        self.head = model.head
        first_token_head = type(model.head).__name__ == "RobertaClassificationHead"
        self._first_token_head = (
            PackedHead(model.head, precision_of(model.head), self.stack.operators)
            if first_token_head
            else None
        )

    @property
    def weights_mb(self) -> float:
        """Memory in MB of the laid-out weights; the embeddings are the original's."""
        head = self._first_token_head
        return self.stack.weights_mb + (0.0 if head is None else head.megabytes)

    def forward(self, tokens: Tensor, masked_tokens: Tensor | None = None) -> Tensor:
        """The head's logits, or hidden states if the model has no head.

        Args:
            tokens: (batch, length) int64 or int32.
            masked_tokens: (batch, length), true where hidden states are wanted, as in the original.

        Raises:
            Refusal: the tokens have another shape, type or device, or a classification head has no place to read.
            IndexError: a token or a position has no embedding, as in the original.
        """
        check_tokens(tokens, self.stack.device)
        with _inference(tokens.device):
            if self._first_token_head is None or masked_tokens is not None:
                hidden = self._hidden(tokens)
                wanted = hidden if masked_tokens is None else hidden[masked_tokens.to(torch.bool), :]
                return wanted if self.head is None else self.head(self._for_head(wanted))
            return self._first_token_head(self._features(tokens))

    def hidden(self, tokens: Tensor) -> Tensor:
        """(batch, length) int64 or int32 -> hidden states (batch, length, width) fp32, zeros on padding.

        Raises:
            Refusal, IndexError: as `forward`.
        """
        check_tokens(tokens, self.stack.device)
        with _inference(tokens.device):
            return self._hidden(tokens)

    def _hidden(self, tokens: Tensor) -> Tensor:
        plan, rows = self._embedded(tokens)
        return _scattered(
            self._normed(self.stack.all_tokens(rows, plan)), plan, (*tokens.shape, self.stack.width)
        )

    def _features(self, tokens: Tensor) -> Tensor:
        """(batch, length) -> (batch, width): what the head reads; zeros for a text that is all padding."""
        if not tokens.shape[1]:
            raise Refusal("A batch of length 0 has no first token for the classification head to read.")
        plan, rows = self._embedded(tokens)
        firsts = self._normed(self.stack.first_tokens(rows, plan))
        places = torch.tensor(plan.texts, dtype=torch.int64, device=tokens.device)
        return firsts.new_zeros(len(tokens), firsts.shape[-1]).index_copy_(0, places, firsts)

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
    compiled: bool | None = None,
    kernels_folder: Path | None = None,
) -> nn.Module:
    """A module with the same call as `model`, which spends nothing on padding.

    Args:
        model: a torchtext RobertaModel, or an `nn.TransformerEncoder`; in eval mode, on one device.
        dtype: "fp32", "bf16" or "fp16" for the linear layers and attention; None takes the model's own. The residual
            stream and the norms are always fp32.
        release: free the original's linear weights, layer by layer, so that memory does not double; the original
            cannot be used afterwards.
        compiled: use kernels that are compiled for this processor on first use, which takes some seconds; None uses
            them on processors with AVX-512, because on others torch's operators are faster (docs/packed.md). If they
            cannot be compiled, torch's operators do the same work, and `packed.stack.without_kernels` says why.
        kernels_folder: where compiled kernels are kept; None takes `build.default_folder()`.

    Raises:
        Refusal: the model is of another kind or in training mode, has a part that is not supported, or the precision
            does not exist; the model was not changed.
    """
    check_precision(dtype)
    wanted = gain_here() if compiled is None else compiled
    folder = (kernels_folder or default_folder()) if wanted else None
    if isinstance(model, nn.TransformerEncoder):
        check_eval_mode(model)
        check_encoder(model)
        return PackedEncoder(
            model, dtype or precision_of(model), release=release, kernels_folder=folder
        ).eval()
    if isinstance(getattr(getattr(model, "encoder", None), "transformer", None), nn.Module):
        check_eval_mode(model)
        check_encoder(model.encoder.transformer.layers)  # type: ignore[union-attr, arg-type]
        return PackedRoberta(
            model, dtype or precision_of(model), release=release, kernels_folder=folder
        ).eval()
    raise Refusal(
        f"Cannot pack a {type(model).__name__}: give a torchtext RobertaModel or an nn.TransformerEncoder."
    )


@contextmanager
def _inference(device: torch.device) -> Iterator[None]:
    """No gradients, and no autocast, which would round between operators that expect the packed precision."""
    with torch.no_grad():
        if not torch.is_autocast_enabled(device.type):
            yield
            return
        with torch.autocast(device.type, enabled=False):
            yield


def _scattered(rows: Tensor, plan: Plan, shape: Sequence[int]) -> Tensor:
    """Packed rows (real tokens, width) at their places in (..., width); zeros on padding."""
    hidden = rows.new_zeros(prod(shape[:-1]), shape[-1])
    return hidden.index_copy_(0, plan.places, rows).view(*shape)
