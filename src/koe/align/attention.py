"""An autoregressive teacher: it predicts each target step from those before it and from the source, by attention.

Durations are counted along its attention (the way of FastSpeech and of the paper that this project follows). It is made
to align early rather than to sound good: convolutions over time (Tachibana et al. 2018) train in parallel and cannot
reach far, so that what a step encodes stays at its place; there is one attention, with one head; and a prior gives the
slope of a pair, which is known in training and in alignment alike (`koe.align.monotonic`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from koe.align.forward_sum import IMPOSSIBLE
from koe.align.params import AttentionAlignParams
from koe.align.steps import StepBatch
from koe.nn.convolution import Convolution

_READING_LAYERS = 2  # between the attention's output and the prediction


class AttentionTeacher(nn.Module):
    """Steps of the source and the target's steps so far → the target's next step (B, T, R * n_mels), and attention."""

    def __init__(self, params: AttentionAlignParams, width: int) -> None:
        super().__init__()
        self.params = params
        hidden = params.hidden
        self.source_in = nn.Linear(width, hidden)
        self.encoder = nn.ModuleList(_Layer(params, causal=False) for _ in range(params.layers))
        self.prenet = nn.Sequential(*_prenet_layer(width, params), *_prenet_layer(hidden, params))
        self.decoder = nn.ModuleList(_Layer(params, causal=True) for _ in range(params.layers))
        self.key_norm, self.query_norm = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.key, self.query = (nn.Linear(hidden, hidden, bias=False) for _ in range(2))
        self.value = nn.Linear(hidden, hidden)
        self.reading = nn.ModuleList(_Layer(params, causal=True) for _ in range(_READING_LAYERS))
        self.out = nn.Linear(hidden, width)

    def forward(self, batch: StepBatch) -> Tensor:
        """(B, T, S): log attention weights of a teacher-forced run, IMPOSSIBLE in padded source steps."""
        return self.predict(batch)[1]

    def predict(self, batch: StepBatch) -> tuple[Tensor, Tensor]:
        """Every target step from the true ones before it, (B, T, R * n_mels), and the log attention weights."""
        encoded = self.source_in(batch.source)
        for layer in self.encoder:
            encoded = layer(encoded, batch.source_mask)
        encoded = self.key_norm(encoded)
        state = self.prenet(F.pad(batch.target, (0, 0, 1, 0))[:, :-1])
        for layer in self.decoder:
            state = layer(state, batch.target_mask)
        state = self.query_norm(state)
        scores = self.query(state) @ self.key(encoded).transpose(1, 2) / state.shape[2] ** 0.5 + batch.prior
        log_attention = torch.log_softmax(scores, dim=2)
        read = state + log_attention.exp() @ self.value(encoded)
        for layer in self.reading:
            read = layer(read, batch.target_mask)
        return self.out(read), log_attention

    def losses(self, batch: StepBatch, progress: float) -> dict[str, Tensor]:
        """Losses to minimise, by name. `mel`: L1 of normalised log-mel; `guided`: `guided_attention_loss`, weighted."""
        predicted, log_attention = self.predict(batch)
        mask = batch.target_mask
        guided = guided_attention_loss(log_attention.exp(), batch, self.params.guided_width)
        return {"mel": (predicted - batch.target).abs().mean(2)[mask].mean(),
                "guided": self.params.guided_weight * guided}


def guided_attention_loss(attention: Tensor, batch: StepBatch, width: float) -> Tensor:
    """Mean attention (B, T, S) outside a soft band of relative half width `width` along the pair's slope.

    Tachibana et al. 2018, eq. 6, each side's place being a share of its own length.
    """
    places = [torch.arange(count, device=attention.device) / steps[:, None]
              for count, steps in ((attention.shape[1], batch.target_steps), (attention.shape[2], batch.source_steps))]
    away = 1 - torch.exp(-(places[0][:, :, None] - places[1][:, None]).square() / (2 * width**2))
    return (attention * away.masked_fill(batch.prior == IMPOSSIBLE, 0)).sum(2)[batch.target_mask].mean()


class _Layer(nn.Module):
    """x + dropout(relu(conv(layer norm(x)))), (B, steps, hidden), over neighbours or what came before.

    `mask`: (B, steps), True in real steps.
    """

    def __init__(self, params: AttentionAlignParams, causal: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(params.hidden)
        self.convolution = Convolution(params.hidden, params.hidden, params.kernel, causal=causal, contiguous=True)
        self.dropout = nn.Dropout(params.dropout)

    def forward(self, steps: Tensor, mask: Tensor) -> Tensor:
        normed = self.norm(steps) * mask[:, :, None]  # values in the padding would reach the last steps
        return steps + self.dropout(F.relu(self.convolution(normed)))


def _prenet_layer(width: int, params: AttentionAlignParams) -> list[nn.Module]:
    # Much of the target so far is dropped; otherwise the next step is predicted from it alone, without the source.
    return [nn.Linear(width, params.hidden), nn.ReLU(), nn.Dropout(params.prenet_dropout)]
