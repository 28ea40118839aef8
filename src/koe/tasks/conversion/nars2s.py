"""NARS2S: non-autoregressive sequence-to-sequence voice conversion (Hayashi et al., ICASSP 2021).

    source mel, R frames per step → linear (+ source speaker) → Conformer encoder (+ target speaker)
      → duration predictor → length regulator, applied to the hidden sequence and to the source's pitch and energy
      → pitch and energy predictors (source prosody in, target prosody out), added to the hidden sequence
      → Conformer decoder → linear → R frames per step → Postnet

Letters in shapes: B batch, S source steps, T target steps, R reduction factor, M mel bands, H the encoder's hidden
size, W = M times the frames of mel per step, K values of pitch and of energy per step, V values of pitch and of energy
in T steps, E size of a speaker embedding; S and T are lengths of padded batches.
Departures from the paper, each because it trains better here at small sizes: rotary instead of relative-table
positions, layer norm in the convolution module, durations predicted in the linear domain. All are parameters.
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
from koe.tasks.conversion.reduction import frames_predicted, steps_per_value, values_per_step
from koe.tasks.conversion.speakers import EMBEDDING_SIZE


@dataclass(frozen=True)
class Source:
    """Model input: a batch of source utterances, normalised and padded."""

    mel: Tensor  # (B, S, W)
    pitch: Tensor  # (B, S * K) continuous log-F0; a value that stands for several steps is repeated for each
    energy: Tensor  # (B, S * K), likewise
    steps: Tensor  # (B,) true lengths
    voices: Tensor | None = None  # of source and target, (B, 2) indices or (B, 2, E); None: one source and one target

    def to(self, device: torch.device) -> "Source":
        voices = None if self.voices is None else self.voices.to(device)
        return Source(
            self.mel.to(device), self.pitch.to(device), self.energy.to(device), self.steps.to(device), voices)


@dataclass(frozen=True)
class Prosody:
    """Pitch and energy of the target, normalised."""

    pitch: Tensor  # (B, V)
    energy: Tensor  # (B, V)

    def to(self, device: torch.device) -> "Prosody":
        return Prosody(self.pitch.to(device), self.energy.to(device))


@dataclass(frozen=True)
class Control:
    """A user's changes to what the model predicts."""

    pitch: Tensor  # (B,) added to the decoder's input, normalised
    energy: Tensor  # (B,), likewise
    speed: Tensor  # (B,) predicted durations are divided by it

    def to(self, device: torch.device) -> "Control":
        return Control(self.pitch.to(device), self.energy.to(device), self.speed.to(device))


@dataclass(frozen=True)
class Output:
    """Model output."""

    mel_before: Tensor  # (B, T * R, M) before the Postnet
    mel: Tensor  # (B, T * R, M) after the Postnet; without one, the same tensor
    durations: Tensor  # (B, S) target steps as predicted, real-valued
    whole_durations: Tensor  # (B, S) target steps as used
    pitch: Tensor  # (B, V) as predicted, without `Control`'s change
    energy: Tensor  # (B, V), likewise
    steps: Tensor  # (B,) target steps


class VoiceInput(nn.Module):
    """Source and target speaker for the hidden sequences: a learned vector each, or a projected embedding."""

    def __init__(self, hidden: int, params: ConditioningParams, speakers: int) -> None:
        super().__init__()
        if params.by == "learned":
            self.voice: nn.Module = nn.Embedding(speakers, params.size)
        else:
            self.voice = nn.Linear(EMBEDDING_SIZE, params.size)
        self.source = nn.Linear(params.size, hidden)
        self.target = nn.Linear(params.size, hidden)

    def forward(self, voices: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 2) indices or (B, 2, E) embeddings → vectors of the source and of the target, (B, 1, H) each."""
        vectors = self.projected(voices) if voices.dim() == 3 else self.voice(voices)
        source, target = F.softsign(vectors).split(1, dim=1)
        return self.source(source), self.target(target)

    def projected(self, embeddings: Tensor) -> Tensor:
        """Embeddings (…, E) of length 1 → vectors (…, `conditioning.size`) such as those that are learned."""
        return self.voice(embeddings * EMBEDDING_SIZE**0.5)  # values of about 1, as initial weights expect


class NARS2S(nn.Module):
    """The acoustic model. `n_mels` is the number of mel bands, `speakers` the number of speakers with a learned vector
    (`conditioning.by: learned`); everything else comes from the parameters.
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
        kernel, values = params.prosody_embedding.kernel, values_per_step(params.reduction)
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
            durations: (B, S) whole target steps; None (conversion): as predicted.
            prosody: the target's pitch and energy for the decoder (teacher forcing); None: as predicted.
            forced: bool (B,), the utterances that are decoded with `prosody`; None: all.
            control: changes to the predictions.
        """
        source_mask = length_mask(source.steps, source.mel.shape[1])
        encoded, predicted = self.encode(source.mel, source.voices, source_mask)
        if durations is None:
            speed = 1 if control is None else control.speed[:, None]
            durations = round_durations(predicted.detach() / speed, source_mask)
        steps = durations.sum(dim=1)
        mask = length_mask(steps, batch_steps(int(steps.max())))
        hidden = regulate_length(encoded, durations, mask.shape[1])
        source_prosody = torch.stack([source.pitch, source.energy], dim=-1).reshape(*source_mask.shape, -1)
        source_prosody = regulate_length(source_prosody, durations, mask.shape[1])
        converted, mel_before, mel = self.decode(hidden, source_prosody, mask, prosody, forced, control)
        return Output(mel_before, mel, predicted, durations, converted.pitch, converted.energy, steps)

    def encode(self, mel: Tensor, voices: Tensor | None, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The part before the length regulator: mel (B, S, W), voices as in `Source`, mask (B, S) → the source's
        hidden sequence (B, S, H), and target steps as predicted (B, S).
        """
        encoded = self._encode(mel, voices, mask)
        return encoded, self._predict_durations(encoded, mask)

    def decode(
        self, hidden: Tensor, source_prosody: Tensor, mask: Tensor, prosody: Prosody | None = None,
        forced: Tensor | None = None, control: Control | None = None,
    ) -> tuple[Prosody, Tensor, Tensor]:
        """The part after the length regulator: hidden (B, T, H), the source's pitch and energy (B, T, 2 * K), mask
        (B, T), the rest as in `forward` → pitch and energy as predicted, mel_before and mel as in `Output`.
        """
        converted = self._convert_prosody(hidden, source_prosody, mask)
        used = _decoder_prosody(converted, prosody, forced, control)
        hidden = hidden + self._embed(self.pitch_embedding, used.pitch, mask)
        hidden = hidden + self._embed(self.energy_embedding, used.energy, mask)
        return converted, *self._mels(self.expand(self.decoder(self.between(hidden), mask)).float(), mask)

    def _encode(self, mel: Tensor, voices: Tensor | None, mask: Tensor) -> Tensor:
        """The source's hidden sequence (B, S, H): the source speaker is added before the encoder, the target after."""
        reduced = self.reduce(mel)
        if self.voices is None:
            return self.encoder(reduced, mask)
        source, target = self.voices(voices)
        return self.encoder(reduced + source, mask) + target

    def _predict_durations(self, encoded: Tensor, mask: Tensor) -> Tensor:
        """(B, S, H) → real-valued target steps (B, S).

        For the `log` loss the predictor's output is log(d + 1), clamped where its exponential would be 0 in float32,
        whose logarithm has no gradient.
        """
        output = self.duration_predictor(encoded, mask)
        return (torch.expm1(output.clamp(min=-10.0)) if self.logarithmic_durations else F.softplus(output)) * mask

    def _convert_prosody(self, hidden: Tensor, source_prosody: Tensor, mask: Tensor) -> Prosody:
        """The target's pitch and energy from the hidden sequence (B, T, H) and the source's (B, T, 2 * K).

        The predictors' rate is that of the values: a step is repeated for each of its values, or averaged with the
        other steps that its value stands for.
        """
        finer, coarser = values_per_step(self.reduction), steps_per_value(self.reduction)
        if finer > 1:
            hidden, mask = (x.repeat_interleave(finer, dim=1) for x in (hidden, mask))
            source_prosody = source_prosody.reshape(*mask.shape, 2)
        if coarser > 1:
            hidden, source_prosody = (average_steps(x, mask, coarser) for x in (hidden, source_prosody))
            mask = mask[:, ::coarser]
        condition = self.source_prosody(source_prosody)
        return Prosody(self.pitch_predictor(hidden, mask, condition), self.energy_predictor(hidden, mask, condition))

    def _embed(self, embedding: Convolution, values: Tensor, mask: Tensor) -> Tensor:
        """Values (B, V) embedded for the hidden sequence (B, T, H): those of a step side by side; a value that stands
        for several steps is repeated for each.
        """
        repeated = values.repeat_interleave(steps_per_value(self.reduction), dim=1)
        by_step = repeated[:, : mask.shape[1] * embedding.in_channels].reshape(*mask.shape, embedding.in_channels)
        return self.embedding_dropout(embedding(by_step * mask[..., None]))

    def _mels(self, decoded: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The decoder's output for steps (B, T, W) → mels before and after the Postnet, (B, T * R, M) each.

        Where the loss compares steps (`reduction.loss`), the Postnet's input is steps too.
        """
        factor = self.reduction.factor
        if self.reduction.by == "reshape":
            frames = decoded.reshape(decoded.shape[0], -1, self.n_mels)
        else:
            frames = decoded.repeat_interleave(factor, dim=1)
        if self.postnet is None:
            return frames, frames
        if self.reduction.loss == "steps":
            return frames, self.postnet(decoded, mask).repeat_interleave(factor, dim=1)
        return frames, self.postnet(frames, mask.repeat_interleave(factor, dim=1))


def _decoder_prosody(
    predicted: Prosody, true: Prosody | None, forced: Tensor | None, control: Control | None
) -> Prosody:
    """The decoder's input. Predictions are not detached, so that the mel's loss reaches the predictors."""
    if true is None:
        used = predicted
    elif forced is None:
        used = true
    else:
        used = Prosody(pitch=torch.where(forced[:, None], true.pitch, predicted.pitch),
                       energy=torch.where(forced[:, None], true.energy, predicted.energy))
    if control is None:
        return used
    return Prosody(used.pitch + control.pitch[:, None], used.energy + control.energy[:, None])
