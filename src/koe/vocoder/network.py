"""The base class of the networks of trained vocoders, which `koe.vocoder.networks` lists."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

from torch import Tensor, nn

from koe.audio.params import MelParams

Graph = Callable[..., Sequence[Tensor]]  # tensors by the names of a graph's inputs → its outputs, in their order


class Exported(NamedTuple):
    """The part of a network that becomes an ONNX graph. The first axes of every tensor are batch, and frames or
    samples."""

    module: nn.Module  # real numbers in and out
    inputs: Mapping[str, Tensor]  # to trace with, by name, in the order of the module's arguments
    outputs: Sequence[str]


class VocoderNetwork(nn.Module):
    """Log-mels to waveforms: mel (batch, frames, n_mels) → (batch, frames * hop_length).

    `build` makes one from its section of the parameters and those of the mel. A new network needs `forward`,
    `context_frames`, its section and a line in `koe.vocoder.params`, and a line in `koe.vocoder.networks`; the rest has
    defaults.
    """

    # Whether `forward` needs the source (batch, frames * hop_length, 2), which `koe.vocoder.excitation.source_of` makes
    # of F0.
    takes_f0: bool = False
    # Whether `koe.vocoder.synthesis` may compute it in bfloat16: for layers at the sample rate, which take long. Layers
    # at the frame rate take little time, and spectra would lose digits.
    mixed_precision: ClassVar[bool] = False
    # A warning of what to expect of training from random weights, in a few sentences; None if there is nothing to say.
    from_scratch: ClassVar[str | None] = None

    @classmethod
    def build(cls, sizes: Any, mel_params: MelParams) -> Self:
        """A network of random weights; `sizes`: its section of the parameters."""
        return cls(sizes, mel_params)

    def forward(self, mel: Tensor, source: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def context_frames(self) -> int:
        """Frames before and after a frame on which its samples depend."""
        raise NotImplementedError

    def fold_weight_norm(self) -> Self:
        """Replaces normalised weights by what they stand for, for synthesis; returns self."""
        return self

    def numbered_layers(self) -> dict[str, list[str]]:
        """The purpose of each layer that only a number tells apart, by the name of their list; shapes do not show it.

        A run that starts from a network of other sizes puts layers where those of the same purpose are.
        """
        return {}

    def exported(self, mel: Tensor, source: Tensor) -> Exported:
        """The part that becomes a graph, with inputs made of a mel and a source; by default the whole network."""
        return Exported(self, {"mel": mel, "source": source} if self.takes_f0 else {"mel": mel}, ["wave"])

    @classmethod
    def computed_by(cls, graph: Graph, sizes: Any, mel_params: MelParams, context_frames: int) -> "VocoderNetwork":
        """The network whose `exported` part is computed by `graph`; the other arguments are what was exported."""
        return _GraphNetwork(graph, context_frames, cls.takes_f0)


class _GraphNetwork(VocoderNetwork):
    """A network that is a graph as a whole."""

    def __init__(self, graph: Graph, context_frames: int, takes_f0: bool) -> None:
        super().__init__()
        self._graph = graph
        self._context_frames = context_frames
        self.takes_f0 = takes_f0

    def forward(self, mel: Tensor, source: Tensor | None = None) -> Tensor:
        return self._graph(mel=mel)[0] if source is None else self._graph(mel=mel, source=source)[0]

    def context_frames(self) -> int:
        return self._context_frames
