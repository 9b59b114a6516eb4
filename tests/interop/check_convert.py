"""mltf convert: the same weights, bit for bit, as the gguf package unpacks them; the same state dict for every family as the
model the GGUF file was made from; the same tokens as llama.cpp (where llama-cpp-python is there) for every pre-tokenizer."""
import json, os, random, subprocess, sys, tempfile, warnings

import numpy as np
import torch
from gguf import GGMLQuantizationType as Q, GGUFReader, GGUFWriter, MODEL_ARCH, get_tensor_name_map
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize
from safetensors.torch import load_file
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

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
work = tempfile.mkdtemp(prefix="mltf-convert-")
failures = 0


def check(ok, what):
    global failures
    if not ok:
        failures += 1
        print("FAIL", what)


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
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0], "F16": [], "BF16": []}


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


for name, places in SCALES.items():
    kind = Q[name]
    elements, size = GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (ROWS, COLS // elements, size), dtype=np.uint8)
    for p in places or [0] if elements == 1 else places:
        raw[:, :, p + 1] &= 0xBB  # finite
    raw = raw.reshape(ROWS, -1)
    path = os.path.join(work, f"{name}.gguf")
    tiny_llama(path, (kind, raw), vocab=512, n=512)
    want = dequantize(raw, kind).astype(np.float32)
    got = load_file(os.path.join(convert(path), "model.safetensors"))["model.layers.0.mlp.down_proj.weight"].numpy()
    check(np.array_equal(want.view(np.uint32), got.view(np.uint32)), f"blocks of {name}")

# ---- families: a random model of transformers, written as llama.cpp's converter writes it, and converted back
V, H, F, L = 512, 32, 64, 2
common = dict(vocab_size=V, hidden_size=H, intermediate_size=F, num_hidden_layers=L, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2)
FAMILIES = {
    "llama": dict(common, rope_theta=50000.0, rms_norm_eps=1e-5, tie_word_embeddings=False),
    "llama-bias-tied": dict(common, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "llama-3": dict(common, hidden_size=128, rope_theta=500000.0, tie_word_embeddings=True, rope_scaling=dict(
        rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)),
    "qwen2": dict(common, rope_theta=1000000.0),
    "qwen3": dict(common, head_dim=16),
    "gemma": dict(common, head_dim=16),
    "gemma2": dict(common, head_dim=16, sliding_window=16, query_pre_attn_scalar=16),
    "phi3": dict(common, pad_token_id=0),
    "starcoder2": dict(common, use_bias=True, sliding_window=None),
    "gpt2": dict(vocab_size=V, n_embd=H, n_layer=L, n_head=4, n_positions=64, n_inner=F, bos_token_id=1, eos_token_id=2),
}


def permute(w, heads):
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


for name, settings in FAMILIES.items():
    arch = name.split("-")[0]
    torch.manual_seed(3)
    config = transformers.AutoConfig.for_model(arch, **settings)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * 0.3)
    names = get_tensor_name_map(MODEL_ARCH[arch.upper()], L)
    path = os.path.join(work, name + ".gguf")
    w = GGUFWriter(path, arch)
    w.add_block_count(L)
    w.add_context_length(settings.get("max_position_embeddings", 64))
    w.add_embedding_length(settings.get("hidden_size", H))
    w.add_feed_forward_length(F)
    w.add_head_count(4)
    w.add_head_count_kv(settings.get("num_key_value_heads", 4))
    if "head_dim" in settings:
        w.add_key_length(16)
        w.add_value_length(16)
    if "rope_theta" in settings:
        w.add_rope_freq_base(settings["rope_theta"])
    w.add_layer_norm_rms_eps(getattr(config, "rms_norm_eps", 1e-5))
    w.add_layer_norm_eps(getattr(config, "norm_epsilon", getattr(config, "layer_norm_epsilon", 1e-5)))
    if settings.get("sliding_window"):
        w.add_sliding_window(settings["sliding_window"])
    if arch == "gemma2":
        w.add_attn_logit_softcapping(50.0)
        w.add_final_logit_softcapping(30.0)
    write_vocab(w, V)
    if name == "llama-3":
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
        scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
        plain = 1.0 / (config.rope_theta ** (torch.arange(0, 32, 2).float() / 32))
        w.add_tensor("rope_freqs.weight", (plain / scaled).numpy().astype(np.float32))
    for key, t in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        a = t.detach().numpy()
        if arch == "llama" and ".q_proj." in key:
            a = permute(a, 4)
        if arch == "llama" and ".k_proj." in key:
            a = permute(a, 2)
        if arch == "gpt2" and key.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
            a = a.T
        if arch.startswith("gemma") and key.endswith("norm.weight"):
            a = a + np.float32(1)
        w.add_tensor(names.get_name(key, try_suffixes=(".weight", ".bias")), np.ascontiguousarray(a))
    finish(w)
    back, info = AutoModelForCausalLM.from_pretrained(convert(path), dtype=torch.float32, output_loading_info=True)
    check(not any(info.values()), f"{name}: {info}")
    mine, theirs = back.eval().state_dict(), model.state_dict()
    check(mine.keys() == theirs.keys(), f"{name}: names")
    ids = torch.arange(20)[None] % V
    with torch.no_grad():
        a, b = back(ids).logits, model(ids).logits
    exact = all(torch.equal(mine[k], theirs[k]) for k in theirs) or arch.startswith("gemma")  # 1 + w rounds
    difference = (a - b).abs().max().item()
    check(exact and difference <= 2e-5 * b.abs().max().item(), f"{name}: logits differ by {difference}")

# ---- tokens
random.seed(5)
ALPHABET = "abcXYZs 0123456789  \n\t\r.,!?'\"()[]-_/é漢字ひらがな가😀\u0301ßѲ٣\u00a0\u2028"
TEXTS = ["Hello world", "1234567 89", "  leading\n\n\ttabs ", "don't I'LL we've I'M", "日本語テキスト 漢字", "émojis 😀😃 👨‍👩‍👧",
         "<|im_start|>user\nhi<|im_end|>\n", "x=1+2*3;  // c\r\n", "Ⅷ ² ½ ٣٤٥", "a" * 50, "   ", "\n\n\n", "CamelCase HTTPServer"]
TEXTS += ["".join(random.choice(ALPHABET) for _ in range(random.randint(1, 60))) for _ in range(200)]


# where llama.cpp itself is not exact: it has no NFC, its own code for \\p{M}, and no ranges of characters in a class
INEXACT = {"qwen2": "\u0301", "tekken": "\u0301", "gpt-4o": "\u0301", "deepseek-coder": "\u2028"}


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
                "deepseek-coder", "default"):
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
else:
    print("llama-cpp-python is not there: tokens were not compared")

if failures:
    sys.exit(f"{failures} differences")
print("the same")
