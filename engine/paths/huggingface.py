"""A torchtext encoder as Hugging Face's XLMRobertaModel, with the same weight tensors.

Both number positions in the same way: a text's first token has the padding index plus one, padding has the padding
index. Hugging Face has three projections where torch has one; they are views of its three parts.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from engine.models.encoder import RobertaModel
from engine.paths.execution import Unavailable
from engine.paths.peers import library

LAYER_PARTS = {
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
}
PROJECTIONS = ("query", "key", "value")


class HuggingFaceEncoder(nn.Module):
    """Tokens (batch, length) int64 -> hidden states (batch, length, width), computed by Hugging Face's code."""

    def __init__(self, model: nn.Module, padding_idx: int) -> None:
        super().__init__()
        self.model = model
        self.padding_idx = padding_idx

    def forward(self, tokens: Tensor) -> Tensor:
        """Hidden states of all positions, padding included."""
        mask = tokens.ne(self.padding_idx).long()
        states: Tensor = self.model(input_ids=tokens, attention_mask=mask).last_hidden_state
        return states


def huggingface_encoder(model: RobertaModel) -> HuggingFaceEncoder:
    """The encoder of a torchtext model in Hugging Face's code, in eval mode, sharing its weights.

    Raises:
        Unavailable: transformers is not installed, or the encoder normalizes before each layer, which
            Hugging Face's cannot.
    """
    body = model.encoder.transformer
    if body.normalize_before:
        raise Unavailable(
            "Hugging Face's XLM-R normalizes after each layer, but this encoder normalizes before: it cannot run there."
        )
    transformers = library("transformers", "Hugging Face transformers")
    # On the meta device, without memory: every weight is assigned below.
    with torch.device("meta"):
        peer = transformers.XLMRobertaModel(_config(transformers, body), add_pooling_layer=False)
    peer.load_state_dict(dict(_weights(body)), assign=True)
    _lay_out_buffers(peer, body.token_embedding.weight.device)
    return HuggingFaceEncoder(peer, body.padding_idx).eval()


def example_tokens(model: RobertaModel) -> Tensor:
    """A batch (3, 7) of tokens with some padding, on the model's device, for tracing.

    The two sizes differ and neither is 1, so that a tracer does not treat them as equal or as constants.
    """
    body = model.encoder.transformer
    padding: int = body.padding_idx
    real = 0 if padding else 1
    tokens = torch.full((3, 7), real, device=body.token_embedding.weight.device)
    tokens[1, 4:] = padding
    return tokens


def _config(transformers: Any, body: Any) -> Any:
    layers = body.layers.layers
    return transformers.XLMRobertaConfig(
        vocab_size=body.token_embedding.num_embeddings,
        hidden_size=body.token_embedding.embedding_dim,
        num_hidden_layers=len(layers),
        num_attention_heads=layers[0].self_attn.num_heads,
        intermediate_size=layers[0].linear1.out_features,
        hidden_act="gelu",
        max_position_embeddings=body.positional_embedding.embedding.num_embeddings,
        type_vocab_size=1,
        pad_token_id=body.padding_idx,
        layer_norm_eps=body.embedding_layer_norm.eps,
        attn_implementation="sdpa",
    )


def _weights(body: Any) -> Iterator[tuple[str, Tensor]]:
    """Hugging Face's names with torchtext's tensors; only the token types' row of zeros is new."""
    words = body.token_embedding.weight
    yield "embeddings.word_embeddings.weight", words
    yield "embeddings.position_embeddings.weight", body.positional_embedding.embedding.weight
    yield "embeddings.token_type_embeddings.weight", torch.zeros_like(words[:1])
    yield from _parts("embeddings.LayerNorm", body.embedding_layer_norm)
    for index, layer in enumerate(body.layers.layers):
        prefix = f"encoder.layer.{index}"
        for kind in ("weight", "bias"):
            joined = getattr(layer.self_attn, f"in_proj_{kind}").detach()
            for name, part in zip(PROJECTIONS, joined.chunk(3), strict=True):
                yield f"{prefix}.attention.self.{name}.{kind}", part
        for name, source in LAYER_PARTS.items():
            yield from _parts(f"{prefix}.{name}", layer.get_submodule(source))


def _parts(name: str, module: Any) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}.weight", module.weight
    yield f"{name}.bias", module.bias


def _lay_out_buffers(peer: Any, device: torch.device) -> None:
    """Set the two buffers that are not in a state dict: positions counted from zero, and token type zero."""
    embeddings = peer.embeddings
    places = embeddings.position_ids.shape[1]
    embeddings.position_ids = torch.arange(places, device=device).expand(1, -1)
    embeddings.token_type_ids = torch.zeros(1, places, dtype=torch.long, device=device)
