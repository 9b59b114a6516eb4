/* DBRX. Databricks 2024; transformers 4.57 models/dbrx/modeling_dbrx.py.
 *
 *   ids ─ embedding ─ n x [ x += attention(norm x);  x += experts(norm x) ] ─ norm ─ head
 *
 * Easy to get wrong: layer norms without bias; q, k and v come out of one matrix and are clipped; the sizes of attention
 * and experts lie in objects of their own in config.json; w2 of the experts is stored turned.
 * Checked on: random checkpoints of the library. */
#include "arch/arch_decoder.h"

typedef struct {
    size_t ffn, experts, top_k;
    bool normalize;
    k_act act;
    float clip;
} dbrx_config;

static void read_ffn(arch_config *c, dbrx_config *o)
{
    arch_config inner = {.root = cfg_get(c, "ffn_config")};
    o->ffn = cfg_dim(&inner, "ffn_hidden_size", 3584);
    o->experts = cfg_size(&inner, "moe_num_experts", 4, 1, 4096);
    o->top_k = cfg_size(&inner, "moe_top_k", 1, 1, 64);
    const json *power = json_get(inner.root, "moe_normalize_expert_weights");
    o->normalize = !power || power->type != JSON_NULL;
    if (o->normalize && cfg_float(&inner, "moe_normalize_expert_weights", 1) != 1.0f)
        cfg_fail(&inner, "\"moe_normalize_expert_weights\" other than 1 and null is not supported");
    arch_config act = {.root = cfg_get(&inner, "ffn_act_fn")};
    o->act = cfg_act(&act, "name", "silu");
    if (c->err.status == MLTF_OK) c->err = act.err.status ? act.err : inner.err;
}

static void load_experts(arch_build *b, nn_moe_w *m, size_t H, const dbrx_config *o)
{
    nn_loader *ld = &b->ld;
    const size_t E = o->experts, F = o->ffn;
    *m = (nn_moe_w){.n = E, .top_k = o->top_k, .scores = NN_MOE_SOFTMAX, .normalize = o->normalize};
    m->experts = arch_new(b, E, sizeof *m->experts);
    nn_load_linear(ld, &m->router, "ffn.router.layer", E, H, NN_NO_BIAS | NN_KEEP_FLOAT);
    for (size_t e = 0; m->experts && e < E; e++) {
        nn_mlp_w *x = &m->experts[e];
        x->act = o->act;
        nn_load_stacked(ld, &x->gate, "ffn.experts.mlp.w1", NULL, e, E, F, H, 0);
        nn_load_stacked(ld, &x->up, "ffn.experts.mlp.v1", NULL, e, E, F, H, 0);
        nn_load_stacked(ld, &x->down, "ffn.experts.mlp.w2", NULL, e, E, H, F, NN_CONV1D);
    }
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    static const float eps = 1e-5f; // torch's own: no configuration has a key for it
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_config inner = {.root = cfg_get(c, "attn_config")};
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){.hidden = 2048, .n_layers = 24, .heads = 16, .vocab = 32000});
    TRY(arch_build_ok(b, err));
    arch_decoder_even(c, d);
    d->kv_heads = cfg_dim(&inner, "kv_n_heads", 1);
    if (d->heads % d->kv_heads)
        cfg_fail(c, "\"n_heads\" %zu is not a multiple of \"kv_n_heads\" %zu", d->heads,
                 d->kv_heads);
    dbrx_config o = {.clip = cfg_float(&inner, "clip_qkv", 0)};
    read_ffn(c, &o);
    const size_t H = d->hidden;
    arch_rope_load(&d->rope, b,
                   &(arch_rope_options){.dim = d->head_dim,
                                        .theta = cfg_float(&inner, "rope_theta", 10000),
                                        .theta_key = "attn_config.rope_theta",
                                        .max_positions = cfg_dim(c, "max_seq_len", 2048),
                                        .ignore_scaling = true});
    TRY(cfg_done(&inner, err));
    TRY(arch_decoder_layers(b, d, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "wte", "input id", d->vocab, H, 0);
    nn_load_norm(ld, &d->norm, "norm_f", NN_NORM_LAYER, H, eps, 0);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%sblocks.%zu.", ld->base, il);
        nn_load_norm(ld, &l->norm1, "norm_attn_norm.norm_1", NN_NORM_LAYER, H, eps, 0);
        nn_load_norm(ld, &l->norm2, "norm_attn_norm.norm_2", NN_NORM_LAYER, H, eps, 0);
        nn_load_linear(ld, &l->attn.qkv, "norm_attn_norm.attn.Wqkv",
                       H + 2 * d->kv_heads * d->head_dim, H, NN_NO_BIAS);
        nn_load_linear(ld, &l->attn.o, "norm_attn_norm.attn.out_proj", H, H, NN_NO_BIAS);
        l->attn.clip = o.clip;
        load_experts(b, &l->moe, H, &o);
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_NO_BIAS, false);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_dbrx = {
    .model_types = (const char *const[]){"dbrx", NULL},
    .classes = (const char *const[]){"DbrxModel", "DbrxForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "transformer.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
