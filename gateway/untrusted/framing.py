"""How the web process and its helper write to each other: JSON behind its length in four bytes."""

import struct

LENGTH = struct.Struct(">I")
