"""Pictures show the converted mel above the target's, each as long as it is."""

import numpy as np

from koe.training.pictures import LABEL_ROWS, mel_picture


def test_a_picture_holds_both_mels() -> None:
    target = np.full((60, 8), -9.0, dtype=np.float32)
    target[:, 0] = 0.0  # the lowest band
    picture = mel_picture(target[:20] - 3, target)
    shades = np.asarray(picture)
    first, second = LABEL_ROWS, LABEL_ROWS + 8 + LABEL_ROWS
    assert shades.shape == (second + 8, 60)
    assert (shades[second : second + 7] == 0).all() and (shades[second + 7] == 254).all()  # low bands at the bottom
    assert (shades[first + 7, :20] == 254 * 6 // 9).all()  # in the target's scale
    assert (shades[first : first + 8, 20:] == 255).all()
    colours = picture.convert("RGB")
    assert colours.getpixel((59, 0)) == (255, 255, 255)
    assert sum(colours.getpixel((0, second + 7))) > sum(colours.getpixel((0, second)))
    labels = [shades[row - LABEL_ROWS : row] == 0 for row in (first, second)]
    assert [int(np.flatnonzero(label.any(axis=0)).max()) // 6 for label in labels] == [8, 5]  # of nine and six letters
