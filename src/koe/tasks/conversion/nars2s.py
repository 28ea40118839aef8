"""NARS2S: non-autoregressive sequence-to-sequence voice conversion (Hayashi et al., ICASSP 2021; seed log).

    source mel, R frames a step → linear (+ who speaks) → Conformer encoder (+ who is to speak) → duration predictor
      → length regulator, which carries the source's pitch and energy along
      → pitch and energy predictors (source prosody in, target prosody out), added to the hidden sequence
      → Conformer decoder → linear → R frames a step → Postnet

Letters in shapes: B batch, S source steps, T target steps, R reduction factor, M mel bands, H the encoder's hidden
size, W = M times the frames that a step takes in and predicts, K values of pitch and of energy a step, V all of those
of T steps; S and T are lengths of batches, at least as long as their longest sequence.
Departures from the paper, each because it trains better here at small sizes: rotary instead of relative-table
positions, layer norm in the convolution module, predictors' durations in the linear domain. All are parameters.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from koe.nn.conformer import Conformer
from koe.nn.convolution import Convolution
from koe.nn.layers import Dropout, average_steps, length_mask
from koe.nn.length import regulate_length, round_durations
from koe.nn.postnet import Postnet
from koe.nn.variance import VariancePredictor
from koe.steps import batch_steps
from koe.tasks.conversion.params import AcousticParams, ConditioningParams
from koe.tasks.conversion.reduction import frames_predicted, steps_a_value, values_a_step
from koe.tasks.conversion.speakers import EMBEDDING_SIZE


@dataclass(frozen=True)
class Source:
    """What conversion starts from, normalised, padded.

    mel (B, S, W); pitch (B, S * K) continuous log-F0; energy (B, S * K): where a value stands for several steps, each
    of them has it; steps (B,) the true lengths; voices of the source and of the target speaker, (B, 2) indices or
    (B, 2, E) embeddings, None for a model of one source and one target.
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
    """What training and copy synthesis give of the target: pitch (B, V) and energy (B, V), normalised."""

    pitch: Tensor
    energy: Tensor

    def to(self, device: torch.device) -> "Prosody":
        return Prosody(self.pitch.to(device), self.energy.to(device))


@dataclass(frozen=True)
class Control:
    """What somebody wants other than as predicted, (B,) each: pitch and energy are added to the normalised ones that
    the decoder gets; speed divides predicted durations.
    """

    pitch: Tensor
    energy: Tensor
    speed: Tensor

    def to(self, device: torch.device) -> "Control":
        return Control(self.pitch.to(device), self.energy.to(device), self.speed.to(device))


@dataclass(frozen=True)
class Output:
    """What the model says.

    mel_before and mel (B, T * R, M), before and after the Postnet, one and the same without it; durations (B, S) as
    predicted, real-valued, and whole_durations (B, S) as used, both in target steps; pitch and energy (B, V) as
    predicted, without `Control`'s; steps (B,) target steps.
    """

    mel_before: Tensor
    mel: Tensor
    durations: Tensor
    whole_durations: Tensor
    pitch: Tensor
    energy: Tensor
    steps: Tensor


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
        hidden, width = params.encoder.hidden, frames_predicted(params.reduction) * n_mels
        self.reduction = params.reduction
        self.n_mels = n_mels
        self.logarithmic_durations = params.loss.duration == "log"
        self.reduce = nn.Linear(width, hidden)
        self.encoder = Conformer(params.encoder)
        self.duration_predictor = VariancePredictor(hidden, params.duration)
        self.source_prosody = nn.Linear(2, hidden)
        self.pitch_predictor = VariancePredictor(hidden, params.pitch)
        self.energy_predictor = VariancePredictor(hidden, params.energy)
        kernel, values = params.prosody_embedding.kernel, values_a_step(params.reduction)
        self.pitch_embedding = Convolution(values, hidden, kernel)
        self.energy_embedding = Convolution(values, hidden, kernel)
        self.embedding_dropout = Dropout(params.prosody_embedding.dropout)
        self.between = nn.Identity() if params.decoder.hidden == hidden else nn.Linear(hidden, params.decoder.hidden)
        self.decoder = Conformer(params.decoder)
        self.expand = nn.Linear(params.decoder.hidden, width)
        self.postnet = Postnet(n_mels, params.postnet) if params.postnet.layers else None
        self.voices = None if params.conditioning.by == "none" else VoiceInput(hidden, params.conditioning, speakers)

    def forward(
        self, source: Source, durations: Tensor | None = None, prosody: Prosody | None = None,
        forced: Tensor | None = None, control: Control | None = None,
    ) -> Output:
        """Converts a batch.

        Args:
            source: the source's features.
            durations: (B, S) whole target steps; predicted when not given (conversion).
            prosody: the target's pitch and energy for the decoder (teacher forcing); predicted when not given.
            forced: bool (B,), the utterances whose decoder gets `prosody`; all of them when not given.
            control: what is to be other than predicted.
        """
        source_mask = length_mask(source.steps, source.mel.shape[1])
        encoded, predicted = self.encode(source.mel, source.voices, source_mask)
        if durations is None:
            speed = 1 if control is None else control.speed[:, None]
            durations = round_durations(predicted.detach() / speed, source_mask)
        steps = durations.sum(dim=1)
        mask = length_mask(steps, batch_steps(int(steps.max())))
        hidden = regulate_length(encoded, durations, mask.shape[1])
        spoken = torch.stack([source.pitch, source.energy], dim=-1).reshape(*source_mask.shape, -1)
        spoken = regulate_length(spoken, durations, mask.shape[1])
        converted, mel_before, mel = self.decode(hidden, spoken, mask, prosody, forced, control)
        return Output(mel_before, mel, predicted, durations, converted.pitch, converted.energy, steps)

    def encode(self, mel: Tensor, voices: Tensor | None, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What comes before the length regulator: mel (B, S, W), voices as in `Source`, mask (B, S) → the source's
        hidden sequence (B, S, H), and target steps as predicted (B, S).
        """
        encoded = self._encode(mel, voices, mask)
        return encoded, self._predict_durations(encoded, mask)

    def decode(
        self, hidden: Tensor, spoken: Tensor, mask: Tensor, prosody: Prosody | None = None,
        forced: Tensor | None = None, control: Control | None = None,
    ) -> tuple[Prosody, Tensor, Tensor]:
        """What comes after the length regulator: hidden (B, T, H), the source's pitch and energy (B, T, 2 * K), mask
        (B, T), the rest as in `forward` → pitch and energy as predicted, mel_before and mel as in `Output`.
        """
        converted = self._convert_prosody(hidden, spoken, mask)
        used = _decoder_prosody(converted, prosody, forced, control)
        hidden = hidden + self._embed(self.pitch_embedding, used.pitch, mask)
        hidden = hidden + self._embed(self.energy_embedding, used.energy, mask)
        return converted, *self._mels(self.expand(self.decoder(self.between(hidden), mask)).float(), mask)

    def _encode(self, mel: Tensor, voices: Tensor | None, mask: Tensor) -> Tensor:
        """The source's hidden sequence (B, S, H), told who speaks on the way in and who is to speak on the way out."""
        reduced = self.reduce(mel)
        if self.voices is None:
            return self.encoder(reduced, mask)
        speaks, is_to_speak = self.voices(voices)
        return self.encoder(reduced + speaks, mask) + is_to_speak

    def _predict_durations(self, encoded: Tensor, mask: Tensor) -> Tensor:
        """(B, S, H) → real-valued target steps (B, S); for the `log` loss the network says their log(d + 1),
        never so low that its exponential is 0 in float32, whose logarithm has no gradient.
        """
        said = self.duration_predictor(encoded, mask)
        return (torch.expm1(said.clamp(min=-10.0)) if self.logarithmic_durations else F.softplus(said)) * mask

    def _convert_prosody(self, hidden: Tensor, spoken: Tensor, mask: Tensor) -> Prosody:
        """The target's pitch and energy from the hidden sequence (B, T, H) and the source's (B, T, 2 * K).

        Predictors work at the rate of the values: on each step repeated for its values, or on the mean of the steps
        that a value stands for.
        """
        finer, coarser = values_a_step(self.reduction), steps_a_value(self.reduction)
        if finer > 1:
            hidden, mask = (x.repeat_interleave(finer, dim=1) for x in (hidden, mask))
            spoken = spoken.reshape(*mask.shape, 2)
        if coarser > 1:
            hidden, spoken = (average_steps(x, mask, coarser) for x in (hidden, spoken))
            mask = mask[:, ::coarser]
        told = self.source_prosody(spoken)
        return Prosody(self.pitch_predictor(hidden, mask, told), self.energy_predictor(hidden, mask, told))

    def _embed(self, embedding: Convolution, values: Tensor, mask: Tensor) -> Tensor:
        """Values (B, V) as part of the hidden sequence (B, T, H): those of a step side by side; where a value stands
        for several steps, each of them has it.
        """
        repeated = values.repeat_interleave(steps_a_value(self.reduction), dim=1)
        by_step = repeated[:, : mask.shape[1] * embedding.in_channels].reshape(*mask.shape, embedding.in_channels)
        return self.embedding_dropout(embedding(by_step * mask[..., None]))

    def _mels(self, said: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What the decoder says of steps (B, T, W) → mels before and after the Postnet, (B, T * R, M) each.

        Where steps are compared (`reduction.loss`), the Postnet sees steps too.
        """
        factor = self.reduction.factor
        if self.reduction.by == "reshape":
            frames = said.reshape(said.shape[0], -1, self.n_mels)
        else:
            frames = said.repeat_interleave(factor, dim=1)
        if self.postnet is None:
            return frames, frames
        if self.reduction.loss == "steps":
            return frames, self.postnet(said, mask).repeat_interleave(factor, dim=1)
        return frames, self.postnet(frames, mask.repeat_interleave(factor, dim=1))


def _decoder_prosody(
    predicted: Prosody, given: Prosody | None, forced: Tensor | None, control: Control | None
) -> Prosody:
    """What the decoder gets. Predictions are not detached: the mel's loss reaches the predictors."""
    if given is None:
        used = predicted
    elif forced is None:
        used = given
    else:
        pairs = (given.pitch, predicted.pitch), (given.energy, predicted.energy)
        used = Prosody(*(torch.where(forced[:, None], *pair) for pair in pairs))
    if control is None:
        return used
    return Prosody(used.pitch + control.pitch[:, None], used.energy + control.energy[:, None])
