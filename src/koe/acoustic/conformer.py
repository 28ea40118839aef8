"""Conformer blocks (Gulati et al., 2020) over padded batches, with rotary relative positions.

Letters in shapes: B batch, T steps, H hidden size. `mask` is bool (B, T), True where a step is real.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from koe.params import ConformerParams


def rotary_angles(length: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines (T, size / 2) of rotary position embedding (Su et al., 2021), base 10 000."""
    frequencies = 10000.0 ** (-torch.arange(0, size, 2, device=device, dtype=torch.float32) / size)
    angles = torch.arange(length, device=device, dtype=torch.float32)[:, None] * frequencies
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turns the two halves of the last axis of (…, T, size) by their position's angles."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


class FeedForward(nn.Module):
    """Position-wise feed-forward with Swish; the caller halves it (macaron)."""

    def __init__(self, hidden: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.expand = nn.Linear(hidden, inner)
        self.contract = nn.Linear(inner, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H) → (B, T, H)."""
        # No dropout on the wide inner layer: drawing its mask takes a fifth of a training step on a CPU.
        return self.dropout(self.contract(F.silu(self.expand(self.norm(x)))))


class SelfAttention(nn.Module):
    """Multi-head self-attention with rotary positions: scores depend on distance only, so any length works."""

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(hidden)
        self.project = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, H), (B, T) → (B, T, H)."""
        batch, length, hidden = x.shape
        size = hidden // self.heads
        q, k, v = self.project(self.norm(x)).view(batch, length, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        cosine, sine = (angle.to(q.dtype) for angle in rotary_angles(length, size, x.device))
        attended = F.scaled_dot_product_attention(
            rotate(q, cosine, sine), rotate(k, cosine, sine), v, attn_mask=mask[:, None, None, :]
        )
        return self.dropout(self.out(attended.transpose(1, 2).reshape(batch, length, hidden)))


class ConvolutionModule(nn.Module):
    """Gated pointwise, depthwise, pointwise convolution. Layer norm in place of batch norm: padding leaves no trace."""

    def __init__(self, hidden: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.gate = nn.Linear(hidden, 2 * hidden)
        self.depthwise = nn.Conv1d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden)
        self.inner_norm = nn.LayerNorm(hidden)
        self.out = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, H), (B, T) → (B, T, H)."""
        gated = F.glu(self.gate(self.norm(x)), dim=-1) * mask[..., None]
        convolved = self.depthwise(gated.transpose(1, 2)).transpose(1, 2)
        return self.dropout(self.out(F.silu(self.inner_norm(convolved))))


class ConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, each with a residual; norm at the end."""

    def __init__(self, hidden: int, params: ConformerParams) -> None:
        super().__init__()
        self.before = FeedForward(hidden, params.feed_forward, params.dropout)
        self.attention = SelfAttention(hidden, params.heads, params.dropout)
        self.convolution = ConvolutionModule(hidden, params.kernel, params.dropout)
        self.after = FeedForward(hidden, params.feed_forward, params.dropout)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, H), (B, T) → (B, T, H)."""
        x = x + 0.5 * self.before(x)
        x = x + self.attention(x, mask)
        x = x + self.convolution(x, mask)
        x = x + 0.5 * self.after(x)
        return self.norm(x)


class Conformer(nn.Module):
    """A stack of Conformer blocks."""

    def __init__(self, hidden: int, params: ConformerParams) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ConformerBlock(hidden, params) for _ in range(params.layers))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, H), (B, T) → (B, T, H); padded steps of the result are meaningless."""
        for block in self.blocks:
            x = block(x, mask)
        return x
