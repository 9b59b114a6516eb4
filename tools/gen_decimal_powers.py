"""Writes src/formats/decimal_powers.c: 128-bit powers of ten for reading and writing doubles.

    python3 tools/gen_decimal_powers.py > src/formats/decimal_powers.c
"""

FIRST, LAST = -342, 324


def power(k):
    """floor(10**k * 2**-e) with e chosen so that bit 127 is the highest bit set."""
    if k >= 0:
        v = 10**k
        n = v.bit_length()
        return v >> (n - 128) if n > 128 else v << (128 - n)
    d = 10**-k
    shift = d.bit_length() + 127
    v = (1 << shift) // d
    return v if v < 1 << 128 else v >> 1


def main():
    print("/* Made by tools/gen_decimal_powers.py: the upper 128 bits, truncated, of 10^k. */")
    print('#include "formats/decimal.h"\n')
    print("// clang-format off")
    print("const decimal_power decimal_powers[DECIMAL_POWER_LAST - DECIMAL_POWER_FIRST + 1] = {")
    for k in range(FIRST, LAST + 1):
        v = power(k)
        assert v.bit_length() == 128
        print("    {0x%016xu, 0x%016xu}, // 1e%d" % (v >> 64, v & (1 << 64) - 1, k))
    print("};")


if __name__ == "__main__":
    main()
