"""The networks of trained vocoders, by name."""

from koe.audio.params import MelParams
from koe.vocoder.harmonic_noise import HarmonicNoise
from koe.vocoder.hifigan import Generator
from koe.vocoder.network import VocoderNetwork
from koe.vocoder.params import HarmonicNoiseParams, HiFiGANParams, VocoderParams


def make_network(params: VocoderParams, mel_params: MelParams) -> VocoderNetwork:
    """A network of random weights, the one that `params.model` names."""
    match params.network:
        case HarmonicNoiseParams() as sizes:
            return HarmonicNoise(sizes, mel_params)
        case HiFiGANParams() as sizes:
            return Generator(sizes, mel_params.n_mels)
