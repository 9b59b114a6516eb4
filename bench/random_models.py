"""Checkpoints of real sizes with random weights, for rows of `make bench` whose models nobody can download quickly.

    python bench/random_models.py NAME DIR      write the checkpoint NAME (a row of MODELS, or llama-1b) into DIR

Speed does not depend on what the weights are. Encoders keep the shapes of their base models, with few layers and a
small vocabulary: a layer costs the same in each of them.
"""
import pathlib
import shutil
import sys

WIDE = dict(hidden_size=768, num_attention_heads=12, intermediate_size=3072, vocab_size=8192)
LAYERS = dict(num_hidden_layers=4)

# name -> class of the model, class of its configuration, arguments of the latter
MODELS = {
    "bert": ("BertModel", "BertConfig", {**WIDE, **LAYERS}),
    "distilbert": ("DistilBertModel", "DistilBertConfig", dict(vocab_size=8192, n_layers=4)),
    "roberta": ("RobertaModel", "RobertaConfig", {**WIDE, **LAYERS, "max_position_embeddings": 514}),
    "albert": ("AlbertModel", "AlbertConfig", {**WIDE, **LAYERS, "embedding_size": 128}),
    "electra": ("ElectraModel", "ElectraConfig", {**WIDE, **LAYERS, "embedding_size": 768}),
    "deberta": ("DebertaModel", "DebertaConfig",
                {**WIDE, **LAYERS, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0,
                 "position_biased_input": False}),
    "deberta-v2": ("DebertaV2Model", "DebertaV2Config",
                   {**WIDE, **LAYERS, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0,
                    "position_biased_input": False, "position_buckets": 256, "share_att_key": True,
                    "norm_rel_ebd": "layer_norm"}),
    "mpnet": ("MPNetModel", "MPNetConfig", {**WIDE, **LAYERS, "max_position_embeddings": 514}),
    "mobilebert": ("MobileBertModel", "MobileBertConfig", dict(vocab_size=8192, num_hidden_layers=6)),
    "modernbert": ("ModernBertModel", "ModernBertConfig",
                   dict(hidden_size=768, num_attention_heads=12, intermediate_size=1152, vocab_size=8192,
                        num_hidden_layers=6, reference_compile=False, pad_token_id=0, cls_token_id=1, bos_token_id=1,
                        sep_token_id=2, eos_token_id=2)),
    "squeezebert": ("SqueezeBertModel", "SqueezeBertConfig", {**WIDE, **LAYERS, "embedding_size": 768}),
    "tapas": ("TapasModel", "TapasConfig", {**WIDE, **LAYERS, "max_position_embeddings": 1024}),
    "longformer": ("LongformerModel", "LongformerConfig",
                   {**WIDE, **LAYERS, "attention_window": 256, "max_position_embeddings": 4098}),
    "t5-small": ("T5ForConditionalGeneration", "T5Config",
                 dict(d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_decoder_layers=6, num_heads=8,
                      vocab_size=32128, decoder_start_token_id=0)),
    "bart-base": ("BartForConditionalGeneration", "BartConfig",
                  dict(d_model=768, encoder_layers=6, decoder_layers=6, encoder_attention_heads=12,
                       decoder_attention_heads=12, encoder_ffn_dim=3072, decoder_ffn_dim=3072, vocab_size=50265)),
}
ENCODERS = [n for n in MODELS if n not in ("t5-small", "bart-base")]

# the shape of Llama-3.2-1B
LLAMA = dict(hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
             num_key_value_heads=8, head_dim=64, vocab_size=128256, max_position_embeddings=8192, rope_theta=500000.0,
             tie_word_embeddings=True, bos_token_id=128000, eos_token_id=128001)


def write_checkpoint(name, target):
    """The checkpoint appears under its name when it is whole."""
    import torch
    import transformers

    target = pathlib.Path(target)
    if target.exists():
        return
    new = target.with_name(target.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    torch.manual_seed(1)
    if name == "llama-1b":
        with torch.device("meta"):
            model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA)).to(torch.bfloat16)
        model = model.to_empty(device="cpu")
        for p in model.parameters():
            p.data.normal_(0, 0.02) if p.ndim > 1 else p.data.fill_(1)
    else:
        of_model, of_config, arguments = MODELS[name]
        model = getattr(transformers, of_model)(getattr(transformers, of_config)(**arguments))
    model.save_pretrained(new)
    new.rename(target)


def write_llama_gguf(tokenizer_of, target, kind):
    """A llama of the same shape for llama.cpp, matrices of type BF16, Q8_0 or Q4_0. The vocabulary is that of the GGUF
    file `tokenizer_of`, filled up; the same rows of random numbers serve every matrix."""
    import gguf
    import numpy as np

    target = pathlib.Path(target)
    if target.exists():
        return
    new = target.with_name(target.name + ".new")
    c, reader = LLAMA, gguf.GGUFReader(tokenizer_of)
    w = gguf.GGUFWriter(new, "llama")
    w.add_block_count(c["num_hidden_layers"])
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_head_count_kv(c["num_key_value_heads"])
    w.add_rope_dimension_count(c["head_dim"])
    w.add_rope_freq_base(c["rope_theta"])
    w.add_layer_norm_rms_eps(1e-6)
    w.add_vocab_size(c["vocab_size"])
    for key, field in reader.fields.items():
        if not key.startswith("tokenizer.") or key == "tokenizer.chat_template":
            continue
        value = field.contents()
        if field.types[0] != gguf.GGUFValueType.ARRAY:
            w.add_key_value(key, value, field.types[0])
            continue
        missing = c["vocab_size"] - len(value)
        if key == "tokenizer.ggml.tokens":
            value = value + [f"<|filler {i}|>" for i in range(missing)]
        elif key == "tokenizer.ggml.token_type":
            value = value + [5] * missing  # unused
        w.add_key_value(key, value, field.types[0], sub_type=field.types[-1])
    quant = gguf.GGMLQuantizationType[kind]
    chance = np.random.default_rng(1)
    blocks = {}

    def matrix(name, rows, columns):
        if columns not in blocks:
            numbers = chance.standard_normal((4096, columns), dtype=np.float32) * 0.02
            blocks[columns] = gguf.quants.quantize(numbers, quant)
        w.add_tensor(name, np.resize(blocks[columns], (rows, blocks[columns].shape[1])), raw_dtype=quant)

    hidden, ffn, kv = c["hidden_size"], c["intermediate_size"], c["num_key_value_heads"] * c["head_dim"]
    ones = np.ones(hidden, np.float32)
    matrix("token_embd.weight", c["vocab_size"], hidden)
    w.add_tensor("output_norm.weight", ones)
    for i in range(c["num_hidden_layers"]):
        for name, rows, columns in (("attn_q", hidden, hidden), ("attn_k", kv, hidden), ("attn_v", kv, hidden),
                                    ("attn_output", hidden, hidden), ("ffn_gate", ffn, hidden),
                                    ("ffn_up", ffn, hidden), ("ffn_down", hidden, ffn)):
            matrix(f"blk.{i}.{name}.weight", rows, columns)
        w.add_tensor(f"blk.{i}.attn_norm.weight", ones)
        w.add_tensor(f"blk.{i}.ffn_norm.weight", ones)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    new.rename(target)


def quantize_gguf(source, target):
    """`source` in Q4_0, made by llama.cpp."""
    import llama_cpp

    if target.exists():
        return
    new = target.with_name(target.name + ".new")
    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0
    if llama_cpp.llama_model_quantize(str(source).encode(), str(new).encode(), options) != 0:
        raise RuntimeError(f"llama.cpp could not quantize {source}")
    new.rename(target)


if __name__ == "__main__":
    write_checkpoint(sys.argv[1], sys.argv[2])
