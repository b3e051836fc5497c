"""Pure: a post's own words in a place where `<image>` or `<|im_end|>` would mean something.

Whoever writes a post must not be able to place a picture, end a turn or speak as the machine. Such a mark is broken by
a character without width, which a reader does not see and no tokeniser takes for the mark; taking it out again gives
the post's words back exactly.
"""

import re

BREAK = "\u2060"  # word joiner
# What some model or trainer takes for a sign: <image>, <|im_start|>, </s>, [INST], {{image}}.
SIGN = r"(?:<{0}(?=[|/]?[\w|:.-]{{1,60}}>)|\[{0}(?=/?[A-Z_]{{2,40}}\])|\{{{0}(?=\{{\w{{1,40}}\}}\}}))"
FOUND = re.compile(SIGN.format(f"{BREAK}*"))
BROKEN = re.compile(SIGN.format(f"{BREAK}+"))


def harmless(text: str) -> str:
    return FOUND.sub(lambda sign: sign[0] + BREAK, text)


def restored(text: str) -> str:
    """The inverse: of what was broken before it came to us, exactly one break stays less."""
    return BROKEN.sub(lambda sign: sign[0][:-1], text)
