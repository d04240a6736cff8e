"""Strips pictures of their metadata: place, time, camera, names, thumbnails.

No picture is decoded. The parts needed to show it are copied byte for byte; all other parts, known
or not, are left out, and so is everything after its end (phones put films there). Of EXIF only the
orientation stays, because photographs would otherwise lie on their side. A damaged picture loses
the part that can't be read.
"""

import base64
import re
import struct
import zlib
from collections.abc import Iterator

_DATA_URL = re.compile(r"data:image/(?P<kind>png|jpeg|gif|webp);base64,(?P<content>.*)", re.DOTALL)
_EXIF_MARK = b"Exif\0\0"
_ORIENTATION = 0x0112
_SHORT = 3  # EXIF's code for a number of two bytes
_TURNED = range(2, 9)  # 1 is upright

# --- JPEG ----------------------------------------------------------------------------------------

_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])")
_END, _SCAN, _COMMENT = 0xD9, 0xDA, 0xFE
_JFIF, _EXIF, _COLOURS, _ADOBE = 0xE0, 0xE1, 0xE2, 0xEE
_APPLICATIONS = range(0xE0, 0xF0)
_BARE = {0x01, *range(0xD0, 0xD9)}  # markers without a length; 0xD0 to 0xD7 occur inside scans
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")

# --- PNG -----------------------------------------------------------------------------------------

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_PARTS = {
    *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB"),
    *(b"cICP", b"mDCV", b"cLLI", b"bKGD", b"hIST", b"pHYs", b"sPLT", b"acTL", b"fcTL", b"fdAT"),
}

# --- WebP ----------------------------------------------------------------------------------------

_WEBP_PARTS = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"}
_HAS_EXIF, _HAS_XMP = 0x08, 0x04  # flags of VP8X
_FRAME_HEADER = 16
_FRAME_PARTS = {b"VP8 ", b"VP8L", b"ALPH"}

# --- GIF -----------------------------------------------------------------------------------------

_GIF_HEADER = 13
_GIF_EXTENSION, _GIF_IMAGE = b"!", b","
# The extensions that say how an image is shown and how often an animation repeats.
_GIF_NEEDED = (b"\xf9", b"\xff\x0bNETSCAPE2.0", b"\xff\x0bANIMEXTS1.0")


def without_metadata(data_url: str) -> str:
    """Return a checked data URL with the same picture without metadata."""
    found = _DATA_URL.fullmatch(data_url)
    if found is None:
        return data_url
    plain = _READERS[found["kind"]](base64.b64decode(found["content"]))
    return f"data:image/{found['kind']};base64,{base64.b64encode(plain).decode()}"


def of_jpeg(picture: bytes) -> bytes:
    kept = [b"\xff\xd8"]
    for marker, content, scan in _jpeg_segments(picture):
        if marker in _APPLICATIONS:
            content = _jpeg_application(marker, content)
        if content and marker != _COMMENT:
            kept += [struct.pack(">BBH", 0xFF, marker, len(content) + 2), content, scan]
    return b"".join([*kept, b"\xff\xd9"])


def _jpeg_segments(picture: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield the marker and the parts of each segment; the last is the data of a scan."""
    position = 2
    while found := _JPEG_MARKER.search(picture, position):
        marker, position = found[1][0], found.end()
        if marker == _END:
            return
        if marker in _BARE:
            continue
        end = position + int.from_bytes(picture[position : position + 2])
        content, scan = picture[position + 2 : end], b""
        if marker == _SCAN:
            after = _AFTER_SCAN.search(picture, end)
            position, end = end, after.start() if after else len(picture)
            scan = picture[position:end]
        yield marker, content, scan
        position = max(position, end)


def _jpeg_application(marker: int, content: bytes) -> bytes:
    """Return the part of an application segment that is kept: nothing for most of them."""
    if marker == _JFIF and content.startswith(b"JFIF\0"):
        return content[:12] + b"\0\0"  # no thumbnail
    if marker == _EXIF and content.startswith(_EXIF_MARK):
        turned = _only_orientation(content)
        return _EXIF_MARK + turned if turned else b""
    is_needed = (marker == _COLOURS and content.startswith(b"ICC_PROFILE\0")) or (
        marker == _ADOBE and content.startswith(b"Adobe")
    )
    return content if is_needed else b""


def of_png(picture: bytes) -> bytes:
    kept, position = [_PNG_SIGNATURE], len(_PNG_SIGNATURE)
    while position + 8 <= len(picture):
        length, kind = struct.unpack_from(">I4s", picture, position)
        end = position + 12 + length
        if kind == b"eXIf":
            kept.append(_png_exif(_only_orientation(picture[position + 8 : end - 4])))
        elif kind in _PNG_PARTS:
            kept.append(picture[position:end])
        if kind == b"IEND":
            break
        position = end
    return b"".join(kept)


def _png_exif(exif: bytes) -> bytes:
    if not exif:
        return b""
    chunk = b"eXIf" + exif
    return struct.pack(">I", len(exif)) + chunk + struct.pack(">I", zlib.crc32(chunk))


def of_webp(picture: bytes) -> bytes:
    parts = list(_webp_parts(picture[12 : 8 + int.from_bytes(picture[4:8], "little")]))
    exif = next((_only_orientation(content) for kind, content in parts if kind == b"EXIF"), b"")
    kept = [b"WEBP"]
    for kind, content in parts:
        if kind == b"VP8X" and content:
            flags = content[0] & ~(_HAS_EXIF | _HAS_XMP) | (_HAS_EXIF if exif else 0)
            content = bytes([flags]) + content[1:]
        elif kind == b"ANMF":
            content = content[:_FRAME_HEADER] + _webp_frame(content[_FRAME_HEADER:])
        if kind in _WEBP_PARTS:
            kept.append(_webp_part(kind, content))
    body = b"".join(kept) + (_webp_part(b"EXIF", exif) if exif else b"")
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _webp_frame(frame: bytes) -> bytes:
    return b"".join(_webp_part(*part) for part in _webp_parts(frame) if part[0] in _FRAME_PARTS)


def _webp_parts(parts: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position + 8 <= len(parts):
        kind, length = struct.unpack_from("<4sI", parts, position)
        yield kind, parts[position + 8 : position + 8 + length]
        position += 8 + length + length % 2


def _webp_part(kind: bytes, content: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(content)) + content + b"\0" * (len(content) % 2)


def of_gif(picture: bytes) -> bytes:
    position = _GIF_HEADER + _gif_colours(picture[10:11])
    kept = [picture[:position]]
    while (kind := picture[position : position + 1]) in (_GIF_EXTENSION, _GIF_IMAGE):
        if kind == _GIF_IMAGE:
            blocks = position + 11 + _gif_colours(picture[position + 9 : position + 10])
        else:
            blocks = position + 2
        end = _gif_end_of_blocks(picture, blocks)
        if kind == _GIF_IMAGE or picture.startswith(_GIF_NEEDED, position + 1):
            kept.append(picture[position:end])
        position = end
    return b"".join([*kept, b";"])


def _gif_colours(flags: bytes) -> int:
    """Return the number of bytes of the colour table that follows."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _gif_end_of_blocks(picture: bytes, position: int) -> int:
    while position < len(picture) and picture[position]:
        position += 1 + picture[position]
    return position + 1


def _only_orientation(exif: bytes) -> bytes:
    """Return EXIF with only the orientation, or nothing if the picture is upright."""
    orientation = _orientation(exif.removeprefix(_EXIF_MARK))
    if orientation not in _TURNED:
        return b""
    entry = (_ORIENTATION, _SHORT, 1, orientation, 0)
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, *entry, 0)


def _orientation(tiff: bytes) -> int:
    order = "<" if tiff.startswith(b"II") else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, start)
        for place in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, place)
            if (tag, kind) == (_ORIENTATION, _SHORT):
                return value
    except struct.error:  # The data ends too soon.
        pass
    return 0


_READERS = {"jpeg": of_jpeg, "png": of_png, "webp": of_webp, "gif": of_gif}
