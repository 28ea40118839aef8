"""NARS2S: non-autoregressive sequence-to-sequence voice conversion (Hayashi et al., ICASSP 2021; seed log).

    source mel, R frames a step → linear (+ who speaks) → Conformer encoder (+ who is to speak) → duration predictor
      → length regulator, which carries the source's pitch and energy along
      → pitch and energy predictors (source prosody in, target prosody out), added to the hidden sequence
      → Conformer decoder → linear → R frames a step → Postnet

Letters in shapes: B batch, S source steps, T target steps, R reduction factor, M mel bands, H hidden size; S and T
are lengths of batches, at least as long as their longest sequence.
Departures from the paper, each because it trains better here at small sizes: rotary instead of relative-table
positions, layer norm in the convolution module, predictors' durations in the linear domain.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from koe.acoustic.conformer import Conformer
from koe.acoustic.reduction import batch_steps
from koe.acoustic.speakers import EMBEDDING_SIZE
from koe.params import AcousticParams, ConditioningParams, PostnetParams, PredictorParams


@dataclass(frozen=True)
class Source:
    """What conversion starts from, normalised, padded.

    mel (B, S, R * M); pitch (B, S) continuous log-F0; energy (B, S); steps (B,) the true lengths; voices of the source
    and of the target speaker, (B, 2) indices or (B, 2, E) embeddings, None for a model of one source and one target.
    """

    mel: Tensor
    pitch: Tensor
    energy: Tensor
    steps: Tensor
    voices: Tensor | None = None

    def to(self, device: torch.device) -> "Source":
        voices = None if self.voices is None else self.voices.to(device)
        return Source(
            self.mel.to(device), self.pitch.to(device), self.energy.to(device), self.steps.to(device), voices)


@dataclass(frozen=True)
class Prosody:
    """What training and copy synthesis give of the target: pitch (B, T) and energy (B, T), normalised."""

    pitch: Tensor
    energy: Tensor

    def to(self, device: torch.device) -> "Prosody":
        return Prosody(self.pitch.to(device), self.energy.to(device))


@dataclass(frozen=True)
class Output:
    """What the model says.

    mel_before and mel (B, T * R, M), before and after the Postnet; durations (B, S) as predicted, real-valued, and
    whole_durations (B, S) as used, both in target steps; pitch and energy (B, T); steps (B,) target steps.
    """

    mel_before: Tensor
    mel: Tensor
    durations: Tensor
    whole_durations: Tensor
    pitch: Tensor
    energy: Tensor
    steps: Tensor


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """(B,) → bool (B, size), True before each length."""
    return torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]


def regulate_length(x: Tensor, durations: Tensor, size: int) -> Tensor:
    """Repeats step s of (B, S, C) durations[s] times: (B, size, C); beyond the sum of durations, the last step.

    One gather for the whole batch (FastSpeech's length regulator without its loop).
    """
    ends = durations.cumsum(dim=1)
    positions = torch.arange(size, device=x.device).expand(len(x), size).contiguous()
    index = torch.searchsorted(ends, positions, right=True).clamp(max=x.shape[1] - 1)
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))


def round_durations(durations: Tensor, mask: Tensor) -> Tensor:
    """Whole durations (B, S) whose running sums are nearest to the real-valued ones', so rounding never adds up.

    Every sequence keeps at least one step.
    """
    ends = (durations.clamp(min=0) * mask).double().cumsum(dim=1).round().long()
    last = mask.sum(dim=1, keepdim=True) - 1
    ends = torch.where(torch.arange(ends.shape[1], device=ends.device)[None] >= last, ends.clamp(min=1), ends)
    return torch.diff(ends, dim=1, prepend=torch.zeros_like(ends[:, :1])) * mask


class VariancePredictor(nn.Module):
    """Convolutions, ReLU, layer norm, dropout, and a linear layer to one value a step (FastSpeech 2)."""

    def __init__(self, hidden: int, params: PredictorParams) -> None:
        super().__init__()
        self.stop_gradient = params.stop_gradient
        widths = [hidden] + [params.filter] * params.layers
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, after, params.kernel, padding=params.kernel // 2)
            for before, after in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths[1:])
        self.dropout = nn.Dropout(params.dropout)
        self.out = nn.Linear(params.filter, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, H), (B, T) → (B, T). With stop_gradient nothing flows back into x (lesson 2)."""
        if self.stop_gradient:
            x = x.detach()
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = convolution((x * mask[..., None]).transpose(1, 2)).transpose(1, 2)
            x = self.dropout(norm(F.relu(x)))
        return self.out(x).squeeze(-1)


class Postnet(nn.Module):
    """Residual refinement of the mel (Tacotron 2); layer norm over bands, so that padding leaves no trace."""

    def __init__(self, n_mels: int, params: PostnetParams) -> None:
        super().__init__()
        widths = [n_mels] + [params.filter] * (params.layers - 1) + [n_mels] if params.layers else []
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, after, params.kernel, padding=params.kernel // 2)
            for before, after in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths[1:-1])
        self.dropout = nn.Dropout(params.dropout)

    def forward(self, mel: Tensor, mask: Tensor) -> Tensor:
        """(B, F, M), (B, F) → (B, F, M)."""
        x = mel
        for index, convolution in enumerate(self.convolutions):
            x = convolution((x * mask[..., None]).transpose(1, 2)).transpose(1, 2)
            if index < len(self.norms):
                x = self.dropout(torch.tanh(self.norms[index](x)))
        return mel + x if len(self.convolutions) else mel


class VoiceInput(nn.Module):
    """Who speaks and who is to speak, for the hidden sequences: a learned vector each, or a projected embedding."""

    def __init__(self, hidden: int, params: ConditioningParams, speakers: int) -> None:
        super().__init__()
        if params.by == "learned":
            self.voice: nn.Module = nn.Embedding(speakers, params.size)
        else:
            self.voice = nn.Linear(EMBEDDING_SIZE, params.size)
        self.source = nn.Linear(params.size, hidden)
        self.target = nn.Linear(params.size, hidden)

    def forward(self, voices: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 2) indices or (B, 2, E) embeddings → of the source and of the target, (B, 1, H) each."""
        if voices.dim() == 3:  # of length 1: a value of theirs is small, which the layers' first weights do not expect
            voices = voices * EMBEDDING_SIZE**0.5
        source, target = F.softsign(self.voice(voices)).split(1, dim=1)
        return self.source(source), self.target(target)


class NARS2S(nn.Module):
    """The acoustic model. `n_mels` is the number of mel bands, `speakers` how many it learns by name (conditioning by
    `learned`); everything else comes from the parameters.
    """

    def __init__(self, params: AcousticParams, n_mels: int, speakers: int = 0) -> None:
        super().__init__()
        hidden, width = params.hidden, params.reduction_factor * n_mels
        self.reduction_factor = params.reduction_factor
        self.n_mels = n_mels
        self.reduce = nn.Linear(width, hidden)
        self.encoder = Conformer(hidden, params.encoder)
        self.duration_predictor = VariancePredictor(hidden, params.duration)
        self.source_prosody = nn.Linear(2, hidden)
        self.pitch_predictor = VariancePredictor(hidden, params.pitch)
        self.energy_predictor = VariancePredictor(hidden, params.energy)
        self.pitch_embedding = nn.Conv1d(1, hidden, 3, padding=1)
        self.energy_embedding = nn.Conv1d(1, hidden, 3, padding=1)
        self.decoder = Conformer(hidden, params.decoder)
        self.expand = nn.Linear(hidden, width)
        self.postnet = Postnet(n_mels, params.postnet)
        self.voices = None if params.conditioning.by == "none" else VoiceInput(hidden, params.conditioning, speakers)

    def forward(self, source: Source, durations: Tensor | None = None, prosody: Prosody | None = None) -> Output:
        """Converts a batch.

        Args:
            source: the source's features.
            durations: (B, S) whole target steps; predicted when not given (conversion).
            prosody: the target's pitch and energy for the decoder (teacher forcing); predicted when not given.
        """
        source_mask = length_mask(source.steps, source.mel.shape[1])
        encoded = self._encode(source, source_mask)
        predicted = F.softplus(self.duration_predictor(encoded, source_mask)) * source_mask
        whole = round_durations(predicted.detach(), source_mask) if durations is None else durations
        steps = whole.sum(dim=1)
        mask = length_mask(steps, batch_steps(int(steps.max())))
        carried = torch.cat([encoded, torch.stack([source.pitch, source.energy], dim=-1).to(encoded.dtype)], dim=-1)
        carried = regulate_length(carried, whole, mask.shape[1])
        hidden, source_prosody = carried[..., :-2], carried[..., -2:]
        informed = hidden + self.source_prosody(source_prosody)
        pitch = self.pitch_predictor(informed, mask)
        energy = self.energy_predictor(informed, mask)
        given = prosody or Prosody(pitch, energy)
        hidden = hidden + self._embed(self.pitch_embedding, given.pitch, mask)
        hidden = hidden + self._embed(self.energy_embedding, given.energy, mask)
        stacked = self.expand(self.decoder(hidden, mask))
        before = stacked.reshape(len(stacked), -1, self.n_mels)
        frame_mask = mask.repeat_interleave(self.reduction_factor, dim=1)
        return Output(before, self.postnet(before, frame_mask), predicted, whole, pitch, energy, steps)

    def _encode(self, source: Source, mask: Tensor) -> Tensor:
        """The source's hidden sequence (B, S, H), told who speaks on the way in and who is to speak on the way out."""
        reduced = self.reduce(source.mel)
        if self.voices is None:
            return self.encoder(reduced, mask)
        speaks, is_to_speak = self.voices(source.voices)
        return self.encoder(reduced + speaks, mask) + is_to_speak

    @staticmethod
    def _embed(embedding: nn.Conv1d, values: Tensor, mask: Tensor) -> Tensor:
        return embedding((values * mask)[:, None].to(embedding.weight.dtype)).transpose(1, 2)
