"""The networks of trained vocoders, by name: the value of `vocoder.model` and the name of their section."""

from koe.audio.params import MelParams
from koe.vocoder.harmonic_noise import HarmonicNoise
from koe.vocoder.hifigan import Generator
from koe.vocoder.network import VocoderNetwork
from koe.vocoder.params import VocoderParams

NETWORKS: dict[str, type[VocoderNetwork]] = {
    "harmonic_noise": HarmonicNoise,
    "hifigan": Generator,
}


def network_class(params: VocoderParams) -> type[VocoderNetwork]:
    """The class of the network that `params.model` names."""
    return NETWORKS[params.model]


def make_network(params: VocoderParams, mel_params: MelParams) -> VocoderNetwork:
    """A network of random weights, the one that `params.model` names."""
    return network_class(params).build(params.network, mel_params)
