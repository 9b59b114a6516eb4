"""Writes src/formats/gguf_grids.c: the points of the lattices that GGUF's IQ types choose from. They are facts of the format, read
here from the gguf package.

    python3 tools/gen_gguf_grids.py > src/formats/gguf_grids.c
"""
import numpy as np
from gguf import quants

GRIDS = [("IQ2_XXS", 2), ("IQ2_XS", 2), ("IQ2_S", 2), ("IQ3_XXS", 4), ("IQ3_S", 4), ("IQ1_S", 2)]  # name, bits of an index


def main():
    print("/* Made by tools/gen_gguf_grids.py: a point is a number, its values are indices of 2 bits (8 of them) or 4 (4 of them),")
    print(" * the lowest first. */")
    print('#include "formats/gguf_blocks.h"\n')
    print("// clang-format off")
    for name, bits in GRIDS:
        kind = getattr(quants, name)
        kind.init_grid()
        levels = np.array(kind.grid_map, dtype=np.float32)
        points = np.searchsorted(levels, kind.grid.reshape(kind.grid_shape)).astype(np.uint32)
        codes = (points << (bits * np.arange(points.shape[1], dtype=np.uint32))).sum(axis=1)
        assert codes.max() < 1 << 16
        print(f"const uint16_t gguf_grid_{name.lower()}[{len(codes)}] = {{")
        for i in range(0, len(codes), 14):
            print("    " + ", ".join(f"0x{c:04x}" for c in codes[i:i + 14]) + ",")
        print("};\n")
    print("// clang-format on")


main()
