"""A GGUF file opened for changing: metadata by key, tensors as the numbers that their blocks are made of. Tests and
bench/diagnose_files.py make faulty model files with it. Knows tensors of F32, F16, Q4_0, Q4_1 and Q8_0; refuses
others, and files of another version than 2 or 3.
"""
import struct
from pathlib import Path

import numpy as np

SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9
# Type: numbers in a block, its bytes, and the dtype of a block; the fields named "scale" and "least" are numbers that all
# of the block is multiplied by or rests on.
TYPES = {0: (1, np.dtype([("scale", "<f4")])), 1: (1, np.dtype([("scale", "<f2")])),
         2: (32, np.dtype([("scale", "<f2"), ("q", "u1", 16)])),
         3: (32, np.dtype([("scale", "<f2"), ("least", "<f2"), ("q", "u1", 16)])),
         8: (32, np.dtype([("scale", "<f2"), ("q", "i1", 32)]))}


class Gguf:
    def __init__(self, path):
        self.data = bytearray(Path(path).read_bytes())
        magic, version, tensors, entries = struct.unpack_from("<4sIQQ", self.data)
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError(f"{path} is no GGUF file of version 2 or 3")
        self.at, self.values, self.tensors, self.inserted = 24, {}, {}, []
        for _ in range(entries):
            key = self._string()
            kind = self._take("<I")
            self.values[key] = (kind, self.at)
            self._skip(kind)
        self.end_of_values = self.at
        for _ in range(tensors):
            name = self._string()
            shape = [self._take("<Q") for _ in range(self._take("<I"))]
            self.tensors[name] = (self._take("<I"), shape, self._take("<Q"))
        self.end_of_header = self.at
        self.alignment = self["general.alignment"] if "general.alignment" in self.values else 32
        self.base = -(-self.at // self.alignment) * self.alignment

    def _take(self, form):
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def _string(self):
        length = self._take("<Q")
        self.at += length
        return self.data[self.at - length:self.at].decode()

    def _skip(self, kind):
        if kind == STRING:
            self._string()
        elif kind == ARRAY:
            inner, count = self._take("<I"), self._take("<Q")
            if inner in SCALARS:
                self.at += count * struct.calcsize(SCALARS[inner])
            else:
                for _ in range(count):
                    self._skip(inner)
        else:
            self.at += struct.calcsize(SCALARS[kind])

    def __getitem__(self, key):
        kind, at = self.values[key]
        return struct.unpack_from(SCALARS[kind], self.data, at)[0]

    def __setitem__(self, key, value):
        """Replaces a number that is there, or adds an f32, a u32 or a text."""
        if key in self.values:
            kind, at = self.values[key]
            struct.pack_into(SCALARS[kind], self.data, at, value)
            return
        name = struct.pack("<Q", len(key)) + key.encode()
        if isinstance(value, str):
            self.inserted.append(name + struct.pack("<IQ", STRING, len(value)) + value.encode())
        elif isinstance(value, float):
            self.inserted.append(name + struct.pack("<If", 6, value))
        else:
            self.inserted.append(name + struct.pack("<II", 4, value))

    def blocks(self, name):
        """The tensor's blocks, [rows, blocks of a row]: a view, changed in place."""
        kind, shape, offset = self.tensors[name]
        numbers, block = TYPES[kind]
        count = int(np.prod(shape)) // numbers
        flat = np.frombuffer(self.data, block, count, self.base + offset)
        return flat.reshape(-1, shape[0] // numbers)

    def scale(self, name, factor, rows=slice(None)):
        """Multiplies the tensor, or some of its rows, by a number."""
        blocks = self.blocks(name)
        for field in ("scale", "least"):
            if field in blocks.dtype.names:
                blocks[field][rows] = blocks[field][rows] * np.float32(factor)

    def swap(self, a, b):
        """Exchanges the numbers of two tensors of one shape and type."""
        one, other = self.blocks(a), self.blocks(b)
        if one.dtype != other.dtype or one.shape != other.shape:
            raise ValueError(f"{a} and {b} are not of one shape and type")
        kept = one.copy()
        one[...] = other
        other[...] = kept

    def move_rows(self, name, order):
        """Row i becomes what row order[i] was."""
        blocks = self.blocks(name)
        blocks[...] = blocks[np.asarray(order)]

    def write(self, path):
        data = self.data
        if self.inserted:
            more = b"".join(self.inserted)
            header = bytearray(data[:self.end_of_values] + more + data[self.end_of_values:self.end_of_header])
            struct.pack_into("<Q", header, 16, len(self.values) + len(self.inserted))
            header += bytes(-len(header) % self.alignment)
            data = header + data[self.base:]
        Path(path).write_bytes(data)
