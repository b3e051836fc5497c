"""Label colours that stand out from the page: a project picks one, light and dark pages each get theirs."""

from colorsys import hls_to_rgb, rgb_to_hls

WHITE, DARK = "#ffffff", "#1a1a1e"
LEAST_CONTRAST = 4.5
# Offered in turn to new labels; all can be told apart, also by most who see fewer colours.
PALETTE = ["#0b7a5c", "#b4233a", "#4338ca", "#8f5400", "#0e7490", "#a21caf", "#4d7c0f", "#6b6457"]


def channels(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def luminance(colour: str) -> float:
    """As WCAG 2 defines it."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dim, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dim + 0.05)


def with_lightness(colour: str, lightness: float) -> str:
    hue, _, saturation = rgb_to_hls(*channels(colour))
    return "#" + "".join(f"{round(channel * 255):02x}" for channel in hls_to_rgb(hue, lightness, saturation))


def apart(colour: str, background: str, end: float) -> str:
    """The nearest colour of the same hue, on the way to black (0) or white (1), that stands out from the background."""
    start = rgb_to_hls(*channels(colour))[1]
    steps = (with_lightness(colour, start + (end - start) * step / 100) for step in range(1, 101))
    return next(c for c in (colour.lower(), *steps) if contrast(c, background) >= LEAST_CONTRAST)


def on_white(colour: str) -> str:
    return apart(colour, WHITE, 0)


def on_dark(colour: str) -> str:
    return apart(colour, DARK, 1)


def shades(colour: str) -> str:
    """As CSS: one colour for a light page, one for a dark."""
    return f"light-dark({on_white(colour)},{on_dark(colour)})"
