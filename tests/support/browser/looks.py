"""By what screens and in what light pages are looked at."""

PHONE = {"width": 360, "height": 780}
DESKTOP = {"width": 1280, "height": 800}
SIZES = {"phone": PHONE, "desktop": DESKTOP}
SCHEMES = ("light", "dark")
