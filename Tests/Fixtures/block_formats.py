#!/usr/bin/env python3
"""Makes Tests/LanguageModelsTests/BlockFixtures.swift: random blocks of every GGUF element type and their values.

The formulas are written from the formats' descriptions, in numpy, element by element rather than with shared nibble loops,
so that they have nothing in common with the C code they check.

    python3 Tests/Fixtures/block_formats.py > Tests/LanguageModelsTests/BlockFixtures.swift
"""
import base64
import numpy as np

random = np.random.default_rng(20240229)
half = lambda block, at: np.float32(block[at : at + 2].view(np.float16)[0])


def scales_of_k(packed):
    """The eight 6-bit scales and minima of a K block, packed in 12 bytes."""
    scale, minimum = [], []
    for j in range(8):
        if j < 4:
            scale.append(packed[j] & 63)
            minimum.append(packed[j + 4] & 63)
        else:
            scale.append((packed[j + 4] & 15) | ((packed[j - 4] >> 6) << 4))
            minimum.append((packed[j + 4] >> 4) | ((packed[j] >> 6) << 4))
    return [int(s) for s in scale], [int(m) for m in minimum]


def nibble(data, element, count):
    """Element i < count / 2 is the low half of byte i; the others are the high halves."""
    return int(data[element % (count // 2)]) >> (4 if element >= count // 2 else 0) & 15


def q4_0(b):
    return [half(b, 0) * np.float32(nibble(b[2:], i, 32) - 8) for i in range(32)]


def q4_1(b):
    return [half(b, 0) * np.float32(nibble(b[4:], i, 32)) + half(b, 2) for i in range(32)]


def q5_0(b):
    high = int.from_bytes(b[2:6].tobytes(), "little")
    return [half(b, 0) * np.float32((nibble(b[6:], i, 32) | (high >> i & 1) << 4) - 16) for i in range(32)]


def q5_1(b):
    high = int.from_bytes(b[4:8].tobytes(), "little")
    return [half(b, 0) * np.float32(nibble(b[8:], i, 32) | (high >> i & 1) << 4) + half(b, 2) for i in range(32)]


def q8_0(b):
    return [half(b, 0) * np.float32(int(v)) for v in b[2:].view(np.int8)]


def q4_K(b):
    scale, minimum = scales_of_k(b[4:16])
    values = []
    for i in range(256):
        chunk, within = divmod(i, 64)
        q = nibble(b[16 + 32 * chunk : 48 + 32 * chunk], within, 64)
        s = i // 32
        values.append(half(b, 0) * np.float32(scale[s]) * np.float32(q) - half(b, 2) * np.float32(minimum[s]))
    return values


def q5_K(b):
    scale, minimum = scales_of_k(b[4:16])
    values = []
    for i in range(256):
        chunk, within = divmod(i, 64)
        s = i // 32
        q = nibble(b[48 + 32 * chunk : 80 + 32 * chunk], within, 64) | (int(b[16 + i % 32]) >> s & 1) << 4
        values.append(half(b, 0) * np.float32(scale[s]) * np.float32(q) - half(b, 2) * np.float32(minimum[s]))
    return values


def q6_K(b):
    scale = b[192:208].view(np.int8)
    values = []
    for i in range(256):
        part, within = divmod(i, 128)
        quarter, l = divmod(within, 32)
        low = int(b[64 * part + 32 * (quarter % 2) + l]) >> (4 if quarter >= 2 else 0) & 15
        high = int(b[128 + 32 * part + l]) >> 2 * quarter & 3
        values.append(half(b, 208) * np.float32(int(scale[i // 16])) * np.float32((low | high << 4) - 32))
    return values


def f16(b):
    return b.view(np.float16).astype(np.float32)


def bf16(b):
    return (b.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def f32(b):
    return b.view(np.float32)


# name: (formula, bytes of a block, offsets of f16 scales)
formats = {
    "f32": (f32, 4, []), "f16": (f16, 2, []), "bf16": (bf16, 2, []),
    "q4_0": (q4_0, 18, [0]), "q4_1": (q4_1, 20, [0, 2]), "q5_0": (q5_0, 22, [0]), "q5_1": (q5_1, 24, [0, 2]),
    "q8_0": (q8_0, 34, [0]), "q4_K": (q4_K, 144, [0, 2]), "q5_K": (q5_K, 176, [0, 2]), "q6_K": (q6_K, 210, [208]),
}


def sample(name):
    formula, size, scales = formats[name]
    if not scales:
        floats = random.normal(size=8).astype(np.float32)
        if name == "f32":
            row = floats.view(np.uint8)
        elif name == "f16":
            row = floats.astype(np.float16).view(np.uint8)
        else:
            row = (floats.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
        return row, np.asarray(formula(row), np.float32)
    blocks, values = [], []
    for _ in range(2):
        block = random.integers(0, 256, size, dtype=np.uint8)
        for at in scales:
            block[at : at + 2] = np.float16([random.normal() / 8]).view(np.uint8)
        blocks.append(block)
        values.append(np.asarray(formula(block), np.float32))
    return np.concatenate(blocks), np.concatenate(values)


if __name__ == "__main__":
    encode = lambda array: base64.b64encode(array.tobytes()).decode()
    print("// Made by Tests/Fixtures/block_formats.py: two blocks (eight floats) of every element type and their values.")
    print("import LanguageModels\n")
    print("enum BlockFixtures {")
    print("    /// The stored bytes and the values as little-endian F32, both in base 64.")
    print("    static let all: [(type: ElementType, bytes: String, values: String)] = [")
    for name in formats:
        row, values = sample(name)
        print(f'        (\n            .{name},')
        for array, end in ((row, ","), (values, "")):
            text = encode(array)
            lines = [text[i : i + 96] for i in range(0, len(text), 96)]
            print("            " + "\n                + ".join(f'"{line}"' for line in lines) + end)
        print("        ),")
    print("    ]\n}")
