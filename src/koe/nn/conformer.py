"""Conformer blocks (Gulati et al., 2020) over padded batches, with three kinds of positions.

`rotary` rotates queries and keys (Su et al., 2021); `relative` adds a learned term of the distance to each score (Dai
et al., 2019, as in the published Conformer); `absolute` adds sinusoids to the input (Vaswani et al., 2017). All of them
take sequences of any length.

Letters in shapes: B batch, T steps, H hidden size, N heads, D size of a head, A = N * D attention width. `mask` is bool
(B, T), True where a step is real.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from koe.nn.convolution import Convolution
from koe.nn.layers import Dropout, norm_layer, normalize
from koe.nn.params import ConformerParams

# Up to this many steps, attention that is written out takes a quarter to a half of the fused kernel's time on CPUs;
# beyond it, its memory, which grows with the square of the steps, matters more.
_WRITTEN_OUT_STEPS = 512


def angles(positions: Tensor, size: int) -> Tensor:
    """Positions (T,) → angles (T, size / 2), of wavelengths from 2π to 20 000π in a geometric progression."""
    frequencies = 10000.0 ** (-torch.arange(0, size, 2, device=positions.device, dtype=torch.float32) / size)
    return positions[:, None] * frequencies


def sinusoids(positions: Tensor, size: int) -> Tensor:
    """Positions (T,) → sines and cosines (T, size) of their angles."""
    phases = angles(positions, size)
    return torch.cat([phases.sin(), phases.cos()], dim=-1)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotates the two halves of the last axis of (…, T, size) by the angles of their position."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


def by_distance(scores: Tensor) -> Tensor:
    """Scores of each step for the distances T - 1 to 1 - T, (B, N, T, 2 T - 1) → for every other step, (B, N, T, T).

    Row t has to shift by t; a view with one more column shifts all rows at once (Transformer-XL, appendix B).
    """
    batch, heads, length, distances = scores.shape
    padded = F.pad(scores, (1, 0)).view(batch, heads, distances + 1, length)
    return padded[:, :, 1:].view(batch, heads, length, distances)[..., :length]


class FeedForward(nn.Module):
    """Position-wise feed-forward with Swish; the caller halves it (macaron)."""

    def __init__(self, params: ConformerParams) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(params.hidden)
        self.expand = nn.Linear(params.hidden, params.feed_forward)
        self.contract = nn.Linear(params.feed_forward, params.hidden)
        self.inner_dropout = Dropout(params.inner_dropout)
        self.dropout = Dropout(params.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H) → (B, T, H)."""
        return self.dropout(self.contract(self.inner_dropout(F.silu(self.expand(self.norm(x))))))


class SelfAttention(nn.Module):
    """Multi-head self-attention without positions: they are in its input, or a subclass adds them."""

    def __init__(self, params: ConformerParams) -> None:
        super().__init__()
        self.heads, self.size = params.heads, params.attention // params.heads
        self.norm = nn.LayerNorm(params.hidden)
        self.project = nn.Linear(params.hidden, 3 * params.attention)
        self.out = nn.Linear(params.attention, params.hidden)
        self.attention_dropout = Dropout(params.attention_dropout)
        self.dropout = Dropout(params.dropout)

    def positions(self, x: Tensor) -> tuple[Tensor, ...]:
        """What `place` needs for a sequence like x (B, T, …); the same for all layers, so it is computed once."""
        return ()

    def place(
        self, q: Tensor, k: Tensor, bias: Tensor, positions: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys (B, N, T, D) and what is added to scores (B, 1, 1, T) → the same, with positions."""
        return q, k, bias

    def forward(self, x: Tensor, bias: Tensor, positions: tuple[Tensor, ...]) -> Tensor:
        """(B, T, H), (B, 1, 1, T) → (B, T, H); `bias` is added to scores: -inf for steps that are not real."""
        batch, length, _ = x.shape
        projected = self.project(self.norm(x)).view(batch, length, 3, self.heads, self.size)
        q, k, v = projected.permute(2, 0, 3, 1, 4)
        attended = self._attend(*self.place(q, k, bias, positions), v)
        return self.dropout(self.out(attended.transpose(1, 2).reshape(batch, length, -1)))

    def _attend(self, q: Tensor, k: Tensor, bias: Tensor, v: Tensor) -> Tensor:
        bias = bias.to(q.dtype)
        dropout = self.attention_dropout.probability if self.training else 0.0
        if q.device.type == "cpu" and (dropout or q.shape[2] <= _WRITTEN_OUT_STEPS):
            weights = ((q * self.size**-0.5) @ k.transpose(-1, -2) + bias).softmax(dim=-1)
            return self.attention_dropout(weights) @ v
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)


class RotaryAttention(SelfAttention):
    """Attention whose queries and keys are rotated by their positions, so that scores depend on distance only."""

    def positions(self, x: Tensor) -> tuple[Tensor, ...]:
        phases = angles(torch.arange(x.shape[1], device=x.device, dtype=torch.float32), self.size)
        return phases.cos().to(x.dtype), phases.sin().to(x.dtype)

    def place(
        self, q: Tensor, k: Tensor, bias: Tensor, positions: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        cosine, sine = positions
        return rotate(q, cosine, sine), rotate(k, cosine, sine), bias


class RelativeAttention(SelfAttention):
    """Attention with scores ((q + u) · k + (q + v) · W r) / √D, r the sinusoids of the distance, u and v learned."""

    def __init__(self, params: ConformerParams) -> None:
        super().__init__(params)
        self.distance = nn.Linear(params.attention, params.attention, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(params.attention))
        self.position_bias = nn.Parameter(torch.zeros(params.attention))

    def positions(self, x: Tensor) -> tuple[Tensor, ...]:
        length = x.shape[1]
        distances = torch.arange(length - 1, -length, -1, device=x.device, dtype=torch.float32)
        return (sinusoids(distances, self.heads * self.size).to(x.dtype),)

    def place(
        self, q: Tensor, k: Tensor, bias: Tensor, positions: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        content, position = (
            learned.to(q.dtype).view(self.heads, 1, self.size) for learned in (self.content_bias, self.position_bias)
        )
        distances = self.distance(positions[0]).view(-1, self.heads, self.size).permute(1, 2, 0)
        scores = by_distance(((q + position) * self.size**-0.5) @ distances)
        return q + content, k, bias.to(q.dtype) + scores


class ConvolutionModule(nn.Module):
    """Gated pointwise, depthwise, pointwise convolution."""

    def __init__(self, params: ConformerParams) -> None:
        super().__init__()
        channels = params.convolution
        self.norm = nn.LayerNorm(params.hidden)
        self.gate = nn.Linear(params.hidden, 2 * channels)
        self.depthwise = Convolution(channels, channels, params.kernel, groups=channels)
        self.inner_norm = norm_layer(params.norm, channels)
        self.out = nn.Linear(channels, params.hidden)
        self.dropout = Dropout(params.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, H), (B, T) → (B, T, H)."""
        gated = F.glu(self.gate(self.norm(x)), dim=-1) * mask[..., None]
        convolved = normalize(self.inner_norm, self.depthwise(gated), mask)
        return self.dropout(self.out(F.silu(convolved)))


class ConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, each with a residual; norm at the end."""

    def __init__(self, params: ConformerParams) -> None:
        super().__init__()
        attention: dict[str, type[SelfAttention]] = {
            "rotary": RotaryAttention, "relative": RelativeAttention, "absolute": SelfAttention}
        self.before = FeedForward(params)
        self.attention = attention[params.positions](params)
        self.convolution = ConvolutionModule(params)
        self.after = FeedForward(params)
        self.norm = nn.LayerNorm(params.hidden)

    def forward(self, x: Tensor, mask: Tensor, bias: Tensor, positions: tuple[Tensor, ...]) -> Tensor:
        """(B, T, H), (B, T) → (B, T, H); `bias` and `positions`: see `SelfAttention`."""
        x = x.add(self.before(x), alpha=0.5)
        x = x + self.attention(x, bias, positions)
        x = x + self.convolution(x, mask)
        x = x.add(self.after(x), alpha=0.5)
        return self.norm(x)


class Conformer(nn.Module):
    """A stack of Conformer blocks."""

    def __init__(self, params: ConformerParams) -> None:
        super().__init__()
        self.absolute = params.positions == "absolute"
        self.blocks = nn.ModuleList(ConformerBlock(params) for _ in range(params.layers))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, H), (B, T) → (B, T, H); padded steps of the result are meaningless."""
        if self.absolute:
            steps = torch.arange(x.shape[1], device=x.device, dtype=torch.float32)
            x = x + sinusoids(steps, x.shape[2]).to(x.dtype)
        bias = torch.zeros_like(mask, dtype=x.dtype).masked_fill(~mask, -torch.inf)[:, None, None]
        first = self.blocks[0]
        assert isinstance(first, ConformerBlock)
        positions = first.attention.positions(x)
        for block in self.blocks:
            x = block(x, mask, bias, positions)
        return x
