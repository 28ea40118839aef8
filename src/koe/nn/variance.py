"""Predictors of one value a step: duration, pitch, energy."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from koe.nn.convolution import Convolution
from koe.nn.layers import Dropout
from koe.nn.params import PredictorParams


class VariancePredictor(nn.Module):
    """Convolutions, ReLU, layer norm, dropout, and a linear layer to one value a step (FastSpeech 2)."""

    def __init__(self, hidden: int, params: PredictorParams) -> None:
        super().__init__()
        self.stop_gradient = params.stop_gradient
        widths = [hidden] + [params.filter] * params.layers
        self.convolutions = nn.ModuleList(
            Convolution(before, after, params.kernel) for before, after in pairwise(widths))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths[1:])
        self.dropout = Dropout(params.dropout)
        self.out = nn.Linear(params.filter, 1)

    def forward(self, hidden: Tensor, mask: Tensor, conditioning: Tensor | None = None) -> Tensor:
        """(B, T, H), (B, T) → (B, T). `conditioning` (B, T, H) is added to the hidden sequence. With stop_gradient no
        gradient flows back into the hidden sequence (lesson 2).
        """
        x = hidden.detach() if self.stop_gradient else hidden
        if conditioning is not None:
            x = x + conditioning
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = self.dropout(norm(F.relu(convolution(x * mask[..., None]))))
        return self.out(x).squeeze(-1).float()
