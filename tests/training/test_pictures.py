"""Pictures show the converted mel above the target's, each as long as it is."""

import numpy as np

from koe.training.pictures import mel_picture


def test_a_picture_holds_both_mels() -> None:
    target = np.full((30, 8), -9.0, dtype=np.float32)
    target[:, 0] = 0.0  # the lowest band
    picture = mel_picture(target[:20] - 3, target)
    shades = np.asarray(picture)
    assert shades.shape == (8 + 4 + 8, 30)
    assert (shades[12:19] == 0).all() and (shades[19] == 254).all()  # low bands at the bottom
    assert (shades[7, :20] == 254 * 6 // 9).all()  # in the target's scale
    assert (shades[:8, 20:] == 255).all() and (shades[8:12] == 255).all()
    assert picture.convert("RGB").getpixel((29, 0)) == (255, 255, 255)
    assert sum(picture.convert("RGB").getpixel((0, 19))) > sum(picture.convert("RGB").getpixel((0, 12)))
