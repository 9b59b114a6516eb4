"""mltf convert: the same weights, bit for bit, as the gguf package unpacks them; the same state dict for every family as the
model the GGUF file was made from; the same tokens as llama.cpp (where llama-cpp-python is there) for every pre-tokenizer."""
import base64, json, os, random, re, subprocess, sys, tempfile, warnings

import numpy as np
import torch
from gguf import (ExpertGatingFuncType, GGMLQuantizationType as Q, GGUFReader, GGUFWriter, PoolingType, RopeScalingType,
                  get_tensor_name_map)
from gguf.constants import GGML_QUANT_SIZES, MODEL_ARCH_NAMES
from gguf.quants import dequantize, quantize
from safetensors.torch import load_file
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))
from record_gguf_blocks import SCALES, random_blocks
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_utils import no_init_weights

try:
    import llama_cpp
    quiet = llama_cpp.llama_log_callback(lambda level, text, user: None)
    llama_cpp.llama_log_set(quiet, None)
except ImportError:
    llama_cpp = None

transformers.logging.set_verbosity_error()
warnings.filterwarnings("ignore")
MLTF, MODELS = os.environ["MLTF"], os.environ["MODELS"]
SMOL = os.path.join(MODELS, "smollm2.gguf")
SHARED = os.environ.get("SHARED", os.path.join("..", "shared"))
MODELS_HERE = os.path.join(SHARED, "fixtures", "models")
work = tempfile.mkdtemp(prefix="mltf-convert-")
failures = 0


def check(ok, what):
    global failures
    if not ok:
        failures += 1
        print("FAIL", what, flush=True)  # llama_cpp turns the output off and on


def convert(path, dtype="float32"):
    out = tempfile.mkdtemp(dir=work)
    r = subprocess.run([MLTF, "convert", path, out, "--torch-dtype", dtype], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    return out


def smol_field(name):
    return smol.fields[name].contents()


smol = GGUFReader(SMOL)
TOKENS, MERGES = smol_field("tokenizer.ggml.tokens"), smol_field("tokenizer.ggml.merges")
TYPES = smol_field("tokenizer.ggml.token_type")


def write_vocab(w, n=None, pre="smollm", **more):
    n = n or len(TOKENS)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre)
    w.add_token_list(TOKENS[:n])
    w.add_token_types(TYPES[:n])
    known = set(TOKENS[:n])
    w.add_token_merges([m for m in MERGES if m.replace(" ", "") in known and all(p in known for p in m.split(" "))])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    for key, value in more.items():
        getattr(w, key)(value)


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


# ---- blocks: random bits in every type
ROWS, COLS = 8, 512
rng = np.random.default_rng(7)


def tiny_llama(path, down=None, vocab=256, write=write_vocab, **more):
    w = GGUFWriter(path, "llama")
    w.add_block_count(1)
    w.add_context_length(64)
    w.add_embedding_length(ROWS)
    w.add_feed_forward_length(COLS)
    w.add_head_count(2)
    w.add_layer_norm_rms_eps(1e-5)
    write(w, **more)
    f32 = lambda *shape: rng.standard_normal(shape, dtype=np.float32)
    w.add_tensor("token_embd.weight", f32(vocab, ROWS))
    w.add_tensor("output_norm.weight", f32(ROWS))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        w.add_tensor(f"blk.0.{name}.weight", f32(ROWS, ROWS))
    for name in ("attn_norm", "ffn_norm"):
        w.add_tensor(f"blk.0.{name}.weight", f32(ROWS))
    for name in ("ffn_gate", "ffn_up"):
        w.add_tensor(f"blk.0.{name}.weight", f32(COLS, ROWS))
    if down:
        w.add_tensor("blk.0.ffn_down.weight", down[1], raw_dtype=down[0])
    else:
        w.add_tensor("blk.0.ffn_down.weight", f32(ROWS, COLS))
    finish(w)


for name in list(SCALES) + ["F16", "BF16"]:
    kind = Q[name]
    if name in SCALES:
        raw = random_blocks(rng, name, (ROWS, COLS // GGML_QUANT_SIZES[kind][0])).reshape(ROWS, -1)
    else:
        raw = (rng.integers(0, 1 << 16, (ROWS, COLS), dtype=np.uint16) & 0xBBFF).view(np.uint8)  # finite
    path = os.path.join(work, f"{name}.gguf")
    tiny_llama(path, (kind, raw), vocab=512, n=512)
    want = dequantize(raw, kind).astype(np.float32)
    got = load_file(os.path.join(convert(path), "model.safetensors"))["model.layers.0.mlp.down_proj.weight"].numpy()
    check(np.array_equal(want.view(np.uint32), got.view(np.uint32)), f"blocks of {name}")

# ---- families: a random model of transformers, written as llama.cpp's converter writes it, and converted back. That the file
# is what llama.cpp expects is seen from its own logits.
V, H, F, L, HEADS, KV = 512, 64, 96, 4, 4, 2
base = dict(vocab_size=V, hidden_size=H, intermediate_size=F, num_hidden_layers=L, num_attention_heads=HEADS,
            num_key_value_heads=KV, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0)
mha = dict(base, num_key_value_heads=HEADS)
scaled = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)
experts = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32)
gpt = dict(vocab_size=V, n_embd=H, n_layer=L, n_head=HEADS, n_positions=128, n_inner=F, bos_token_id=1, eos_token_id=2)
oss = dict(base, head_dim=32, num_local_experts=4, num_experts_per_tok=2, sliding_window=16, rope_theta=150000.0, tie_word_embeddings=False,
           rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32, beta_fast=32.0, beta_slow=1.0,
                             truncate=False))
routed = dict(base, n_routed_experts=8, n_shared_experts=1, num_experts_per_tok=2, moe_intermediate_size=32, first_k_dense_replace=1,
              n_group=1, topk_group=1)
latent = dict(routed, num_key_value_heads=HEADS, q_lora_rank=24, kv_lora_rank=32, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=24,
              rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32, mscale=0.7, mscale_all_dim=0.7))
state = dict(vocab_size=V, hidden_size=H, state_size=16, bos_token_id=1, eos_token_id=2, pad_token_id=0)
FAMILIES = {  # what is tried: architecture in GGUF, model_type of transformers, its settings
    "llama": ("llama", "llama", dict(base, rope_theta=50000.0, rms_norm_eps=1e-5, tie_word_embeddings=False)),
    "llama-bias-tied": ("llama", "llama", dict(base, attention_bias=True, mlp_bias=True, tie_word_embeddings=True)),
    "llama-3": ("llama", "llama", dict(base, hidden_size=128, rope_theta=500000.0, tie_word_embeddings=True, rope_scaling=scaled)),
    "mixtral": ("llama", "mixtral", dict(base, num_local_experts=4, num_experts_per_tok=2, sliding_window=None)),
    "smollm3": ("smollm3", "smollm3", dict(base, rope_theta=2000000.0, tie_word_embeddings=True)),
    "granite": ("granite", "granite", dict(base, embedding_multiplier=12.0, residual_multiplier=0.22,
                                           attention_multiplier=0.1, logits_scaling=8.0)),
    "granitemoe": ("granitemoe", "granitemoe", dict(base, embedding_multiplier=12.0, residual_multiplier=0.22,
                                                    attention_multiplier=0.1, logits_scaling=6.0, num_local_experts=4,
                                                    num_experts_per_tok=2)),
    "granitemoeshared": ("granitemoe", "granitemoeshared", dict(base, embedding_multiplier=12.0, residual_multiplier=0.22,
                                                                attention_multiplier=0.1, logits_scaling=6.0, num_local_experts=4,
                                                                num_experts_per_tok=2, shared_intermediate_size=48)),
    "arcee": ("arcee", "arcee", dict(base)),
    "ernie4_5": ("ernie4_5", "ernie4_5", dict(base, head_dim=16, use_bias=False)),
    "seed_oss": ("seed_oss", "seed_oss", dict(base, head_dim=16, attention_bias=True, attention_out_bias=False)),
    "qwen2": ("qwen2", "qwen2", dict(base, rope_theta=1000000.0)),
    "qwen2moe": ("qwen2moe", "qwen2_moe", dict(base, **experts, shared_expert_intermediate_size=48)),
    "qwen3": ("qwen3", "qwen3", dict(base, head_dim=32)),
    "qwen3moe": ("qwen3moe", "qwen3_moe", dict(base, **experts, head_dim=32, norm_topk_prob=True)),
    "gemma": ("gemma", "gemma", dict(base, head_dim=16)),
    "gemma2": ("gemma2", "gemma2", dict(base, head_dim=16, sliding_window=16, query_pre_attn_scalar=16)),
    "gemma3": ("gemma3", "gemma3_text", dict(base, head_dim=16, sliding_window=16, query_pre_attn_scalar=16,
                                             num_hidden_layers=6)),
    "phi2": ("phi2", "phi", dict(mha, partial_rotary_factor=0.5)),
    "phi3": ("phi3", "phi3", dict(base)),
    "starcoder2": ("starcoder2", "starcoder2", dict(base, use_bias=True, sliding_window=None)),
    "stablelm": ("stablelm", "stablelm", dict(base, partial_rotary_factor=0.5, use_qkv_bias=True)),
    "stablelm-12b": ("stablelm", "stablelm", dict(base, partial_rotary_factor=0.5, qk_layernorm=True, use_parallel_residual=True)),
    "olmo": ("olmo", "olmo", dict(mha, clip_qkv=1.5)),
    "olmo2": ("olmo2", "olmo2", dict(mha)),
    "olmo3": ("olmo2", "olmo3", dict(mha, sliding_window=16)),
    "glm": ("chatglm", "glm", dict(base, head_dim=16, partial_rotary_factor=0.5, attention_bias=True)),
    "glm-joined": ("chatglm", "glm", dict(base, head_dim=16, partial_rotary_factor=0.5, attention_bias=True)),
    "lfm2": ("lfm2", "lfm2", dict(base, layer_types=["conv", "full_attention"] * (L // 2), conv_L_cache=3, block_auto_adjust_ff_dim=False,
                                  tie_word_embeddings=True)),
    "command-r": ("command-r", "cohere", dict(base)),
    "command-r-plus": ("command-r", "cohere", dict(base, use_qk_norm=True)),
    "cohere2": ("cohere2", "cohere2", dict(base, sliding_window=16)),
    "nemotron": ("nemotron", "nemotron", dict(base, partial_rotary_factor=0.5)),
    "glm4": ("glm4", "glm4", dict(base, head_dim=16, partial_rotary_factor=0.5, attention_bias=True)),
    "exaone4": ("exaone4", "exaone4", dict(base, sliding_window=None, layer_types=["full_attention"] * L)),
    "hunyuan": ("hunyuan-dense", "hunyuan_v1_dense", dict(base, head_dim=16)),
    "gpt2": ("gpt2", "gpt2", dict(gpt)),
    "starcoder": ("starcoder", "gpt_bigcode", dict(gpt)),
    "gptneox": ("gptneox", "gpt_neox", dict(mha, rotary_pct=0.25, use_parallel_residual=True)),
    "gptneox-serial": ("gptneox", "gpt_neox", dict(mha, rotary_pct=0.5, use_parallel_residual=False)),
    "bloom": ("bloom", "bloom", dict(vocab_size=V, hidden_size=H, n_layer=L, n_head=HEADS)),
    "mpt": ("mpt", "mpt", dict(vocab_size=V, d_model=H, n_layers=L, n_heads=HEADS, max_seq_len=128,
                               attn_config=dict(alibi=True, clip_qkv=2.0))),
    "falcon": ("falcon", "falcon", dict(vocab_size=V, hidden_size=H, num_hidden_layers=L, num_attention_heads=HEADS)),
    "gpt-oss": ("gpt-oss", "gpt_oss", dict(oss, rope_scaling=None)),
    "gpt-oss-mxfp4": ("gpt-oss", "gpt_oss", dict(oss)),
    "deepseek-v2": ("deepseek2", "deepseek_v2", dict(latent, n_group=1, topk_group=1, routed_scaling_factor=1.0, norm_topk_prob=False,
                                                     q_lora_rank=None)),
    "deepseek-v2-joined": ("deepseek2", "deepseek_v2", dict(latent, n_group=1, topk_group=1, routed_scaling_factor=4.0,
                                                            norm_topk_prob=False, rope_scaling=None)),
    "deepseek-v3": ("deepseek2", "deepseek_v3", dict(latent, n_group=4, topk_group=2, routed_scaling_factor=2.5, norm_topk_prob=True)),
    "deepseek-v3-joined": ("deepseek2", "deepseek_v3", dict(latent, n_group=4, topk_group=2, routed_scaling_factor=2.5,
                                                            norm_topk_prob=True, rope_scaling=None)),
    "dots1": ("dots1", "dots1", dict(routed, num_key_value_heads=HEADS, head_dim=16, routed_scaling_factor=2.5, norm_topk_prob=True, sliding_window=None)),
    "glm4moe": ("glm4moe", "glm4_moe", dict(routed, head_dim=32, routed_scaling_factor=1.5, norm_topk_prob=True, use_qk_norm=True,
                                            attention_bias=True, partial_rotary_factor=0.5)),
    "ernie4_5-moe": ("ernie4_5-moe", "ernie4_5_moe", dict(base, moe_num_experts=4, moe_k=2, moe_intermediate_size=32,
                                                          moe_num_shared_experts=2, moe_layer_start_index=1, use_bias=False)),
    "olmoe": ("olmoe", "olmoe", dict(mha, num_experts=4, num_experts_per_tok=2, norm_topk_prob=False)),
    "mamba": ("mamba", "mamba", dict(state, num_hidden_layers=L)),
    "falcon-mamba": ("mamba", "falcon_mamba", dict(state, num_hidden_layers=L)),
    "mamba2": ("mamba2", "mamba2", dict(state, num_hidden_layers=L, num_heads=8, head_dim=16, n_groups=1, chunk_size=16,
                                        tie_word_embeddings=False)),
    "jamba": ("jamba", "jamba", dict(base, attn_layer_period=2, attn_layer_offset=1, expert_layer_period=2, expert_layer_offset=0,
                                     num_experts=4, num_experts_per_tok=2, use_mamba_kernels=False)),
    "granitehybrid": ("granitehybrid", "granitemoehybrid", dict(
        base, layer_types=["mamba", "attention"] * (L // 2), num_local_experts=4, num_experts_per_tok=2, shared_intermediate_size=48,
        mamba_n_heads=8, mamba_d_head=16, mamba_n_groups=1, mamba_d_state=16, embedding_multiplier=12.0, residual_multiplier=0.22,
        attention_multiplier=0.1, logits_scaling=6.0, position_embedding_type="rope")),
    "granitehybrid-dense": ("granitehybrid", "granitemoehybrid", dict(
        base, layer_types=["mamba", "attention"] * (L // 2), num_local_experts=0, shared_intermediate_size=F, mamba_n_heads=8,
        mamba_d_head=16, mamba_n_groups=1, mamba_d_state=16, position_embedding_type=None)),
    "falcon-40b": ("falcon", "falcon", dict(vocab_size=V, hidden_size=H, num_hidden_layers=L, num_attention_heads=HEADS,
                                            num_kv_heads=2, new_decoder_architecture=True)),
}
OTHERWISE = {  # llama.cpp
    "command-r-plus": "takes it to have 64 layers", "deepseek-v2": "takes only models of 26 or 27 layers to have one projection of q",
    "gpt-oss-mxfp4": "rounds what comes to such weights, and the borders of yarn",
}
PAIRED_ROTARY = {"llama", "smollm3", "granite", "granitemoe", "granitehybrid", "arcee", "olmo"}  # whose queries and keys llama.cpp rearranges
EXPONENT = {"mamba", "mamba2", "jamba", "granitehybrid"}  # in whose files exp(A_log) stands
ONE_PLUS = {"gemma", "gemma2", "gemma3", "nemotron"}
QKV_GROUPS = {"gptneox", "bloom", "falcon"}


def permute(w, heads):
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def ungroup(w, heads, kv):
    """queries, keys, values of one key head together -> all queries, all keys, all values"""
    d = w.shape[0] // (heads + 2 * kv)
    w = w.reshape(kv, heads // kv + 2, d, *w.shape[1:])
    return np.concatenate([w[:, :-2].reshape(-1, *w.shape[3:]), w[:, -2].reshape(-1, *w.shape[3:]), w[:, -1].reshape(-1, *w.shape[3:])])


def taken_apart(name, config, key, a):
    """What of a tensor are several in GGUF: (name there or here, values)"""
    at = re.sub(r"^model\.layers\.(\d+)\..*", r"blk.\1.", key)
    if key.endswith("experts.gate_up_proj"):
        return [(at + "ffn_gate_exps.weight", a[:, :, ::2].swapaxes(1, 2)), (at + "ffn_up_exps.weight", a[:, :, 1::2].swapaxes(1, 2))]
    if key.endswith("experts.gate_up_proj_bias"):
        return [(at + "ffn_gate_exps.bias", a[:, ::2]), (at + "ffn_up_exps.bias", a[:, 1::2])]
    if key.endswith("experts.down_proj"):
        return [(at + "ffn_down_exps.weight", a.swapaxes(1, 2))]
    if key.endswith("experts.down_proj_bias"):
        return [(at + "ffn_down_exps.bias", a)]
    if key.endswith(".sinks"):
        return [(at + "attn_sinks.weight", a)]
    if key.endswith("kv_b_proj.weight") and "joined" not in name:
        per_head = a.reshape(config.num_attention_heads, -1, config.kv_lora_rank)
        return [(at + "attn_k_b.weight", per_head[:, :config.qk_nope_head_dim].swapaxes(1, 2)),
                (at + "attn_v_b.weight", per_head[:, config.qk_nope_head_dim:])]
    if "shared_mlp." in key:
        end = "" if name == "granitehybrid-dense" else "_shexp"
        if "output_linear" in key:
            return [(at + f"ffn_down{end}.weight", a)]
        gate, up = np.split(a, 2)
        return [(at + f"ffn_gate{end}.weight", gate), (at + f"ffn_up{end}.weight", up)]
    at_state = re.sub(r"^(backbone|model)\.layers\.(\d+)\..*", r"blk.\2.", key)
    grouped = getattr(config, "n_groups", None) or getattr(config, "mamba_n_groups", None)  # mamba-2
    if key.endswith(".A_log"):
        return [(at_state + "ssm_a", -np.exp(a)[:, None] if grouped else -np.exp(a))]
    if key.endswith((".mixer.D", ".mamba.D")):
        return [(at_state + "ssm_d", a[:, None] if grouped else a)]
    if key.endswith(".dt_bias"):
        return [(at_state + "ssm_dt.bias", a)]
    if key.endswith("conv1d.weight"):
        a = a[:, 0]
    if grouped and key.endswith((".mixer.norm.weight", ".mamba.norm.weight")):
        return [(at_state + "ssm_norm.weight", a.reshape(grouped, -1))]
    if key.endswith("conv.conv.weight"):
        a = a[:, 0]
    if "input_linear" in key:
        gate, up = np.split(a, 2, axis=1)
        return [(key.replace("input_linear", "gate_exps"), gate), (key.replace("input_linear", "up_exps"), up)]
    if key.endswith(("e_score_correction_bias", "shared_expert_gate.weight")):
        a = a.reshape(-1)
    return [(key, a)]


def gguf_tensors(name, config, state, heads, kv):
    """name in transformers, without a number of an expert, or in GGUF; and values as GGUF has them"""
    arch = FAMILIES[name][0]
    stacks, joined = {}, {}
    for key, t in state.items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        a = t.detach().float().numpy()
        if arch in PAIRED_ROTARY and (".q_proj." in key or ".k_proj." in key):
            a = permute(a, heads if ".q_proj." in key else kv)
        if arch in QKV_GROUPS and ".query_key_value." in key:
            a = ungroup(a, heads, kv)
        if arch == "gpt2" and key.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
            a = a.T
        if arch in ONE_PLUS and key.endswith("norm.weight"):
            a = a + np.float32(1)
        if name == "glm-joined" and re.search("[qkv]_proj", key):
            stacked = re.sub(r"^model\.layers\.(\d+)\..*(weight|bias)$", r"blk.\1.attn_qkv.\2", key)
            joined.setdefault(stacked, []).append(a)
            continue
        number = re.search(r"\.(experts|norms)\.(\d+)\.", key)
        if number:
            stacked = key.replace(number.group(0), f".{number.group(1)}." if number.group(1) == "experts" else ".")
            stacks.setdefault(stacked, []).append(a)
        else:
            yield from taken_apart(name, config, key, a)
    for key, parts in stacks.items():
        yield key, np.stack(parts)
    for key, parts in joined.items():
        yield key, np.concatenate(parts)


OWN_NAMES = {  # names that the gguf package's table lacks, or has for another use
    "block_sparse_moe.gate_exps.weight": "ffn_gate_exps.weight", "block_sparse_moe.up_exps.weight": "ffn_up_exps.weight",
    "block_sparse_moe.output_linear.weight": "ffn_down_exps.weight", "block_sparse_moe.router.layer.weight": "ffn_gate_inp.weight",
    "self_attn.q_layernorm.weight": "attn_q_norm.weight", "self_attn.k_layernorm.weight": "attn_k_norm.weight",
    "e_score_correction_bias": "exp_probs_b.bias",
    "word_embeddings_layernorm.weight": "token_embd_norm.weight", "word_embeddings_layernorm.bias": "token_embd_norm.bias",
}


def write_family(name, path, config, model):
    arch, _, settings = FAMILIES[name]
    text = config
    layers = getattr(text, "num_hidden_layers", L)
    heads = getattr(text, "num_attention_heads", 0)
    recurrent = hasattr(text, "state_size") or hasattr(text, "mamba_d_state")
    kv = getattr(text, "num_kv_heads", None) or getattr(text, "num_key_value_heads", None) or heads
    if arch == "falcon":
        kv = 1 if text.multi_query and not text.new_decoder_architecture else text.num_kv_heads
    if arch == "starcoder":
        kv = 1
    if arch in ("gptneox", "bloom", "mpt"):
        kv = heads
    if arch == "deepseek2" and "joined" not in name:  # the cache holds latents
        kv = 1
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // (heads or 1)
    names = get_tensor_name_map(next(k for k, v in MODEL_ARCH_NAMES.items() if v == arch), layers)
    w = GGUFWriter(path, arch)
    w.add_block_count(layers)
    w.add_context_length(128)
    w.add_embedding_length(text.hidden_size)
    w.add_feed_forward_length(4 * H if arch in ("bloom", "mpt", "falcon") else F)
    w.add_head_count(heads)
    kinds = getattr(text, "layers_block_type", None) or getattr(text, "layer_types", None) or []
    w.add_head_count_kv([kv * ("attention" in kind) for kind in kinds] if recurrent and heads or arch == "lfm2" else kv)
    if arch == "lfm2":
        w.add_vocab_size(V)
        w.add_shortconv_l_cache(text.conv_L_cache)
    if recurrent:
        inner = H * (getattr(text, "expand", None) or text.mamba_expand)
        w.add_ssm_conv_kernel(getattr(text, "conv_kernel", None) or text.mamba_d_conv)
        w.add_ssm_inner_size(inner)
        w.add_ssm_state_size(getattr(text, "state_size", None) or text.mamba_d_state)
        two = getattr(text, "num_heads", None) or getattr(text, "mamba_n_heads", None)
        w.add_ssm_time_step_rank(two or getattr(text, "time_step_rank", None) or text.mamba_dt_rank)
        if two:
            w.add_ssm_group_count(getattr(text, "n_groups", None) or text.mamba_n_groups)
        w.add_ssm_dt_b_c_rms(name == "falcon-mamba")
    if arch == "granitehybrid":
        w.add_rope_scaling_finetuned(text.position_embedding_type == "rope")
    if arch not in ("gpt2", "starcoder", "bloom", "mpt") and heads:
        rotated = getattr(text, "qk_rope_head_dim", None) or int(head_dim * (getattr(text, "partial_rotary_factor", None) or getattr(text, "rotary_pct", None) or 1))
        w.add_rope_dimension_count(rotated)
        w.add_rope_freq_base(float(getattr(text, "rope_theta", 10000.0)))
    if "head_dim" in settings:
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
    w.add_layer_norm_rms_eps(getattr(text, "rms_norm_eps", None) or getattr(text, "norm_eps", None) or getattr(text, "layer_norm_epsilon", 1e-5))
    eps = [getattr(text, k) for k in ("norm_epsilon", "norm_eps", "layer_norm_eps", "layer_norm_epsilon") if hasattr(text, k)]
    w.add_layer_norm_eps(eps[0] if eps else 1e-5)
    if settings.get("sliding_window"):
        w.add_sliding_window(settings["sliding_window"])
    if arch == "gemma2":
        w.add_attn_logit_softcapping(50.0)
        w.add_final_logit_softcapping(30.0)
    if arch.startswith("granite"):
        w.add_embedding_scale(text.embedding_multiplier)
        w.add_residual_scale(text.residual_multiplier)
        w.add_attention_scale(text.attention_multiplier)
        w.add_logit_scale(text.logits_scaling)
    if arch in ("command-r", "cohere2"):
        w.add_logit_scale(text.logit_scale)
    if arch == "olmo" or arch == "mpt":
        w.add_clamp_kqv(settings.get("clip_qkv") or settings["attn_config"]["clip_qkv"])
    if arch == "mpt":
        w.add_max_alibi_bias(8.0)
    if arch == "gptneox":
        w.add_parallel_residual(text.use_parallel_residual)
    if arch == "stablelm":
        w.add_parallel_residual(text.use_parallel_residual)
    scaling = getattr(text, "rope_scaling", None) or {}
    if scaling.get("rope_type") == "yarn":
        w.add_rope_scaling_type(RopeScalingType.YARN)
        w.add_rope_scaling_factor(scaling["factor"])
        w.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
        if "mscale_all_dim" in scaling:
            w.add_rope_scaling_yarn_log_mul(0.1 * scaling["mscale_all_dim"])
    if arch == "deepseek2":
        joined = "joined" in name
        w.add_kv_lora_rank(text.kv_lora_rank)
        if text.q_lora_rank:
            w.add_q_lora_rank(text.q_lora_rank)
        keys, values = text.qk_nope_head_dim + text.qk_rope_head_dim, text.v_head_dim
        w.add_key_length(keys if joined else text.kv_lora_rank + text.qk_rope_head_dim)
        w.add_value_length(values if joined else text.kv_lora_rank)
        if not joined:
            w.add_key_length_mla(keys)
            w.add_value_length_mla(values)
    if hasattr(text, "n_routed_experts"):
        v2 = text.model_type == "deepseek_v2"
        w.add_expert_shared_count(text.n_shared_experts)
        w.add_expert_weights_scale(text.routed_scaling_factor)
        w.add_expert_weights_norm(text.norm_topk_prob)
        w.add_expert_gating_func(ExpertGatingFuncType.SOFTMAX if v2 else ExpertGatingFuncType.SIGMOID)
        w.add_leading_dense_block_count(text.first_k_dense_replace)
        if text.n_group > 1:
            w.add_expert_group_count(text.n_group)
            w.add_expert_group_used_count(text.topk_group)
    if arch == "ernie4_5-moe":
        w.add_leading_dense_block_count(text.moe_layer_start_index)
        w.add_interleave_moe_layer_step(text.moe_layer_interval)
        w.add_expert_shared_feed_forward_length(text.moe_intermediate_size * text.moe_num_shared_experts)
    found = [getattr(text, k) for k in ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts") if getattr(text, k, 0)]
    if found:
        w.add_expert_count(found[0])
        w.add_expert_used_count(getattr(text, "num_experts_per_tok", None) or text.moe_k)
        if arch == "gpt-oss":
            w.add_expert_feed_forward_length(text.intermediate_size)
        if hasattr(text, "moe_intermediate_size"):
            w.add_expert_feed_forward_length(text.moe_intermediate_size)
        shared = getattr(text, "shared_expert_intermediate_size", None) or getattr(text, "shared_intermediate_size", None)
        if shared:
            w.add_expert_shared_feed_forward_length(shared)
    write_vocab(w, V)
    if name == "llama-3":
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
        factors, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
        plain = 1.0 / (config.rope_theta ** (torch.arange(0, 32, 2).float() / 32))
        w.add_tensor("rope_freqs.weight", (plain / factors).numpy().astype(np.float32))
    for key, a in gguf_tensors(name, config, model.state_dict(), heads, kv):
        if key.startswith("blk."):
            packed = "mxfp4" in name and key.endswith("_exps.weight")
            w.add_tensor(key, quantize(np.ascontiguousarray(a), Q.MXFP4) if packed else np.ascontiguousarray(a),
                         raw_dtype=Q.MXFP4 if packed else None)
            continue
        end = next((e for e in OWN_NAMES if key.endswith(e)), None)
        if end:
            layer = re.search(r"\.(\d+)\.", key)
            target = (f"blk.{layer.group(1)}." if layer else "") + OWN_NAMES[end]
        else:
            target = names.get_name(key, try_suffixes=(".weight", ".bias")) or names.get_name(
                key.removeprefix("transformer."), try_suffixes=(".weight", ".bias"))
        assert target, f"{name}: {key} has no name in GGUF"
        w.add_tensor(target, np.ascontiguousarray(a))
    finish(w)


def largest_difference(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


for name, (arch, model_type, settings) in FAMILIES.items():
    if sys.argv[1:] and name not in sys.argv[1:]:
        continue
    torch.manual_seed(3)
    config = transformers.AutoConfig.for_model(model_type, **settings)
    with no_init_weights():  # its initialization fails on StableLM's norms
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    model.tie_weights()
    with torch.no_grad():
        for key, p in model.named_parameters():
            p.copy_(torch.randn_like(p) * 0.1 + ("norm" in key and key.endswith("weight") and arch not in ONE_PLUS))
            if "mxfp4" in name and key.endswith("_proj") and "experts" in key:  # what its blocks can say
                turned = p.swapaxes(1, 2).numpy().copy()
                p.copy_(torch.from_numpy(dequantize(quantize(turned, Q.MXFP4), Q.MXFP4)).swapaxes(1, 2))
    path = os.path.join(work, name + ".gguf")
    write_family(name, path, config, model)
    ids = torch.arange(3, 43)[None] * 7 % V
    with torch.no_grad():
        want = model(ids).logits[0]
    if llama_cpp and name not in OTHERWISE:
        ll = llama_cpp.Llama(path, n_ctx=64, n_batch=64, logits_all=True, verbose=False, type_k=0, type_v=0, flash_attn=False)
        ll.eval(ids[0].tolist())
        theirs = torch.tensor(np.array(ll.scores[:len(ids[0])]))
        ll.close()
        check(largest_difference(theirs, want) <= 2e-3, f"{name}: llama.cpp reads the file otherwise, by {largest_difference(theirs, want)}")
    back, info = AutoModelForCausalLM.from_pretrained(convert(path), dtype=torch.float32, output_loading_info=True)
    check(not any(info.values()), f"{name}: {info}")
    mine, original = back.float().eval().state_dict(), model.state_dict()
    check(mine.keys() == original.keys(), f"{name}: names")
    with torch.no_grad():
        got = back(ids).logits[0]
    exact = all(torch.equal(mine[k], original[k]) for k in original) or arch in ONE_PLUS | EXPONENT  # which rounds
    check(exact and largest_difference(got, want) <= 2e-5, f"{name}: logits differ by {largest_difference(got, want)}")

# ---- T5: both sides, or the encoder alone, with a SentencePiece unigram vocabulary and the rules of its normalizer
def unigram_vocab(w, folder, roberta=False, size=None):
    """A tokenizer.json of the unigram kind, as llama.cpp's converter writes its SentencePiece model."""
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as f:
        t = json.load(f)
    pieces = t["model"]["vocab"][:size]
    used = len(pieces)
    pieces += [(f"[PAD{i}]", -1000.0) for i in range(used, size or 0)]
    special = {a["content"] for a in t["added_tokens"]}
    w.add_tokenizer_model("t5")
    w.add_tokenizer_pre("default")
    w.add_token_list([p for p, _ in pieces])
    w.add_token_scores([s for _, s in pieces])
    w.add_token_types([5 if i >= used else 2 if i == t["model"]["unk_id"] else 3 if p in special else 1
                       for i, (p, _) in enumerate(pieces)])
    w.add_add_space_prefix(True)  # as their SentencePiece models have it, though not every tokenizer.json
    w.add_remove_extra_whitespaces(True)
    w.add_precompiled_charsmap(base64.b64decode(t["normalizer"]["normalizers"][0]["precompiled_charsmap"]))
    ids = {p: i for i, (p, _) in enumerate(pieces)}
    for key, token in (("unk", "<unk>"), ("eos", "</s>"), ("pad", "<pad>"), ("bos", "<s>"), ("sep", "</s>" if roberta else None),
                       ("mask", "<mask>")):
        if token in ids:
            getattr(w, f"add_{key}_token_id")(ids[token])
    w.add_add_bos_token(roberta)
    w.add_add_eos_token(True)


def write_t5(path, arch, config, state, folder):
    w = GGUFWriter(path, arch)
    w.add_context_length(512)
    w.add_embedding_length(config.d_model)
    w.add_feed_forward_length(config.d_ff)
    w.add_block_count(config.num_layers)
    if arch == "t5":
        w.add_decoder_block_count(config.num_decoder_layers)
        w.add_decoder_start_token_id(0)
    w.add_head_count(config.num_heads)
    w.add_key_length(config.d_kv)
    w.add_value_length(config.d_kv)
    w.add_layer_norm_eps(config.layer_norm_epsilon)
    w.add_layer_norm_rms_eps(config.layer_norm_epsilon)
    w.add_relative_attn_buckets_count(config.relative_attention_num_buckets)
    unigram_vocab(w, folder, size=config.vocab_size)
    names = get_tensor_name_map(next(k for k, v in MODEL_ARCH_NAMES.items() if v == arch), max(config.num_layers, config.num_decoder_layers))
    for key, t in state.items():
        if key.endswith("embed_tokens.weight") or key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        w.add_tensor(names.get_name(key, try_suffixes=(".weight",)), t.float().numpy())
    finish(w)


for name in ("t5-base", "t5-flan-style", "umt5-base", "mt5-base", "t5-encoder-only") if os.path.isdir(MODELS_HERE) else ():
    folder = os.path.join(MODELS_HERE, name)
    encoder = name == "t5-encoder-only"
    load = transformers.T5EncoderModel.from_pretrained if encoder else transformers.AutoModelForSeq2SeqLM.from_pretrained
    model = load(folder, dtype=torch.float32, relative_attention_max_distance=128).eval()  # which GGUF has no place for
    path = os.path.join(work, name + ".gguf")
    write_t5(path, "t5encoder" if encoder else "t5", model.config, model.state_dict(), folder)
    back, info = (transformers.AutoModelForTextEncoding if encoder else transformers.AutoModelForSeq2SeqLM).from_pretrained(
        convert(path), dtype=torch.float32, output_loading_info=True)
    check(not any(info.values()), f"{name}: {info}")
    original, mine = model.state_dict(), back.eval().state_dict()
    check(all(torch.equal(mine[k], original[k]) for k in original), f"{name}: weights")
    ids = torch.arange(3, 43)[None] * 7 % model.config.vocab_size
    with torch.no_grad():
        a, b = (m(ids, **({} if encoder else {"decoder_input_ids": ids[:, :9]}))[0] for m in (model, back))
    check(torch.equal(a, b), f"{name}: answers differ by {(a - b).abs().max()}")
    if llama_cpp and not encoder:
        ll = llama_cpp.Llama(path, n_ctx=64, n_batch=64, logits_all=True, verbose=False, type_k=0, type_v=0, flash_attn=False)
        batch = llama_cpp.llama_batch_init(64, 0, 1)
        def fill(tokens):
            batch.n_tokens = len(tokens)
            for i, token in enumerate(tokens):
                batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
                batch.seq_id[i][0] = 0
        fill(ids[0].tolist())
        assert llama_cpp.llama_encode(ll.ctx, batch) == 0
        fill(ids[0, :9].tolist())
        assert llama_cpp.llama_decode(ll.ctx, batch) == 0
        theirs = torch.tensor(np.ctypeslib.as_array(llama_cpp.llama_get_logits(ll.ctx), (9, model.config.vocab_size)).copy())
        llama_cpp.llama_batch_free(batch)
        ll.close()
        if model.config.tie_word_embeddings:
            theirs = theirs * model.config.d_model ** -0.5  # which llama.cpp leaves out
        check(largest_difference(theirs, a[0]) <= 2e-3, f"{name}: llama.cpp reads the file otherwise, by {largest_difference(theirs, a[0])}")

# ---- an embedding model: the real MiniLM as llama.cpp's converter writes it
def wordpiece_vocab(w, tok):
    pieces = tok.convert_ids_to_tokens(range(len(tok)))
    special = set(tok.all_special_tokens)
    w.add_tokenizer_model("bert")
    w.add_tokenizer_pre("default")
    w.add_token_list([p if p in special else p[2:] if p.startswith("##") else "\u2581" + p for p in pieces])
    w.add_token_types([3 if p in special else 1 for p in pieces])
    for key, token in (("unk", tok.unk_token_id), ("sep", tok.sep_token_id), ("pad", tok.pad_token_id), ("bos", tok.cls_token_id),
                       ("mask", tok.mask_token_id)):
        getattr(w, f"add_{key}_token_id")(token)


mini = os.path.join(MODELS, "minilm")
tok = AutoTokenizer.from_pretrained(mini)
bert = transformers.AutoModel.from_pretrained(mini, dtype=torch.float32).eval()
path = os.path.join(work, "bert.gguf")
w = GGUFWriter(path, "bert")
c = bert.config
w.add_block_count(c.num_hidden_layers)
w.add_context_length(c.max_position_embeddings)
w.add_embedding_length(c.hidden_size)
w.add_feed_forward_length(c.intermediate_size)
w.add_head_count(c.num_attention_heads)
w.add_layer_norm_eps(c.layer_norm_eps)
w.add_causal_attention(False)
w.add_pooling_type(PoolingType.MEAN)
w.add_token_type_count(c.type_vocab_size)
wordpiece_vocab(w, tok)
names = get_tensor_name_map(next(k for k, v in MODEL_ARCH_NAMES.items() if v == "bert"), c.num_hidden_layers)
for key, t in bert.state_dict().items():
    if not key.startswith("pooler.") and "position_ids" not in key:
        w.add_tensor(names.get_name(key, try_suffixes=(".weight", ".bias")), t.float().numpy())
finish(w)
folder = convert(path)
mine, info = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
check(all(k.startswith("pooler.") for k in info["missing_keys"]) and not info["unexpected_keys"], f"bert: {info}")
check(all(torch.equal(v, bert.state_dict()[k]) for k, v in mine.state_dict().items() if not k.startswith("pooler.")), "bert: weights")
mine_tok = AutoTokenizer.from_pretrained(folder)
texts = ["Hello WORLD, it's me!", "naïve café 漢字", "unbelievably   long\ttext", "", "[MASK] of a [SEP] thing"]
check(all(mine_tok(x)["input_ids"] == tok(x)["input_ids"] for x in texts), "bert: tokens")
check(mine_tok("a b", "c d") == tok("a b", "c d"), "bert: pairs")
said = subprocess.run([MLTF, "models", "predict", "-m", folder], input=json.dumps({"inputs": [texts[0]]}), capture_output=True, text=True)
check(said.returncode == 0, f"bert: {said.stderr}")
if llama_cpp:
    ll = llama_cpp.Llama(path, embedding=True, n_ctx=128, verbose=False)
    theirs = np.array(ll.embed(texts[0]))
    ll.close()
    with torch.no_grad():
        ours = mine(**mine_tok(texts[0], return_tensors="pt")).last_hidden_state[0].mean(0).numpy()
    check(np.abs(theirs - ours).max() <= 1e-2 * np.abs(ours).max(), f"bert: llama.cpp embeds otherwise, {np.abs(theirs - ours).max()}")

# ---- other encoders: a recorded checkpoint, the tensors that llama.cpp's converter takes of it, and back
def gpt2_vocab(w, folder, pre):
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as f:
        t = json.load(f)
    added = {a["content"]: a["id"] for a in t["added_tokens"]}
    pieces = sorted({**t["model"]["vocab"], **added}.items(), key=lambda x: x[1])
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre)
    w.add_token_list([p for p, _ in pieces])
    w.add_token_types([3 if p in added else 1 for p, _ in pieces])
    w.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in t["model"]["merges"]])
    for key, tokens in (("bos", ("<s>", "[CLS]")), ("eos", ("</s>", "[SEP]")), ("unk", ("<unk>", "[UNK]")), ("sep", ("</s>", "[SEP]")),
                        ("pad", ("<pad>", "[PAD]")), ("mask", ("<mask>", "[MASK]"))):
        for token in tokens:
            if token in added:
                getattr(w, f"add_{key}_token_id")(added[token])
    w.add_add_bos_token(True)
    w.add_add_eos_token(True)


def write_encoder(path, arch, config, state, vocab):
    w = GGUFWriter(path, arch)
    offset = 2 if config.model_type in ("roberta", "xlm-roberta") else 0
    w.add_context_length(config.max_position_embeddings - offset)
    w.add_embedding_length(config.hidden_size)
    w.add_feed_forward_length(getattr(config, "hidden_dim", None) or config.intermediate_size)
    w.add_block_count(config.num_hidden_layers)
    w.add_head_count(config.num_attention_heads)
    w.add_layer_norm_eps(getattr(config, "layer_norm_eps", None) or getattr(config, "norm_eps", 1e-12))
    w.add_causal_attention(False)
    labels = any(k.startswith("classifier.") for k in state)
    w.add_pooling_type(PoolingType.RANK if labels else PoolingType.MEAN)
    if labels:
        w.add_classifier_output_labels([config.id2label[i] for i in range(config.num_labels)])
    if arch == "modern-bert":
        w.add_rope_freq_base(config.global_rope_theta)
        w.add_rope_freq_base_swa(config.local_rope_theta)
        w.add_sliding_window(config.local_attention)
        w.add_vocab_size(config.vocab_size)
    else:
        w.add_token_type_count(getattr(config, "type_vocab_size", 1))
    vocab(w)
    names = get_tensor_name_map(next(k for k, v in MODEL_ARCH_NAMES.items() if v == arch), config.num_hidden_layers)
    for key, t in state.items():
        key = key.removeprefix("roberta.")
        if key.startswith(("pooler.", "lm_head.", "head.", "decoder.")) or "position_ids" in key or "token_type_ids" in key:
            continue
        a = t.float().numpy()
        target = names.get_name(key.removeprefix("model."), try_suffixes=(".weight", ".bias"))
        w.add_tensor(target, np.ascontiguousarray(a[offset:] if "position_embeddings" in key else a))
    finish(w)


ENCODERS = {  # a recorded checkpoint: class, architecture in GGUF, its vocabulary
    "distilbert-base": ("AutoModel", "bert", lambda w, d: wordpiece_vocab(w, AutoTokenizer.from_pretrained(d))),
    "roberta-mlm": ("AutoModel", "bert", lambda w, d: gpt2_vocab(w, d, "roberta-bpe")),
    "roberta-seqcls": ("AutoModelForSequenceClassification", "bert", lambda w, d: gpt2_vocab(w, d, "roberta-bpe")),
    "xlm-roberta-mlm": ("AutoModel", "bert", lambda w, d: unigram_vocab(w, d, roberta=True)),
    "xlm-roberta-nli": ("AutoModelForSequenceClassification", "bert", lambda w, d: unigram_vocab(w, d, roberta=True)),
    "modernbert-mlm": ("AutoModel", "modern-bert", lambda w, d: gpt2_vocab(w, d, "modern-bert")),
}
for name, (auto, arch, vocab) in ENCODERS.items() if os.path.isdir(MODELS_HERE) else ():
    folder = os.path.join(MODELS_HERE, name)
    load = getattr(transformers, auto).from_pretrained
    model = load(folder, dtype=torch.float32).eval()
    path = os.path.join(work, name + ".gguf")
    write_encoder(path, arch, model.config, model.state_dict(), lambda w: vocab(w, folder))
    out = convert(path)
    back, info = load(out, dtype=torch.float32, output_loading_info=True)
    check(all(k.startswith("pooler.") for k in info["missing_keys"]) and not info["unexpected_keys"], f"{name}: {info}")
    check(back.config.id2label == model.config.id2label, f"{name}: labels {back.config.id2label}")
    tok, mine_tok = AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(out)
    for x in (*texts, "a <mask> b", "  two  spaces "):
        check(mine_tok(x)["input_ids"] == tok(x)["input_ids"], f"{name}: {x!r} is {mine_tok(x)['input_ids']}, was {tok(x)['input_ids']}")
    check(mine_tok("a b", "c d")["input_ids"] == tok("a b", "c d")["input_ids"], f"{name}: pairs")
    with torch.no_grad():
        a, b = (m.eval()(**tok(texts[0], return_tensors="pt"))[0] for m in (model, back))
    check(torch.equal(a, b), f"{name}: answers differ by {(a - b).abs().max()}")
    said = subprocess.run([MLTF, "models", "predict", "-m", out], input=json.dumps({"inputs": [texts[0]]}), capture_output=True, text=True)
    check(said.returncode == 0, f"{name}: {said.stderr}")
    if llama_cpp and auto == "AutoModel":
        ll = llama_cpp.Llama(path, embedding=True, n_ctx=128, verbose=False)
        theirs, same = np.array(ll.embed(texts[0])), ll.tokenize(texts[0].encode(), add_bos=True) == tok(texts[0])["input_ids"]
        ll.close()
        ours = a[0].mean(0).numpy()
        check(same, f"{name}: llama.cpp's tokens are others")
        check(np.abs(theirs - ours).max() <= 1e-2 * np.abs(ours).max(), f"{name}: llama.cpp embeds otherwise, {np.abs(theirs - ours).max()}")

# NomicBERT is no class of transformers: the tensors come back as they were
nomic = os.path.join(HERE, "..", "fixtures", "models", "nomic_bert-base")
path = os.path.join(work, "nomic.gguf")
w = GGUFWriter(path, "nomic-bert")
with open(os.path.join(nomic, "config.json"), encoding="utf-8") as f:
    c = json.load(f)
w.add_context_length(c["n_positions"])
w.add_embedding_length(c["n_embd"])
w.add_feed_forward_length(256)
w.add_block_count(c["n_layer"])
w.add_head_count(c["n_head"])
w.add_layer_norm_eps(c["layer_norm_epsilon"])
w.add_rope_freq_base(float(c["rotary_emb_base"]))
w.add_token_type_count(c["type_vocab_size"])
w.add_causal_attention(False)
w.add_pooling_type(PoolingType.MEAN)
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + ["\u2581" + chr(97 + i % 26) * (1 + i // 26) for i in range(43)]
w.add_tokenizer_model("bert")
w.add_token_list(words)
w.add_token_types([3] * 5 + [1] * 43)
for i, key in enumerate(("pad", "unk", "bos", "sep", "mask")):
    getattr(w, f"add_{key}_token_id")(i)
names = get_tensor_name_map(next(k for k, v in MODEL_ARCH_NAMES.items() if v == "nomic-bert"), c["n_layer"])
state = load_file(os.path.join(nomic, "model.safetensors"))
state = {k.removeprefix("bert."): t for k, t in state.items() if "position_ids" not in k}
for key, t in state.items():
    target = names.get_name(key, try_suffixes=(".weight", ".bias"))
    check(target, f"nomic-bert: {key}")
    w.add_tensor(target, t.float().numpy())
finish(w)
out = convert(path)
mine = load_file(os.path.join(out, "model.safetensors"))
check(mine.keys() == state.keys() and all(torch.equal(mine[k], state[k].float()) for k in mine), "nomic-bert: weights")
said = subprocess.run([MLTF, "models", "predict", "-m", out], input=json.dumps({"inputs": ["a bb c"]}), capture_output=True, text=True)
check(said.returncode == 0, f"nomic-bert: {said.stderr}")
if llama_cpp:
    ll = llama_cpp.Llama(path, embedding=True, n_ctx=32, verbose=False)
    theirs = np.array(ll.embed("a bb c"))
    ll.close()
    ours = np.mean(json.loads(said.stdout)["predictions"], axis=0)  # a row a token
    check(np.abs(theirs - ours).max() <= 1e-2 * np.abs(ours).max(), f"nomic-bert: llama.cpp embeds otherwise, {np.abs(theirs - ours).max()}")

# ---- tokens
random.seed(5)
ALPHABET = "abcXYZs 0123456789  \n\t\r.,!?'\"()[]-_/é漢字ひらがな가😀\u0301ßѲ٣\u00a0\u2028"
TEXTS = ["Hello world", "1234567 89", "  leading\n\n\ttabs ", "don't I'LL we've I'M", "日本語テキスト 漢字", "émojis 😀😃 👨‍👩‍👧",
         "<|im_start|>user\nhi<|im_end|>\n", "x=1+2*3;  // c\r\n", "Ⅷ ² ½ ٣٤٥", "a" * 50, "   ", "\n\n\n", "CamelCase HTTPServer"]
TEXTS += ["".join(random.choice(ALPHABET) for _ in range(random.randint(1, 60))) for _ in range(200)]


# where llama.cpp itself is not exact: it has no NFC, its own code for \\p{M}, and no ranges of characters in a class
INEXACT = {"deepseek-llm": "\u2028", "qwen2": "\u0301", "tekken": "\u0301", "gpt-4o": "\u0301", "deepseek-coder": "\u2028"}


def same_tokens(path, checkpoint, what, without=""):
    tok = AutoTokenizer.from_pretrained(checkpoint)
    ll = llama_cpp.Llama(path, vocab_only=True, verbose=False)
    for text in TEXTS:
        text = "".join(c for c in text if c not in without)
        mine = tok(text)["input_ids"]
        theirs = ll.tokenize(text.encode(), add_bos=True, special=True)
        if mine != theirs:
            check(False, f"{what}: {text!r} is {mine}, llama.cpp says {theirs}")
            return


if llama_cpp:
    same_tokens(SMOL, convert(SMOL, "bfloat16"), "SmolLM2")
    for pre in ("gpt-2", "smollm", "starcoder", "llama-bpe", "dbrx", "qwen2", "stablelm2", "tekken", "gpt-4o", "falcon",
                "deepseek-coder", "deepseek-llm", "deepseek-v3", "seed-coder", "bloom", "default"):
        for bos in (None, False, True):
            path = os.path.join(work, f"{pre}-{bos}.gguf")
            tiny_llama(path, vocab=len(TOKENS), pre=pre, **({} if bos is None else {"add_add_bos_token": bos}))
            same_tokens(path, convert(path), f"pre-tokenizer {pre}, add_bos_token {bos}", INEXACT.get(pre, ""))
    model = os.path.join(SHARED, "fixtures", "tokenizers", "_sentencepiece", "bpe-llama")
    pieces = [f for f in os.listdir(model) if f.endswith(".model")] if os.path.isdir(model) else []
    if pieces:
        import sentencepiece
        sp = sentencepiece.SentencePieceProcessor(os.path.join(model, pieces[0]))

        def write_pieces(w, prefix):
            n = sp.vocab_size()
            w.add_tokenizer_model("llama")
            w.add_token_list([sp.id_to_piece(i) for i in range(n)])
            w.add_token_scores([sp.get_score(i) for i in range(n)])
            w.add_token_types([2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 1 for i in range(n)])
            w.add_bos_token_id(sp.bos_id())
            w.add_eos_token_id(sp.eos_id())
            w.add_unk_token_id(sp.unk_id())
            w.add_add_space_prefix(prefix)

        for prefix in (True, False):
            path = os.path.join(work, f"spm-{prefix}.gguf")
            tiny_llama(path, vocab=sp.vocab_size(), write=write_pieces, prefix=prefix)
            same_tokens(path, convert(path), f"sentencepiece, add_space_prefix {prefix}")
    for name in ("umt5-base", "xlm-roberta-mlm") if os.path.isdir(MODELS_HERE) else ():
        path = os.path.join(work, f"unigram-{name}.gguf")
        folder = os.path.join(MODELS_HERE, name)
        tiny_llama(path, vocab=512, write=lambda w: unigram_vocab(w, folder, roberta="roberta" in name, size=512))
        out = convert(path)
        same_tokens(path, out, f"unigram of {name}", "\u2028")  # which llama.cpp does not take for a space
        tok, mine_tok = AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(out)
        for text in TEXTS if "roberta" in name else ():
            check(tok(text)["input_ids"] == mine_tok(text)["input_ids"], f"unigram of {name}: {text!r} is {mine_tok(text)['input_ids']}")
else:
    print("llama-cpp-python is not there: tokens were not compared")

if failures:
    sys.exit(f"{failures} differences")
print("the same")
