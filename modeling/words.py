"""Pure: when two texts count as the same words, and a lot that a post draws once and for all."""

import re
import unicodedata
from hashlib import blake2b

ADDRESS = re.compile(r"https?://\S+")
WORD = re.compile(r"\w+")


def plain(text: str) -> str:
    """Without case, accents of typography, punctuation, emoji and addresses: a repost is told from none of these."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(WORD.findall(ADDRESS.sub(" ", folded)) or folded.split())


def mark(text: str) -> int:
    """A number for the words, 0 for none."""
    words = plain(text)
    return digest(words) or 1 if words else 0


def lot(external_id: str) -> int:
    """Drawn by the id that a post has everywhere, so that the same posts fall alike on every machine."""
    return digest(f"lot {external_id}")


def digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), signed=True)
