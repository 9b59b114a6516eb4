"""Writes tests/fixtures/blocks.gguf: a random block of every quantized type (its name is the tensor's), and under NAME.f32 what the
gguf package unpacks of it.

    python3 tools/record_gguf_blocks.py tests/fixtures/blocks.gguf
"""
import sys

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize

# where the float16 numbers of a block stand: made finite
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2],
          "Q5_K": [0, 2], "Q6_K": [208], "IQ2_XXS": [0], "IQ2_XS": [0], "IQ2_S": [0], "IQ3_XXS": [0], "IQ3_S": [0], "IQ1_S": [0],
          "IQ1_M": [54], "IQ4_NL": [0], "IQ4_XS": [0], "TQ1_0": [52], "TQ2_0": [64], "MXFP4": []}


def random_blocks(rng, name, shape):
    """[*shape, bytes a block]"""
    raw = rng.integers(0, 256, (*shape, GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]), dtype=np.uint8)
    for place in SCALES[name]:
        raw[..., place + 1] &= 0xBB
    return raw


if __name__ == "__main__":
    rng = np.random.default_rng(11)
    w = GGUFWriter(sys.argv[1], "llama")
    for name in SCALES:
        kind = GGMLQuantizationType[name]
        raw = random_blocks(rng, name, (1, 1))[0]
        w.add_tensor(name, raw, raw_dtype=kind)
        w.add_tensor(name + ".f32", dequantize(raw, kind).astype(np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
