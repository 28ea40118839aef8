"""What the networks of trained vocoders have in common, and how they are made by name."""

from typing import ClassVar, Self

from torch import Tensor, nn


class VocoderNetwork(nn.Module):
    """Log-mels to waveforms: mel (batch, frames, n_mels) → (batch, frames * hop_length).

    `takes_f0`: whether `forward` needs the source (batch, frames * hop_length, 2), which
    `koe.vocoder.excitation.source_of` makes of F0.
    """

    takes_f0: ClassVar[bool] = False

    def forward(self, mel: Tensor, source: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def context_frames(self) -> int:
        """Frames before and after a frame on which its samples depend."""
        raise NotImplementedError

    def fold_weight_norm(self) -> Self:
        """Replaces normalised weights by what they stand for, for synthesis; returns self."""
        return self
