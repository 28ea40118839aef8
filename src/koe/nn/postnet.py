"""The Postnet of Tacotron 2."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from koe.nn.convolution import Convolution
from koe.nn.layers import Dropout, norm_layer, normalize
from koe.nn.params import PostnetParams


class Postnet(nn.Module):
    """Residual refinement of the mel (Tacotron 2); the last layer is linear, without norm or dropout."""

    def __init__(self, n_mels: int, params: PostnetParams) -> None:
        super().__init__()
        widths = [n_mels] + [params.filter] * (params.layers - 1) + [n_mels]
        self.convolutions = nn.ModuleList(
            Convolution(before, after, params.kernel) for before, after in pairwise(widths))
        self.norms = nn.ModuleList(norm_layer(params.norm, width) for width in widths[1:-1])
        self.dropout = Dropout(params.dropout)

    def forward(self, mel: Tensor, mask: Tensor) -> Tensor:
        """(B, F, M), (B, F) → (B, F, M)."""
        x = mel
        for convolution, norm in zip(self.convolutions, self.norms, strict=False):
            x = normalize(norm, convolution(x * mask[..., None]), mask)
            x = self.dropout(torch.tanh(x))
        return mel + self.convolutions[-1](x * mask[..., None])
