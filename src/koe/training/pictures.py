"""Pictures of mels to follow a training run by: small PNGs, one pixel per frame and band, with a line above each mel
that says what it is.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_RANGE = 9.0  # natural-log units below the target's loudest point: 78 dB
_COLOURS = np.array([[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]])  # dark to bright
LABEL_ROWS = 11  # above each mel


def mel_picture(converted: np.ndarray, target: np.ndarray) -> Image.Image:
    """Log-mels (frames, n_mels), the converted one above the target's, low bands at the bottom, on one scale."""
    top = float(target.max())
    bands, width = target.shape[1], max(len(converted), len(target))
    shades = np.full((2 * (LABEL_ROWS + bands), width), 255, dtype=np.uint8)
    rows = {"converted": LABEL_ROWS, "target": LABEL_ROWS + bands + LABEL_ROWS}
    for row, mel in zip(rows.values(), (converted, target), strict=True):
        level = np.clip((mel.T[::-1] - (top - _RANGE)) / _RANGE, 0, 1)
        shades[row : row + bands, : len(mel)] = (level * 254).astype(np.uint8)
    picture = Image.fromarray(shades, "L")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default_imagefont()
    for label, row in rows.items():
        draw.text((0, row - LABEL_ROWS), label, fill=0, font=font)
    picture.putpalette(_palette().tobytes())
    return picture


def _palette() -> np.ndarray:
    """255 colours (256, 3) between `_COLOURS`, and white for the background."""
    positions = np.linspace(0, len(_COLOURS) - 1, 255)
    shades = [np.interp(positions, np.arange(len(_COLOURS)), channel) for channel in _COLOURS.T]
    return np.concatenate([np.stack(shades, axis=1), [[255, 255, 255]]]).astype(np.uint8)
