"""Pictures lose what they say beside what they show, and look as before."""

import base64
import struct
import time
import zlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as some

from chat import messages, pictures
from chat.files import transfer
from tests.support.chat.writing import talk

SECRET = b"47.3667 N 8.5500 E, Dora's phone"
LARGEST = messages.MAX_IMAGE_BYTES
QUICK_S = 5  # far more than it takes, far less than what grows with the square

JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABsSFBcUERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQc1td"
    "hbWGkJ6jq62rZ4C8ybqmx5moq6T/2wBDARweHigjKE4rK06kbl1upKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSk"
    "pKSkpKSkpKSkpKSkpKSkpKSkpKT/wAARCAAIABADASIAAhEBAxEB/8QAFgABAQEAAAAAAAAAAAAAAAAAAAQF/8QAHBAA"
    "AgICAwAAAAAAAAAAAAAAABEBIQIEBjHB/8QAFQEBAQAAAAAAAAAAAAAAAAAAAgT/xAAbEQABBAMAAAAAAAAAAAAAAAAA"
    "AQMEMjNB8P/aAAwDAQACEQMRAD8Aq443sLtY+m3DV3IAG6lMvMvaP//Z"
)
JPEG_HEAD = 20  # the start and JFIF
GIF = base64.b64decode("R0lGODdhBAACAIEAAP339/1VVQAAAAAAACwAAAAABAACAAAICAADABgocGBAADs=")
GIF_HEAD = 25  # the header and four colours


def exif(orientation: int = 1, order: str = "<") -> bytes:
    """As cameras write it: the maker, the orientation, and where to find a text."""
    mark = b"II" if order == "<" else b"MM"
    entries = [(0x010F, 2, len(SECRET), 38), (0x0112, 3, 1, orientation)]
    packed = struct.pack(f"{order}HHII", *entries[0])
    packed += struct.pack(f"{order}HHIHH", *entries[1], 0)
    return mark + struct.pack(f"{order}HIH", 42, 8, 2) + packed + bytes(4) + SECRET


def orientation_of(picture: bytes) -> int | None:
    """Read from the only EXIF that there may be: one entry and nothing behind it."""
    place = picture.find(b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01")
    return None if place < 0 else picture[place + 19]


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg(*segments: bytes) -> bytes:
    return JPEG[:JPEG_HEAD] + b"".join(segments) + JPEG[JPEG_HEAD:]


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(*chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0\xff\0\0"))
    parts = [header, chunk(b"iCCP", b"sRGB\0\0"), *chunks, pixels, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def part(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def webp(*parts: bytes, flags: int = 0, pixels: bytes | None = None) -> bytes:
    shown = part(b"VP8X", bytes([flags]) + bytes(9)) + (pixels or part(b"VP8L", b"pixel"))
    body = b"WEBP" + shown + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def frame(*parts: bytes) -> bytes:
    return part(b"ANMF", bytes(16) + part(b"VP8 ", b"frame") + b"".join(parts))


def gif(*extensions: bytes) -> bytes:
    return GIF[:GIF_HEAD] + b"".join(extensions) + GIF[GIF_HEAD:]


def extension(label: int, *blocks: bytes) -> bytes:
    return bytes([0x21, label]) + b"".join(bytes([len(one)]) + one for one in blocks) + b"\0"


# --- What goes -----------------------------------------------------------------------------------

TURNED_WEBP = part(b"EXIF", exif(6))
LOOPS = extension(0xFF, b"NETSCAPE2.0", b"\1\0\0")
CONTROL = extension(0xF9, bytes(4))
JFIF_WITH_THUMBNAIL = b"\xff\xd8" + segment(0xE0, JPEG[6:18] + b"\1\2" + SECRET)
COLOURS = segment(0xE2, b"ICC_PROFILE\0\1\1colours") + segment(0xEE, b"Adobe\0d\0\0\0\0\1")


@pytest.mark.parametrize(
    ("clean", "picture", "left"),
    [
        (pictures.of_jpeg, JPEG, JPEG),
        (pictures.of_jpeg, jpeg(COLOURS), jpeg(COLOURS)),
        (pictures.of_jpeg, jpeg(segment(0xE1, b"Exif\0\0" + exif())), JPEG),
        (pictures.of_jpeg, jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + SECRET)), JPEG),
        (pictures.of_jpeg, jpeg(segment(0xED, b"Photoshop 3.0\0" + SECRET)), JPEG),
        (pictures.of_jpeg, jpeg(segment(0xE2, b"MPF\0" + SECRET)), JPEG),
        (pictures.of_jpeg, jpeg(segment(0xFE, SECRET)), JPEG),
        (pictures.of_jpeg, jpeg(b"\xff\xff" + segment(0xFE, SECRET)), JPEG),
        (pictures.of_jpeg, jpeg(SECRET), JPEG),
        (pictures.of_jpeg, JPEG[:-2] + segment(0xFE, SECRET) + JPEG[-2:], JPEG),
        (pictures.of_jpeg, JPEG + SECRET, JPEG),
        (pictures.of_jpeg, JPEG + jpeg(segment(0xE1, SECRET)), JPEG),
        (pictures.of_jpeg, JFIF_WITH_THUMBNAIL + JPEG[JPEG_HEAD:], JPEG),
        (pictures.of_jpeg, JPEG[:-9], JPEG[:-9] + JPEG[-2:]),
        (pictures.of_png, png(), png()),
        (pictures.of_png, png(chunk(b"eXIf", exif())), png()),
        (pictures.of_png, png(chunk(b"tEXt", b"Author\0" + SECRET)), png()),
        (pictures.of_png, png(chunk(b"zTXt", SECRET), chunk(b"iTXt", SECRET)), png()),
        (pictures.of_png, png(chunk(b"tIME", SECRET[:7]), chunk(b"neWx", SECRET)), png()),
        (pictures.of_png, png() + SECRET, png()),
        (pictures.of_png, png(chunk(b"acTL", bytes(8))), png(chunk(b"acTL", bytes(8)))),
        (pictures.of_webp, webp(), webp()),
        (pictures.of_webp, webp(part(b"EXIF", exif()), flags=0x18), webp(flags=0x10)),
        (pictures.of_webp, webp(part(b"XMP ", SECRET), flags=0x24), webp(flags=0x20)),
        (pictures.of_webp, webp(part(b"new ", SECRET)), webp()),
        (pictures.of_webp, webp() + SECRET, webp()),
        (pictures.of_webp, webp(pixels=frame(part(b"note", SECRET))), webp(pixels=frame())),
        (pictures.of_gif, GIF, GIF),
        (pictures.of_gif, gif(LOOPS, CONTROL), gif(LOOPS, CONTROL)),
        (pictures.of_gif, gif(LOOPS, extension(0xFE, SECRET)), gif(LOOPS)),
        (pictures.of_gif, gif(extension(0xFF, b"XMP DataXMP", SECRET)), GIF),
        (pictures.of_gif, GIF + SECRET, GIF),
    ],
)
def test_what_says_more_than_it_shows_goes_and_the_rest_stays_as_it_is(clean, picture, left):
    assert clean(picture) == left
    assert clean(left) == left


# --- What stays ----------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("order", "<>")
def test_a_picture_stays_turned_as_it_was(orientation, order):
    said = exif(orientation, order)
    turned = [
        pictures.of_jpeg(jpeg(segment(0xE1, b"Exif\0\0" + said))),
        pictures.of_png(png(chunk(b"eXIf", said))),
        pictures.of_webp(webp(part(b"EXIF", said), flags=0x08)),
        pictures.of_webp(webp(part(b"EXIF", b"Exif\0\0" + said), flags=0x0C)),
    ]
    assert [orientation_of(one) for one in turned] == [orientation] * 4
    assert not any(SECRET in one for one in turned)
    assert [pictures.of_jpeg(turned[0]), pictures.of_png(turned[1])] == turned[:2]
    assert turned[1] == png(chunk(b"eXIf", turned[1][turned[1].index(b"MM") :][:26]))
    assert turned[2] == turned[3]
    assert turned[2][20] == 0x08, "it says that it has EXIF"


@pytest.mark.parametrize(
    "said", [b"", b"II", exif(0), exif(1), exif(9), exif(6)[:15], b"MM" + SECRET]
)
def test_an_orientation_that_says_nothing_goes_too(said):
    assert pictures.of_jpeg(jpeg(segment(0xE1, b"Exif\0\0" + said))) == JPEG


# --- What is no picture --------------------------------------------------------------------------


CLEANERS = [pictures.of_jpeg, pictures.of_png, pictures.of_webp, pictures.of_gif]
BEGINNINGS = [b"", JPEG, JPEG[:30], png(), webp(TURNED_WEBP, flags=8), GIF, gif(LOOPS)]


@given(
    some.sampled_from(CLEANERS), some.sampled_from(BEGINNINGS), some.integers(0, 300), some.binary()
)
def test_whatever_it_is_it_is_read_without_a_fault(clean, beginning, kept, rest):
    cleaned = clean(beginning[:kept] + rest)
    assert len(cleaned) <= len(beginning[:kept] + rest) + 14


@pytest.mark.parametrize(
    ("clean", "start", "repeated"),
    [
        (pictures.of_jpeg, b"\xff\xd8", b"\xff"),
        (pictures.of_jpeg, b"\xff\xd8\xff\xda\0\3\1", b"\xff"),
        (pictures.of_jpeg, b"\xff\xd8", b"\xff\xda\0\3\1"),
        (pictures.of_jpeg, b"\xff\xd8", b"\xff\xdb\0\0"),
        (pictures.of_png, png()[:8], b"\0\0\0\0IDAT\0\0\0\0"),
        (pictures.of_webp, b"RIFF\xff\xff\xff\0WEBP", b"ANMF\0\0\0\0"),
        (pictures.of_webp, b"RIFF\xff\xff\xff\0WEBP", b"ANMF\xff\xff\xff\0" + bytes(16)),
        (pictures.of_gif, GIF[:GIF_HEAD], b"!\xf9\0"),
    ],
)
def test_a_picture_made_to_be_slow_to_read_is_not(clean, start, repeated):
    hostile = (start + repeated * (LARGEST // len(repeated)))[:LARGEST]
    began_at = time.process_time()
    clean(hostile)
    assert time.process_time() - began_at < QUICK_S


# --- In the chat ---------------------------------------------------------------------------------


def test_what_a_conversation_stores_is_clean(alice):
    conversation = talk(alice)
    given_pictures = [
        ("jpeg", jpeg(segment(0xE1, b"Exif\0\0" + exif(6))), 6),
        ("png", png(chunk(b"tEXt", SECRET)), None),
        ("webp", webp(TURNED_WEBP, flags=8), 6),
        ("gif", gif(extension(0xFE, SECRET)), None),
    ]
    sent = [
        f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
        for kind, picture, _ in given_pictures
    ]
    messages.say(conversation, text="Look", images=sent)
    stored = messages.page_of(conversation).shown[0].images
    for url, (kind, picture, orientation) in zip(stored, given_pictures, strict=True):
        start, _, content = url.partition(",")
        assert start == f"data:image/{kind};base64"
        cleaned = base64.b64decode(content)
        assert SECRET in picture
        assert SECRET not in cleaned
        assert orientation_of(cleaned) == orientation


def test_what_is_imported_is_clean(alice):
    url = f"data:image/png;base64,{base64.b64encode(png(chunk(b'tEXt', SECRET))).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}]
    said = orjson.dumps({"messages": [{"role": "user", "content": content}]})
    (imported,) = transfer.import_file(alice, content=said, model="scripted")
    (image,) = messages.page_of(imported).shown[0].images
    assert image.startswith("data:image/png;base64,")
    assert SECRET not in base64.b64decode(image.partition(",")[2])
