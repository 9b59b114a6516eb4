/* Persimmon. Adept 2023; transformers 4.57 models/persimmon/modeling_persimmon.py.
 *
 *   ids ─ embedding ─ n x [ x += attention(norm x);  x += mlp(norm x) ] ─ norm ─ head
 *
 * Easy to get wrong: query_key_value is stored head by head, [q k v] each; each head of q and k has a layer norm
 * with a bias; half of a head turns. Checked on: random checkpoints of the library. */
#include "arch/arch_decoder.h"

static const decoder_names names = {
    .norm = "final_layernorm",
    .qkv = "self_attn.query_key_value",
    .up = "mlp.dense_h_to_4h",
    .down = "mlp.dense_4h_to_h",
};

/* query_key_value as q, k and v, so that the heads of q and k can be normed. */
static void split_qkv(arch_build *b, nn_attn_w *a, const arch_decoder *d)
{
    const size_t H = d->hidden, D = d->head_dim;
    size_t *row_of = arch_new(b, 3 * H, sizeof *row_of);
    if (!row_of) return;
    for (size_t part = 0; part < 3; part++)
        for (size_t i = 0; i < H; i++) row_of[part * H + i] = (i / D * 3 + part) * D + i % D;
    nn_load_reorder(&b->ld, &a->qkv, row_of);
    a->q = nn_linear_rows(&a->qkv, 0, H);
    a->k = nn_linear_rows(&a->qkv, H, H);
    a->v = nn_linear_rows(&a->qkv, 2 * H, H);
    a->qkv = (nn_linear_w){0};
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){.hidden = 4096, .n_layers = 36, .heads = 64, .vocab = 262144});
    TRY(arch_build_ok(b, err));
    arch_decoder_even(c, d);
    const bool head_norms = cfg_bool(c, "qk_layernorm", true);
    decoder_plan p = arch_decoder_gpt_plan(&names, cfg_dim(c, "intermediate_size", 16384),
                                           cfg_act(c, "hidden_act", "relu2"),
                                           cfg_float(c, "layer_norm_eps", 1e-5f));
    p.q_norm = head_norms ? "self_attn.q_layernorm" : NULL;
    p.k_norm = head_norms ? "self_attn.k_layernorm" : NULL;
    p.tied = false;
    arch_decoder_rope_part(b, d, 0.5, 25000, 16384);
    TRY(arch_decoder_layers(b, d, err));
    TRY(arch_decoder_load(b, d, &p, err));
    for (size_t il = 0; il < d->n_layers; il++) split_qkv(b, &d->layers[il].attn, d);
    return arch_build_ok(b, err);
}

const arch_family arch_persimmon = {
    .model_types = (const char *const[]){"persimmon", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES("Persimmon"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
