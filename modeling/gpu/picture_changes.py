"""Light augmentation: what happens to a meme on its way round the net, never so much that it says something else."""

import io
from random import Random

from PIL import Image

CROPPED = 0.06  # of each side at most
TURNED = 3.0  # degrees at most
QUALITY = (40, 90)


def changed(picture: Image.Image, dice: Random) -> Image.Image:
    width, height = picture.size
    left, top, right, bottom = (dice.uniform(0, CROPPED) for _ in range(4))
    picture = picture.crop((
        round(left * width), round(top * height), max(round((1 - right) * width), 1),
        max(round((1 - bottom) * height), 1),
    ))  # fmt: skip
    if dice.random() < 0.5:
        picture = picture.rotate(dice.uniform(-TURNED, TURNED), Image.Resampling.BICUBIC, fillcolor="white")
    if dice.random() < 0.5:
        saved = io.BytesIO()
        picture.save(saved, "JPEG", quality=dice.randint(*QUALITY))
        picture = Image.open(saved).convert("RGB")
    return picture
