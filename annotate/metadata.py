"""Cut metadata out of a JPEG, PNG or WebP file without touching a pixel: quicker than saving anew, and nothing is lost.

Each function copies the parts that draw the picture and leaves out the rest: where it was taken, by whom, with what,
notes, an embedded preview, and whatever stands after its end. None means "not laid out as expected, draw it anew".
"""

import re

JPEG_DRAWS = frozenset({*range(0xC0, 0xD0), 0xDA, 0xDB, 0xDC, 0xDD})  # frames, tables, scans, restarts
JPEG_SCAN, JPEG_END, JPEG_JFIF, JPEG_ADOBE = 0xDA, 0xD9, 0xE0, 0xEE
# Inside a scan 0xFF is followed by 0 or by a restart marker; anything else ends the scan.
AFTER_SCAN = re.compile(rb"\xff(?=[^\x00\xd0-\xd7\xff])")

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_DRAWS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})

WEBP_DRAWS = frozenset({b"ALPH", b"VP8 ", b"VP8L"})
WEBP_MOVES = frozenset({b"ANIM", b"ANMF"})
WEBP_HAS_ALPHA = 0x10


def without_metadata(data: bytes, format: str) -> bytes | None:
    return {"jpeg": jpeg, "png": png, "webp": webp}[format](data)


def jpeg(data: bytes) -> bytes | None:
    kept, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding before a marker
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == JPEG_SCAN:
            following = AFTER_SCAN.search(data, end)
            if following is None:
                return None
            end = following.start()
        kept.append(drawing_part(marker, data[at:end]))
        if data[end : end + 2] == bytes((0xFF, JPEG_END)):
            return b"".join([*kept, data[end : end + 2]])
        at = end
    return None


def drawing_part(marker: int, segment: bytes) -> bytes:
    if marker in JPEG_DRAWS:
        return segment
    if marker == JPEG_JFIF and segment[4:9] == b"JFIF\0" and len(segment) >= 18:
        return b"\xff\xe0\x00\x10" + segment[4:16] + b"\0\0"  # its preview is left behind
    if marker == JPEG_ADOBE and segment[4:9] == b"Adobe" and len(segment) == 16:
        return segment  # says how the colours are coded
    return b""


def png(data: bytes) -> bytes | None:
    kept, at = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        kind = data[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            return None
        if kind in PNG_DRAWS:
            kept.append(data[at:end])
        if kind == b"IEND":
            return b"".join(kept)
        at = end
    return None


def webp(data: bytes) -> bytes | None:
    kept, at = [], 12
    stop = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while at + 8 <= stop:
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        if kind in WEBP_MOVES or at + 8 + size > len(data):
            return None
        if kind == b"VP8X" and size >= 10:
            kept.append(data[at : at + 8] + bytes([data[at + 8] & WEBP_HAS_ALPHA]) + data[at + 9 : end])
        elif kind in WEBP_DRAWS:
            kept.append(data[at:end])
        at = end
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + len(body).to_bytes(4, "little") + body
