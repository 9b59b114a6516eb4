"""Records tests/fixtures/models/packed-*, nomic_bert-* and family-*.

    python tools/record_checkpoints.py [NAME ...]        # into tests/fixtures/models

packed-*: tiny models whose weights are packed as quantization libraries pack them. The libraries themselves do it
where a plain pip install has them (bitsandbytes, compressed-tensors, auto-round; autoawq unpacks), the public layout of the
format where it does not (gptq with reordered inputs, awq, fp8); the answers are transformers' own, on the weights that the library's own dequantization gives.
nomic_bert-*: the architecture in torch, written from its paper and config, since its code is not in transformers.
family-*: a random checkpoint of each family that has no recording elsewhere, as check_fresh_checkpoints.py draws them, but smaller.

Each folder has the form of the other fixtures (expected.json, expected.safetensors), made by
tests/interop/check_fresh_checkpoints.py.
"""
import inspect, json, math, os, shutil, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "interop"))
import torch
import transformers as T
from safetensors.torch import load_file, save_file

import check_fresh_checkpoints as fresh

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "fixtures", "models")
LLAMA = dict(vocab_size=48, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False)
GPT_OSS = dict(vocab_size=48, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=16, num_local_experts=3, num_experts_per_tok=2, sliding_window=4, layer_types=["sliding_attention"], max_position_embeddings=64, rope_scaling=None, pad_token_id=0, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False)


def cases():
    g = torch.Generator().manual_seed(5)
    ids = lambda n: torch.randint(3, 48, (1, n), generator=g)
    batch, mask = torch.zeros(2, 6, dtype=torch.long), torch.ones(2, 6, dtype=torch.long)
    batch[0], batch[1, :4], mask[1, 4:] = ids(6)[0], ids(4)[0], 0
    return {"len5": {"input_ids": ids(5)}, "batch_right": {"input_ids": batch, "attention_mask": mask}}


# ------------------------------------------------------------------ packing: weight [N, K] -> ({suffix: tensor}, dequantized)


def into_words(q, bits, axis):
    """Integers below 2^bits along an axis as a line of bits in int32 words."""
    q = q.movedim(axis, -1).to(torch.int64)
    n = q.shape[-1] * bits // 32
    words = torch.zeros(*q.shape[:-1], n + 1, dtype=torch.int64)
    for i in range(q.shape[-1]):
        at, shift = i * bits // 32, i * bits % 32
        words[..., at] |= q[..., i] << shift & 0xFFFFFFFF
        if shift + bits > 32:
            words[..., at + 1] |= q[..., i] >> (32 - shift)
    words = words[..., :n]
    return torch.where(words >= 1 << 31, words - (1 << 32), words).to(torch.int32).movedim(-1, axis).contiguous()


def grid(w, bits, group, symmetric, group_of=None):
    """codes [N, K], zeros and scales [N, G] in half precision, and the groups of the inputs."""
    N, K = w.shape
    group_of = torch.arange(K) // group if group_of is None else group_of
    G, top = K // group, 2**bits - 1
    lo = torch.stack([w[:, group_of == g].min(1).values for g in range(G)], 1).clamp(max=0)
    hi = torch.stack([w[:, group_of == g].max(1).values for g in range(G)], 1).clamp(min=0)
    if symmetric:
        hi = torch.maximum(hi, -lo)
        lo = -hi
    scale = ((hi - lo) / top).half()
    zero = torch.full_like(scale, (top + 1) // 2).float() if symmetric else torch.round(-lo / scale.float()).clamp(1, top)
    q = torch.round(w / scale.float()[:, group_of] + zero[:, group_of]).clamp(0, top)
    plain = scale[:, group_of] * (q - zero[:, group_of]).half()
    return q, zero, scale, group_of, plain


def gptq(bits=4, group=16, symmetric=True, reorder=False, v2=False):
    def pack(w):
        K = w.shape[1]
        order = torch.randperm(K, generator=torch.Generator().manual_seed(K)) // group if reorder else None
        q, zero, scale, group_of, plain = grid(w, bits, group, symmetric, order)
        stored = zero if v2 else (zero - 1) % 2**bits
        return {".qweight": into_words(q, bits, 1).t().contiguous(), ".qzeros": into_words(stored, bits, 0).t().contiguous(), ".scales": scale.t().contiguous(), ".g_idx": group_of.int()}, plain

    about = {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": reorder, "sym": symmetric, "checkpoint_format": "gptq_v2" if v2 else "gptq"}
    return pack, about, torch.float16


def awq():
    order = [0, 2, 4, 6, 1, 3, 5, 7]

    def pack(w):
        q, zero, scale, _, plain = grid(w, 4, 16, False)
        shuffled = lambda x: x.reshape(*x.shape[:-1], -1, 8)[..., order].reshape(x.shape)
        return {".qweight": into_words(shuffled(q.t()), 4, 1), ".qzeros": into_words(shuffled(zero.t()), 4, 1), ".scales": scale.t().contiguous()}, plain

    return pack, {"quant_method": "awq", "bits": 4, "group_size": 16, "version": "gemm", "zero_point": True}, torch.float16


def gptq_like(bits, group, symmetric, about, minus_one):
    """Packed and unpacked by auto-round's layer: `minus_one` writes zeros as AutoGPTQ does, else as they are."""

    def pack(w):
        if minus_one:
            from auto_round_extension.torch.qlinear_torch_zp import QuantLinear
        else:
            from auto_round_extension.torch.qlinear_torch import QuantLinear
        N, K = w.shape
        q, zero, scale, group_of, _ = grid(w, bits, group, symmetric)
        layer, linear = QuantLinear(bits, group, K, N, False), torch.nn.Linear(K, N, bias=False)
        linear.weight.data = scale.float()[:, group_of] * (q - zero[:, group_of])
        layer.pack(linear, scale.float(), int(zero[0, 0]) if symmetric else zero, device="cpu")
        plain = layer(torch.eye(K).half()).t().contiguous()
        more = {".g_idx": group_of.int()} if about["quant_method"] == "gptq" else {}
        return {".qweight": layer.qweight, ".qzeros": layer.qzeros, ".scales": layer.scales, **more}, plain

    return pack, {"bits": bits, "group_size": group, "sym": symmetric, **about}, torch.float16


def autoawq(about):
    """Packed by the layout, unpacked by AutoAWQ's own function (loaded alone: its package needs data sets)."""
    write, _, _ = awq()

    def pack(w):
        import importlib.util

        where = os.path.join(os.path.dirname(importlib.util.find_spec("awq").origin), "utils", "packing_utils.py")
        spec = importlib.util.spec_from_file_location("packing_utils", where)
        utils = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(utils)
        parts, _ = write(w)
        return parts, utils.dequantize_gemm(parts[".qweight"], parts[".qzeros"], parts[".scales"], 4, 16).t().contiguous()

    return pack, about, torch.float16


def fbgemm():
    """The rows' scales of FbgemmFp8Linear; what its kernel multiplies with."""

    def pack(w):
        scale = (w.abs().amax(1, keepdim=True).clamp(min=1e-12) / 448).float()
        q = (w / scale).to(torch.float8_e4m3fn)
        return {".weight": q, ".weight_scale": scale, ".input_scale_ub": torch.tensor([1200.0])}, (q.float() * scale).bfloat16()

    return pack, {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0, "modules_to_not_convert": ["lm_head"]}, torch.bfloat16


def mixed(about, dtype, *rules):
    """Layers that are packed in different ways: (part of the name, what packs it; None: stays as it is)."""
    return [(part, how and how[0]) for part, how in rules], about, dtype


def bnb(kind, nested=False, dtype=torch.bfloat16, storage=torch.uint8):
    def pack4(w):
        import bitsandbytes.functional as F

        q, state = F.quantize_4bit(w.to(dtype), quant_type=kind, compress_statistics=nested, blocksize=64)
        parts = {".weight": q.reshape(-1).view(storage).reshape(-1, 1), **{".weight." + k: v for k, v in state.as_dict(packed=True).items()}}
        # the generic way: dequantize_4bit's CPU kernel reads wrong blocks where a row is shorter than one
        from bitsandbytes.backends.default.ops import _dequantize_4bit_compute as unpack

        absmax = F.dequantize_blockwise(state.absmax, state.state2) + state.offset if nested else state.absmax
        return parts, unpack(q.reshape(-1), absmax, state.code, state.blocksize, state.shape, dtype)

    def pack8(w):
        import bitsandbytes.functional as F

        q, scb, _ = F.int8_vectorwise_quant(w.to(torch.float16))
        return {".weight": q, ".SCB": scb, ".weight_format": torch.tensor(0, dtype=torch.uint8)}, F.int8_vectorwise_dequant(q, scb).to(dtype)

    eight = kind == "int8"
    return pack8 if eight else pack4, {"quant_method": "bitsandbytes", "load_in_8bit": eight, "load_in_4bit": not eight, "bnb_4bit_quant_type": "nf4" if eight else kind, "bnb_4bit_use_double_quant": nested}, dtype


def compressed(form, strategy, bits=8, kind="int", symmetric=True, group=None, block=None, dtype=torch.bfloat16):
    args = dict(num_bits=bits, type=kind, strategy=strategy, symmetric=symmetric, **({"group_size": group} if group else {}), **({"block_structure": block} if block else {}))

    def pack(w):
        from compressed_tensors.compressors import BaseCompressor
        from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
        from compressed_tensors.quantization.utils import calculate_qparams

        w, a = w.to(dtype), QuantizationArgs(**args)
        scheme = QuantizationScheme(targets=["Linear"], weights=a)
        if strategy == "group":
            x = w.reshape(w.shape[0], -1, group)
            lo, hi = x.amin(2), x.amax(2)
        elif strategy == "block":
            x = w.reshape(w.shape[0] // block[0], block[0], -1, block[1])
            lo, hi = x.amin((1, 3)), x.amax((1, 3))
        elif strategy == "channel":
            lo, hi = w.amin(1, keepdim=True), w.amax(1, keepdim=True)
        else:
            lo, hi = w.amin().reshape(1), w.amax().reshape(1)
        scale, zero = calculate_qparams(lo, hi, a)
        scale = scale.to(dtype)
        compressor = BaseCompressor.get_value_from_registry(form)
        small = compressor.compress({"weight": w, "weight_scale": scale, **({} if symmetric else {"weight_zero_point": zero})}, scheme)
        # build/parity loads in float32, where the library does not round what it unpacks
        big = compressor.decompress({k: v.float() if k.endswith("_scale") else v for k, v in small.items()}, scheme)
        return {"." + k: v for k, v in small.items()}, big["weight"]

    return pack, {"quant_method": "compressed-tensors", "format": form, "config_groups": {"group_0": {"targets": ["Linear"], "weights": args}}, "ignore": ["lm_head"], "quantization_status": "compressed"}, dtype


def compressed_reordered(bits=4, group=16):
    """actorder "group", which releases after 0.12 of compressed-tensors no longer know."""
    args = dict(num_bits=bits, type="int", strategy="group", symmetric=True, group_size=group, actorder="group")

    def pack(w):
        from compressed_tensors.compressors import BaseCompressor
        from compressed_tensors.quantization import QuantizationArgs
        from compressed_tensors.quantization.utils import calculate_qparams

        K, a = w.shape[1], QuantizationArgs(**args)
        order = torch.randperm(K, generator=torch.Generator().manual_seed(K)) // group
        x = w.bfloat16()[:, order.argsort()].reshape(w.shape[0], -1, group)
        scale, _ = calculate_qparams(x.amin(2), x.amax(2), a)
        compressor = BaseCompressor.load_from_registry("pack-quantized")
        small = compressor.compress_weight(w.bfloat16(), scale.bfloat16(), a, g_idx=order.int())
        parts = {"weight_scale": scale.bfloat16(), "weight_g_idx": order.int(), **small}
        return {"." + k: v for k, v in parts.items()}, compressor.decompress_weight({**parts, "weight_scale": scale.bfloat16().float()}, a)

    return pack, {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"group_0": {"targets": ["Linear"], "weights": args}}, "ignore": ["lm_head"], "quantization_status": "compressed"}, torch.bfloat16


def fp8(block=(16, 24)):
    def pack(w):
        N, K = w.shape
        rows, cols = math.ceil(N / block[0]), math.ceil(K / block[1])
        scale = torch.stack([torch.stack([w[i * block[0] : (i + 1) * block[0], j * block[1] : (j + 1) * block[1]].abs().max() / 448 for j in range(cols)]) for i in range(rows)])
        wide = scale.repeat_interleave(block[0], 0)[:N].repeat_interleave(block[1], 1)[:, :K]
        q = (w / wide).to(torch.float8_e4m3fn)
        return {".weight": q, ".weight_scale_inv": scale}, (q.float() * wide).bfloat16()

    return pack, {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": list(block)}, torch.bfloat16


PACKED = {
    "packed-gptq-4": gptq(4, 16, symmetric=False, reorder=True),
    "packed-gptq-3": gptq(3, 32, symmetric=True),
    "packed-gptq-8-v2": gptq(8, 32, symmetric=False, v2=True),
    "packed-gptq-mixed": mixed(
        {"quant_method": "gptq", "bits": 4, "group_size": 16, "desc_act": False, "sym": True, "checkpoint_format": "gptq", "dynamic": {"+:.*k_proj": {"bits": 8}, "+:.*mlp": {"bits": 3, "group_size": 32}, "-:.*v_proj": {}}},
        torch.float16, ("k_proj", gptq(8, 16)), ("mlp", gptq(3, 32)), ("v_proj", None), ("", gptq(4, 16))),
    "packed-gptq-2": gptq_like(2, 32, False, {"quant_method": "gptq", "desc_act": False, "checkpoint_format": "gptq"}, True),
    "packed-auto-round": gptq_like(4, 16, True, {"quant_method": "auto-round", "packing_format": "auto_round:gptqmodel"}, False),
    "packed-auto-round-gptq": gptq_like(3, 32, False, {"quant_method": "auto-round", "packing_format": "auto_round:auto_gptq"}, True),
    "packed-auto-round-awq": autoawq({"quant_method": "auto-round", "packing_format": "auto_round:auto_awq", "bits": 4, "group_size": 16, "sym": False}),
    "packed-awq": awq(),
    "packed-fbgemm-fp8": fbgemm(),
    "packed-bnb-int8": bnb("int8"),
    "packed-bnb-nf4-nested": bnb("nf4", nested=True),
    "packed-bnb-fp4": bnb("fp4", dtype=torch.float16),
    "packed-bnb-nf4-stored-bf16": bnb("nf4", storage=torch.bfloat16),
    "packed-ct-mixed": mixed(
        {"quant_method": "compressed-tensors", "format": "mixed-precision", "ignore": ["lm_head", "re:.*o_proj"], "quantization_status": "compressed", "config_groups": {
            "group_0": {"format": "pack-quantized", "targets": ["re:.*(q|k)_proj"], "weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 16, "symmetric": True}},
            "group_1": {"format": "pack-quantized", "targets": ["re:.*v_proj"], "weights": {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True}},
            "group_2": {"format": "int-quantized", "targets": ["re:.*mlp.up_proj"], "weights": {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": False}},
            "group_3": {"format": "float-quantized", "targets": ["Linear"], "weights": {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True}}}},
        torch.bfloat16, ("q_proj", compressed("pack-quantized", "group", 4, group=16)), ("k_proj", compressed("pack-quantized", "group", 4, group=16)), ("v_proj", compressed("pack-quantized", "channel", 8)),
        ("o_proj", None), ("up_proj", compressed("int-quantized", "channel", 8, symmetric=False)), ("", compressed("float-quantized", "channel", 8, "float"))),
    "packed-ct-pack-4": compressed("pack-quantized", "group", 4, symmetric=False, group=16),
    "packed-ct-pack-3": compressed("pack-quantized", "channel", 3),
    "packed-ct-pack-reordered": compressed_reordered(),
    "packed-ct-int8": compressed("int-quantized", "channel", 8),
    "packed-ct-int": compressed("int-quantized", "channel", 8, symmetric=False),
    "packed-ct-float": compressed("float-quantized", "tensor", 8, "float", dtype=torch.float16),
    "packed-ct-float-blocks": compressed("float-quantized", "block", 8, "float", block=[16, 16]),
    "packed-fp8": fp8(),
}


def write(folder, model, tensors, config, cls, alone=False):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    c = cases()
    if alone:  # dynamic frequencies: Python takes the longest row's for the whole batch
        del c["batch_right"]
    fresh.expect(model, c, folder, {"class": cls, "stored_dtype": config.get("dtype", "float32")})
    save_file({k: v.contiguous() for k, v in tensors.items()}, os.path.join(folder, "model.safetensors"), {"format": "pt"})
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=1, sort_keys=True)


def tiny(cls, config, dtype):
    config._attn_implementation = "eager"
    torch.manual_seed(3)
    model = cls(config).eval()
    fresh.fill(model, fresh.Draw(7))
    fresh.rounded(model, dtype)
    return model


def named(config, dtype, quantization, cls):
    c = config.to_diff_dict()
    c.update(model_type=config.model_type, dtype=str(dtype).split(".")[1], quantization_config=quantization, architectures=[cls])
    return c


@torch.no_grad()
def packed(name, pack, about, dtype):
    model = tiny(T.LlamaForCausalLM, T.LlamaConfig(**LLAMA), dtype)
    tensors = {k: v.to(dtype) for k, v in model.state_dict().items()}
    for n, m in model.named_modules():
        if isinstance(m, torch.nn.Linear) and n != "lm_head":
            how = next(f for part, f in pack if part in n) if isinstance(pack, list) else pack
            if not how:
                continue
            parts, plain = how(m.weight.float())
            assert plain.dtype in (dtype, torch.float32) and plain.shape == m.weight.shape, (name, n, plain.dtype, plain.shape)
            far = float((plain.float() - m.weight).abs().max() / m.weight.abs().max())
            assert far < 0.5, (name, n, far)
            m.weight.copy_(plain.float())
            del tensors[n + ".weight"]
            tensors.update({n + k: v for k, v in parts.items()})
    write(os.path.join(OUT, name), model, tensors, named(model.config, dtype, about, "LlamaForCausalLM"), "LlamaForCausalLM")


@torch.no_grad()
def mxfp4(name):
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    model = tiny(T.GptOssForCausalLM, T.GptOssConfig(**GPT_OSS), torch.bfloat16)
    tensors = {k: v.to(torch.bfloat16) for k, v in model.state_dict().items()}
    g = torch.Generator().manual_seed(9)
    for n, p in model.named_parameters():
        if n.endswith(("gate_up_proj", "down_proj")):
            E, K, N = p.shape
            blocks = torch.randint(0, 256, (E, N, K // 32, 16), generator=g, dtype=torch.uint8)
            scales = torch.randint(122, 126, (E, N, K // 32), generator=g, dtype=torch.uint8)
            p.copy_(convert_moe_packed_tensors(blocks, scales, dtype=torch.bfloat16).float())
            del tensors[n]
            tensors.update({n + "_blocks": blocks, n + "_scales": scales})
    write(os.path.join(OUT, name), model, tensors, named(model.config, torch.bfloat16, {"quant_method": "mxfp4"}, "GptOssForCausalLM"), "GptOssForCausalLM")


# ------------------------------------------------------------------ nomic_bert


class Nomic(torch.nn.Module):
    """Nussbaum et al. 2024: BERT with rotary positions, a gated mlp and no biases, the norms behind."""

    def __init__(self, c):
        super().__init__()
        H, self.c, L = c["n_embd"], c, torch.nn.Linear
        norm = lambda: torch.nn.LayerNorm(H, eps=c["layer_norm_epsilon"])
        self.word_embeddings, self.token_type_embeddings, self.emb_ln = torch.nn.Embedding(c["vocab_size"], H), torch.nn.Embedding(c["type_vocab_size"], H), norm()
        self.layers = torch.nn.ModuleList(torch.nn.ModuleDict(dict(Wqkv=L(H, 3 * H, bias=c["qkv_proj_bias"]), out_proj=L(H, H, bias=c["qkv_proj_bias"]), fc11=L(H, 256, bias=c["mlp_fc1_bias"]), fc12=L(H, 256, bias=c["mlp_fc1_bias"]), fc2=L(256, H, bias=c["mlp_fc2_bias"]), norm1=norm(), norm2=norm())) for _ in range(c["n_layer"]))

    def rotate(self, x):
        D, n = int(x.shape[-1] * self.c["rotary_emb_fraction"]), x.shape[1]
        base, trained, f = self.c["rotary_emb_base"], self.c["max_trained_positions"], self.c["rotary_scaling_factor"]
        if f and n > trained:
            base = base * (f * n / trained - (f - 1)) ** (D / (D - 2))
        at = torch.outer(torch.arange(n, dtype=torch.float32), 1.0 / base ** (torch.arange(0, D, 2, dtype=torch.float32) / D)).to(x.dtype)[:, None]
        a, b = x[..., : D // 2], x[..., D // 2 : D]
        return torch.cat([a * at.cos() - b * at.sin(), b * at.cos() + a * at.sin(), x[..., D:]], -1)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, output_hidden_states=False, return_dict=True):
        B, n = input_ids.shape
        heads = self.c["n_head"]
        x = self.emb_ln(self.word_embeddings(input_ids) + self.token_type_embeddings(torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids))
        seen = [x]
        for l in self.layers:
            q, k, v = l["Wqkv"](x).view(B, n, 3, heads, -1).unbind(2)
            s = torch.einsum("bqhd,bkhd->bhqk", self.rotate(q), self.rotate(k)) / math.sqrt(q.shape[-1])
            if attention_mask is not None:
                s = s.masked_fill(attention_mask[:, None, None] == 0, torch.finfo(s.dtype).min)
            y = torch.einsum("bhqk,bkhd->bqhd", s.softmax(-1), v).reshape(B, n, -1)
            x = l["norm1"](l["out_proj"](y) + x)
            x = l["norm2"](l["fc2"](l["fc11"](x) * torch.nn.functional.silu(l["fc12"](x))) + x)
            seen.append(x)
        return {"last_hidden_state": x, "hidden_states": tuple(seen)}


@torch.no_grad()
def nomic(name, **more):
    c = dict(model_type="nomic_bert", architectures=["NomicBertModel"], auto_map={"AutoModel": "modeling_hf_nomic_bert.NomicBertModel"}, activation_function="swiglu", n_embd=32, n_head=4, n_layer=2, n_inner=200, n_positions=64, vocab_size=48, type_vocab_size=2, pad_vocab_size_multiple=16, layer_norm_epsilon=1e-12,
             prenorm=False, parallel_block=False, use_rms_norm=False, causal=False, qkv_proj_bias=False, mlp_fc1_bias=False, mlp_fc2_bias=False, rotary_emb_base=1000, rotary_emb_fraction=1.0, rotary_emb_interleaved=False, rotary_emb_scale_base=None, rotary_scaling_factor=None, max_trained_positions=2048)
    c.update(more)
    torch.manual_seed(3)
    model = Nomic(c).eval()
    model.tie_weights = lambda: None
    fresh.fill(model, fresh.Draw(7))
    tensors = {}
    for k, v in model.state_dict().items():
        k = k.replace("layers.", "encoder.layers.", 1) if k.startswith("layers.") else "embeddings." + k if "embeddings" in k else k
        for part, under in (("Wqkv", "attn"), ("out_proj", "attn"), ("fc11", "mlp"), ("fc12", "mlp"), ("fc2", "mlp")):
            k = k.replace("." + part + ".", "." + under + "." + part + ".")
        tensors[k] = v
    write(os.path.join(OUT, name), model, tensors, c, "NomicBertModel", alone=bool(c["rotary_scaling_factor"]))


# ------------------------------------------------------------------ families

HYBRID = {"mamba_n_heads": 4, "mamba_d_head": "auto", "mamba_n_groups": 2, "mamba_d_state": 4, "mamba_d_conv": 4, "mamba_chunk_size": 4}

# folder: (family of check_fresh_checkpoints.py, class, what is fixed besides the sizes)
FAMILIES = {
    "family-apertus": ("apertus", "ApertusForCausalLM", {"hidden_act": "xielu", "rope_scaling": None}),
    "family-bamba": ("bamba", "BambaForCausalLM", {**HYBRID, "attn_layer_indices": [1], "partial_rotary_factor": 0.5}),
    "family-bart-causal": ("bart", "BartForCausalLM", {}),
    "family-bert-generation": ("bert-generation", "BertGenerationDecoder", {"is_decoder": True}),
    "family-bert-next-sentence": ("bert", "BertForNextSentencePrediction", {"is_decoder": False}),
    "family-big-bird": ("big_bird", "BigBirdForSequenceClassification", {"is_decoder": False, "attention_type": "block_sparse"}),
    "family-bigbird-pegasus": ("bigbird_pegasus", "BigBirdPegasusForConditionalGeneration", {"use_bias": False, "decoder_attention_heads": 2}),
    "family-biogpt": ("biogpt", "BioGptForCausalLM", {}),
    "family-bitnet": ("bitnet", "BitNetForCausalLM", {"rope_scaling": None}),
    "family-canine": ("canine", "CanineForTokenClassification", {"hidden_size": 16, "downsampling_rate": 2, "upsampling_kernel_size": 4, "num_hash_functions": 2, "num_hash_buckets": 64, "local_transformer_stride": 3}),
    "family-convbert": ("convbert", "ConvBertForTokenClassification", {"hidden_size": 32, "num_attention_heads": 4, "head_ratio": 2, "intermediate_size": 32, "embedding_size": 12, "conv_kernel_size": 3, "num_groups": 2}),
    "family-ctrl": ("ctrl", "CTRLLMHeadModel", {}),
    "family-dbrx": ("dbrx", "DbrxForCausalLM", {"ffn_config": {"ffn_hidden_size": 12, "moe_num_experts": 3, "moe_top_k": 2}}),
    "family-diffllama": ("diffllama", "DiffLlamaForCausalLM", {"rope_scaling": None, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32}),
    "family-encoder-decoder": ("encoder-decoder", "EncoderDecoderModel", {}),
    "family-doge": ("doge", "DogeForCausalLM", {"rope_scaling": None, "keep_window_size": 3, "attention_bias": True}),
    "family-ernie4-5-moe": ("ernie4_5_moe", "Ernie4_5_MoeForCausalLM", {"rope_scaling": None, "moe_layer_start_index": 1, "moe_layer_end_index": -1, "moe_layer_interval": 1}),
    "family-esm": ("esm", "EsmForMaskedLM", {"position_embedding_type": "rotary", "token_dropout": True}),
    "family-falcon-h1": ("falcon_h1", "FalconH1ForCausalLM", {**HYBRID, "mamba_d_ssm": 24, "mamba_n_heads": 6, "mamba_rms_norm": True, "ssm_multipliers": [0.5, 1.5, 0.75, 1.25, 0.8]}),
    "family-falcon-mamba": ("falcon_mamba", "FalconMambaForCausalLM", {"conv_kernel": 4, "state_size": 4, "expand": 2, "intermediate_size": None}),
    "family-flaubert": ("flaubert", "FlaubertWithLMHeadModel", {"pre_norm": True, "causal": False, "n_langs": 1}),
    "family-flex-olmo": ("flex_olmo", "FlexOlmoForCausalLM", {"rope_scaling": None, "num_experts": 3, "num_experts_per_tok": 2}),
    "family-fnet": ("fnet", "FNetForMaskedLM", {}),
    "family-fsmt": ("fsmt", "FSMTForConditionalGeneration", {"src_vocab_size": 48, "tgt_vocab_size": 61, "decoder_attention_heads": 2}),
    "family-funnel": ("funnel", "FunnelForTokenClassification", {"block_sizes": [1, 1], "num_decoder_layers": 1, "d_model": 16, "d_head": 8, "separate_cls": True, "truncate_seq": True, "pool_q_only": True, "pooling_type": "mean"}),
    "family-gemma3": ("gemma3", "Gemma3ForConditionalGeneration", {}),
    "family-gemma3-of-5": ("gemma3", "Gemma3ForConditionalGeneration", {}),
    "family-gemma3-both-ways": ("gemma3_text", "Gemma3TextModel", {"use_bidirectional_attention": True, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"], "head_dim": 8, "rope_scaling": None}),
    "family-gemma3n": ("gemma3n_text", "Gemma3nForCausalLM", {"num_hidden_layers": 4, "layer_types": ["full_attention", "sliding_attention"] * 2, "num_kv_shared_layers": 2, "head_dim": 8, "intermediate_size": [24, 20, 24, 28], "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0], "altup_num_inputs": 2, "sliding_window": 3}),
    "family-gpt-neox-japanese": ("gpt_neox_japanese", "GPTNeoXJapaneseForCausalLM", {"rotary_pct": 0.5}),
    "family-granitemoehybrid": ("granitemoehybrid", "GraniteMoeHybridForCausalLM", {**HYBRID, "layer_types": ["mamba", "attention"]}),
    "family-granitemoeshared": ("granitemoeshared", "GraniteMoeSharedForCausalLM", {"shared_intermediate_size": 12, "rope_scaling": None}),
    "family-hunyuan-moe": ("hunyuan_v1_moe", "HunYuanMoEV1ForCausalLM", {"num_experts": 3, "moe_topk": 1}),
    "family-ibert": ("ibert", "IBertForQuestionAnswering", {"num_labels": 2}),
    "family-jamba": ("jamba", "JambaForCausalLM", {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 3, "num_experts_per_tok": 2, "expert_layer_period": 2, "mamba_d_conv": 4, "mamba_d_state": 4, "mamba_expand": 2}),
    "family-jetmoe": ("jetmoe", "JetMoeForCausalLM", {"num_local_experts": 3, "num_experts_per_tok": 2, "kv_channels": 8}),
    "family-layoutlm": ("layoutlm", "LayoutLMForSequenceClassification", {"max_2d_position_embeddings": 4}),
    "family-lfm2": ("lfm2", "Lfm2ForCausalLM", {"layer_types": ["conv", "full_attention"], "conv_L_cache": 3, "block_auto_adjust_ff_dim": True, "block_multiple_of": 8}),
    "family-llama4": ("llama4_text", "Llama4ForCausalLM", {"rope_scaling": None, "head_dim": 8, "num_local_experts": 3, "interleave_moe_layer_step": 2, "no_rope_layers": [1, 0], "attention_chunk_size": 3, "attn_temperature_tuning": True, "floor_scale": 2, "use_qk_norm": True}),
    "family-longcat-flash": ("longcat_flash", "LongcatFlashForCausalLM", {"rope_scaling": None, "num_layers": 1, "q_lora_rank": 6, "kv_lora_rank": 8, "qk_nope_head_dim": 4, "v_head_dim": 4, "n_routed_experts": 3, "zero_expert_num": 2, "moe_topk": 2, "expert_ffn_hidden_size": 10}),
    "family-longt5": ("longt5", "LongT5ForConditionalGeneration", {"encoder_attention_type": "transient-global", "local_radius": 1, "global_block_size": 2, "num_decoder_layers": 1}),
    "family-luke": ("luke", "LukeForMaskedLM", {"use_entity_aware_attention": True}),
    "family-mamba": ("mamba", "MambaForCausalLM", {"conv_kernel": 4, "state_size": 4, "expand": 2, "intermediate_size": None}),
    "family-mamba2": ("mamba2", "Mamba2ForCausalLM", {"conv_kernel": 4, "state_size": 4, "num_heads": 4, "head_dim": 8, "n_groups": 2, "chunk_size": 4}),
    "family-megatron-bert": ("megatron-bert", "MegatronBertForMaskedLM", {}),
    "family-minimax": ("minimax", "MiniMaxForCausalLM", {"rope_scaling": None, "block_size": 4, "num_local_experts": 3, "num_experts_per_tok": 2, "linear_attn_alpha_factor": 0.7, "mlp_beta_factor": 1.5}),
    "family-mistral3": ("mistral3", "Mistral3ForConditionalGeneration", {}),
    "family-nllb-moe": ("nllb-moe", "NllbMoeForConditionalGeneration", {"decoder_layers": 1, "num_experts": 3, "encoder_sparse_step": 2, "decoder_sparse_step": 1, "router_bias": True}),
    "family-modernbert-decoder": ("modernbert-decoder", "ModernBertDecoderForCausalLM", {"layer_types": ["full_attention", "sliding_attention"], "local_attention": 4}),
    "family-nezha": ("nezha", "NezhaForTokenClassification", {"max_relative_position": 3}),
    "family-nystromformer": ("nystromformer", "NystromformerForSequenceClassification", {"conv_kernel_size": 3}),
    "family-olmoe": ("olmoe", "OlmoeForCausalLM", {"rope_scaling": None}),
    "family-openai-gpt": ("openai-gpt", "OpenAIGPTLMHeadModel", {}),
    "family-perceiver": ("perceiver", "PerceiverForMaskedLM", {"num_latents": 5, "d_latents": 16, "d_model": 16, "num_blocks": 2, "qk_channels": 8, "v_channels": 16, "use_query_residual": True}),
    "family-persimmon": ("persimmon", "PersimmonForCausalLM", {"qk_layernorm": True, "rope_scaling": None}),
    "family-pegasus-x": ("pegasus_x", "PegasusXForConditionalGeneration", {"decoder_layers": 1, "decoder_attention_heads": 2, "num_global_tokens": 2, "block_size": 4, "stagger_local_blocks": True}),
    "family-phimoe": ("phimoe", "PhimoeForCausalLM", {"rope_scaling": None, "num_local_experts": 3, "router_jitter_noise": 0.3}),
    "family-prophetnet": ("prophetnet", "ProphetNetForConditionalGeneration", {"num_decoder_layers": 1, "num_decoder_attention_heads": 2, "ngram": 2, "num_buckets": 4, "relative_max_distance": 17}),
    "family-qwen3-next": ("qwen3_next", "Qwen3NextForCausalLM", {"num_experts": 3, "num_experts_per_tok": 2, "decoder_sparse_step": 1, "mlp_only_layers": [], "linear_num_value_heads": 4, "linear_conv_kernel_dim": 4}),
    "family-recurrent-gemma": ("recurrent_gemma", "RecurrentGemmaForCausalLM", {"block_types": ["recurrent", "attention"], "conv1d_width": 4, "lru_width": None, "hidden_size": 16}),
    "family-rembert": ("rembert", "RemBertForMaskedLM", {"is_decoder": False}),
    "family-roberta-prelayernorm": ("roberta-prelayernorm", "RobertaPreLayerNormForSequenceClassification", {"is_decoder": False}),
    "family-roformer": ("roformer", "RoFormerForSequenceClassification", {"is_decoder": False}),
    "family-splinter": ("splinter", "SplinterForQuestionAnswering", {"question_token_id": 9}),
    "family-switch-transformers": ("switch_transformers", "SwitchTransformersForConditionalGeneration", {"num_layers": 2, "num_decoder_layers": 2, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1, "num_experts": 3, "expert_capacity": 2}),
    "family-t5gemma": ("t5gemma", "T5GemmaForConditionalGeneration", {"tie_word_embeddings": True}),
    "family-xglm": ("xglm", "XGLMForCausalLM", {}),
    "family-xlm": ("xlm", "XLMForSequenceClassification", {"causal": False, "n_langs": 3}),
    "family-xlm-roberta-xl": ("xlm-roberta-xl", "XLMRobertaXLForCausalLM", {"is_decoder": True}),
    "family-xlnet": ("xlnet", "XLNetForTokenClassification", {"attn_type": "bi", "clamp_len": 4}),
    "family-xlnet-lm": ("xlnet", "XLNetLMHeadModel", {"attn_type": "bi", "clamp_len": -1, "mem_len": 4, "use_mems_eval": True, "tie_word_embeddings": True}),
    "family-xmod": ("xmod", "XmodForTokenClassification", {"is_decoder": False, "pre_norm": False, "adapter_layer_norm": False, "adapter_reuse_layer_norm": True, "ln_before_adapter": True, "default_language": "de_DE"}),
    "family-yoso": ("yoso", "YosoForSequenceClassification", {"conv_window": 3, "hash_code_len": 4}),
    "family-rwkv": ("rwkv", "RwkvForCausalLM", {"num_hidden_layers": 3, "rescale_every": 2, "intermediate_size": 24}),
    "family-zamba": ("zamba", "ZambaForCausalLM", {"num_hidden_layers": 4, "attn_layer_period": 1, "n_mamba_heads": 2, "mamba_d_conv": 4, "mamba_d_state": 4}),
    "family-zamba2": ("zamba2", "Zamba2ForCausalLM", {"num_hidden_layers": 4, "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"], "num_mem_blocks": 2, "n_mamba_heads": 4, "mamba_ngroups": 2, "mamba_d_state": 4, "mamba_d_conv": 4, "use_shared_attention_adapter": False, "adapter_rank": 2, "use_mem_rope": True, "use_long_context": False, "add_bias_linear": False, "chunk_size": 8}),
}


# the same, and what config.json says besides in the words of older files; None: the key is not there
OLD_WORDS = {
    "family-bloom-n-embed": ("bloom", "BloomForCausalLM", {}, {"n_embed": 16, "hidden_size": None, "n_head": None, "num_attention_heads": 2, "n_layer": None, "num_hidden_layers": 2}),
    "family-mpt-old-class": ("mpt", "MptForCausalLM", {}, {"architectures": ["MPTForCausalLM"], "n_heads": None, "num_attention_heads": 2, "d_model": None, "hidden_size": 16}),
    "family-phi3-yarn": ("phi3", "Phi3ForCausalLM", {"rope_scaling": {"type": "longrope", "short_factor": [1.5] * 4, "long_factor": [3.0, 4.0, 5.0, 6.0]}, "partial_rotary_factor": 1.0, "original_max_position_embeddings": 16, "max_position_embeddings": 32, "hidden_size": 16, "head_dim": 8},
                         {"rope_scaling": {"type": "yarn", "short_factor": [1.5] * 4, "long_factor": [3.0, 4.0, 5.0, 6.0]}}),
}


def renamed(k):
    """The names of transformers 5.x for a model of images and text."""
    if k.startswith("language_model.model."):
        return "model.language_model." + k[len("language_model.model.") :]
    return k[len("language_model.") :] if k.startswith("language_model.") else "model." + k


def in_old_words(folder, words):
    file = os.path.join(folder, "config.json")
    config = {k: v for k, v in {**json.load(open(file)), **words}.items() if v is not None or k not in words}
    with open(file, "w") as f:
        json.dump(config, f, indent=1, sort_keys=True)


def family(name, of, cls, fixed, words=None):
    r = fresh.Draw(11)
    r.cls = cls
    r.heads, r.kv, r.head_dim, r.hidden, r.layers, r.inter, r.vocab, r.labels = 2, 1, 8, 16, 2, 24, 48, 3
    config = getattr(T, fresh.FAMILIES[of][1])(**{k: v for k, v in {**fresh.FAMILIES[of][2](r), **fixed}.items() if v is not None or k == "rope_scaling"})
    model = tiny(getattr(T, cls), config, torch.float16)
    folder = os.path.join(OUT, name)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.save(model, folder, torch.float16, "safetensors")
    if name.endswith("-of-5"):
        file = os.path.join(folder, "model.safetensors")
        save_file({renamed(k): v for k, v in load_file(file).items()}, file, {"format": "pt"})
    if words:
        in_old_words(folder, words)
    model = getattr(T, cls).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    if of in ("canine", "perceiver"):  # tests/unit/test_tokenizer.c reads it
        getattr(T, of.title() + "Tokenizer")().save_pretrained(folder)
    masked = "attention_mask" in inspect.signature(model.forward).parameters
    inputs = {k: c for k, c in cases().items() if masked or "attention_mask" not in c}
    if model.config.is_encoder_decoder and not cls.endswith(("ForCausalLM", "EncoderModel")):
        for c in inputs.values():
            c["decoder_input_ids"] = c["input_ids"][:, : 1 if of == "prophetnet" else 3]
            c.setdefault("attention_mask", torch.ones_like(c["input_ids"]))
    about = {"class": cls, "stored_dtype": "float16"}
    if of == "xlnet" and cls.endswith("LMHeadModel"):  # whose plain forward asks another question
        about["generation"] = [generation(model, "greedy", do_sample=False), generation(model, "beams", do_sample=False, num_beams=3)]
    fresh.expect(model, inputs, folder, about)


def generation(model, name, **kwargs):
    ids, kwargs = torch.tensor([[9, 21, 40, 7], [33, 12, 5, 18]]), {**kwargs, "max_new_tokens": 9}
    return {"name": name, "inputs": {"input_ids": ids.tolist()}, "kwargs": kwargs, "sequences": model.generate(ids, **kwargs).tolist()}


def main():
    wanted = sys.argv[1:]
    for name, how in {**FAMILIES, **OLD_WORDS}.items():
        if not wanted or name in wanted:
            family(name, *how)
    for name, (pack, about, dtype) in PACKED.items():
        if not wanted or name in wanted:
            packed(name, pack, about, dtype)
    if not wanted or "packed-mxfp4" in wanted:
        mxfp4("packed-mxfp4")
    if not wanted or "nomic_bert-base" in wanted:
        nomic("nomic_bert-base")
    if not wanted or "nomic_bert-stretched" in wanted:
        nomic("nomic_bert-stretched", rotary_scaling_factor=2, max_trained_positions=4, rotary_emb_fraction=0.5, qkv_proj_bias=True, mlp_fc1_bias=True, mlp_fc2_bias=True, n_layer=1)


if __name__ == "__main__":
    main()
