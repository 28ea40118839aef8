"""What an alignment compares."""

import numpy as np
import pytest

from koe.align.features import comparison_features, mel_bands, mel_cepstra, silent_frames
from koe.tasks.conversion.schema import Params


@pytest.fixture()
def mel() -> np.ndarray:
    return np.random.default_rng(0).normal(-4, 1, (50, 80)).astype(np.float32)


def test_cepstra_do_not_hear_loudness(mel: np.ndarray) -> None:
    assert mel_cepstra(mel, 24).shape == (50, 24)
    np.testing.assert_allclose(mel_cepstra(mel + 2.0, 24), mel_cepstra(mel, 24), atol=1e-4)


@pytest.mark.parametrize("bands", [1, 7, 20, 80])
def test_bands_share_out_every_amplitude_once(mel: np.ndarray, bands: int) -> None:
    pooled = mel_bands(mel, bands)
    assert pooled.shape == (50, bands)
    np.testing.assert_allclose(np.exp(pooled).sum(axis=1), np.exp(mel).sum(axis=1), rtol=1e-4)


def test_silence_is_counted_from_the_loudest_frame(mel: np.ndarray) -> None:
    mel[10:20] -= np.log(10) * 50 / 20  # 50 dB down
    expected = np.zeros(50, bool)
    expected[10:20] = True
    np.testing.assert_array_equal(silent_frames(mel, -40.0), expected)
    np.testing.assert_array_equal(silent_frames(mel - 5, -40.0), expected)


@pytest.mark.parametrize("features", ["mel", "mcep"])
def test_normalised_features_do_not_hear_the_microphone(params: Params, mel: np.ndarray, features: str) -> None:
    align = params.align.model_copy(update={"features": features, "bands": 80})
    channel = np.linspace(-1, 1, 80, dtype=np.float32)
    plain, filtered = (comparison_features(side, align) for side in (mel, mel + channel))
    np.testing.assert_allclose(filtered, plain, atol=1e-4)
    raw = align.model_copy(update={"normalize": False})
    assert np.abs(comparison_features(mel, raw) - comparison_features(mel + channel, raw)).max() > 0.5


def test_delta_weighs_the_slopes(params: Params, mel: np.ndarray) -> None:
    columns = params.align.bands
    without = comparison_features(mel, params.align.model_copy(update={"delta": 0.0}))
    doubled = comparison_features(mel, params.align.model_copy(update={"delta": 2.0}))
    assert without.shape == (50, columns) and doubled.shape == (50, 2 * columns)
    np.testing.assert_array_equal(doubled[:, :columns], without)
    assert doubled[:, columns:].var(axis=0).mean() == pytest.approx(4.0, rel=1e-3)


@pytest.mark.parametrize("features", ["mel", "mcep"])
def test_one_frame_and_constant_mels_give_finite_features(params: Params, features: str) -> None:
    align = params.align.model_copy(update={"features": features})
    for frames in (1, 2, 9):
        assert np.isfinite(comparison_features(np.full((frames, 80), -11.5, np.float32), align)).all()
