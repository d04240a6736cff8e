"""Counts what a JSON file holds before it is parsed, because each empty object takes 64 bytes.

The file is read piece by piece, so that counting takes hardly any memory and other threads go on.
"""

from chat.errors import ImportRefused

PIECE = 256_000  # bytes
MOST_BOXES = 100_000  # objects and lists: 20,000 messages have some each
MOST_VALUES = 400_000  # all values: an exported reply has fifteen


def check(content: bytes) -> None:
    """Raise ImportRefused if parsing `content` would take too much memory."""
    boxes = commas = 0
    is_in_text, kept = False, b""
    for start in range(0, len(content), PIECE):
        piece = kept + content[start : start + PIECE]
        # An odd backslash at the end belongs to the first character of the next piece.
        kept = b"\\" if (len(piece) - len(piece.rstrip(b"\\"))) % 2 else b""
        plain = piece.removesuffix(kept).replace(rb"\\", b"").replace(rb"\"", b"")
        parts = plain.split(b'"')
        outside = b"".join(parts[1 if is_in_text else 0 :: 2])
        is_in_text ^= len(parts) % 2 == 0
        boxes += outside.count(b"{") + outside.count(b"[")
        commas += outside.count(b",")
        if boxes > MOST_BOXES or boxes + commas > MOST_VALUES:  # Each value follows one of these.
            raise ImportRefused("This file has too many parts for one import. Split it.")
