import warnings

import numpy as np
import pytest

from koe.listeners.ge2e import SpeakerEncoder


@pytest.mark.slow  # importing librosa
def test_embeddings_are_resemblyzers() -> None:
    """At lengths on both sides of one part, of a second one, and of the coverage that a last part needs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from resemblyzer import VoiceEncoder

        theirs = VoiceEncoder("cpu", verbose=False)
    ours, draw = SpeakerEncoder.pretrained(), np.random.default_rng(0)
    for samples in (3000, 25599, 25600, 25601, 37759, 37760, 41000, 50061, 100001):
        wave = (draw.normal(scale=0.03, size=samples) * np.sin(np.arange(samples) / 3000)).astype(np.float32)
        np.testing.assert_allclose(ours.embed_utterance(wave), theirs.embed_utterance(wave), atol=1e-6)
