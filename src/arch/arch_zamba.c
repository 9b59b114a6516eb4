/* Zamba and Zamba2. Glorioso et al. 2024, arXiv:2405.16712, 2411.15242; transformers 4.57
 * models/{zamba,zamba2}/modeling_*.py.
 *
 *   ids ─ embedding e ─ n x [ x += mamba(rms(x + t)) ] ─ rms ─ head
 *
 *   t = linear(mlp(rms(attention(rms[x | e]))))   in layers called "hybrid", else 0
 *
 *   zamba   one attention and mlp for all hybrids; mamba in heads of its own; no positions
 *   zamba2  num_mem_blocks of them in turn, each hybrid with low-rank additions to the mlp (and to q, k, v); mamba-2,
 *           whose steps are at least time_step_min; rotated if use_mem_rope
 *
 * Easy to get wrong: nothing is added to x around attention and mlp; scores are divided by sqrt(head_dim / 2); what is
 * shared is stored under one of the layers that share it. Checked on: random checkpoints of the library. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "arch/arch_recurrent.h"

/* What a hybrid layer has besides its mamba. */
typedef struct {
    nn_norm_w norm, ff_norm; // [2H], [H]
    nn_attn_w attn;
    nn_mlp_w mlp;
    nn_linear_w linear; // [H, H]
} hybrid_part;

typedef struct {
    arch_decoder d;              // first: heads, layers and cache are those of any decoder
    const hybrid_part **hybrids; // [n_layers], NULL: none
} zamba_model;

typedef struct {
    bool two, adapters;
    size_t ffn, blocks, rank;
    k_act act;
    float eps;
    unsigned bias;
    mamba_plan mamba;
    mamba2_plan mamba2;
} zamba_config;

/* ------------------------------------------------------------------ config.json */

static bool is_hybrid(arch_config *c, const zamba_config *o, size_t il)
{
    const json *types = cfg_get(c, "layers_block_type");
    if (types) return str_is(json_string(json_at(types, il), STR("")), "hybrid");
    if (o->two) return il < 43 ? il && il % 6 == 0 : il == 47 || il == 51;
    const size_t period = cfg_size(c, "attn_layer_period", 6, 1, 1 << 20);
    return il == 2 ||
           (il > 2 && (il - 3) % period == cfg_size(c, "attn_layer_offset", 4, 0, 1 << 20));
}

static void read_mamba2(arch_config *c, zamba_config *o, size_t hidden)
{
    o->mamba2 = (mamba2_plan){.heads = 8, .groups = 1, .n = 64, .eps = 1e-5f, .group_norm = true};
    o->mamba2.inner = arch_mamba_inner(c, NULL, "mamba_expand", hidden);
    arch_mamba2_config(c, &o->mamba2);
    o->mamba2.act = K_ACT_SILU;
    o->mamba2.conv = NN_BIAS;
    o->mamba2.proj = o->mamba2.out = o->bias;
    o->mamba2.dt_min = cfg_float(c, "time_step_min", 0.001f);
}

static void read_mamba(arch_config *c, zamba_config *o, size_t hidden)
{
    o->mamba = (mamba_plan){.inner = arch_mamba_inner(c, NULL, "mamba_expand", hidden),
                            .n = cfg_size(c, "mamba_d_state", 16, 1, ARCH_STATE_MAX),
                            .rank = arch_mamba_rank(c, "mamba_dt_rank", hidden),
                            .width = cfg_size(c, "mamba_d_conv", 4, 1, ARCH_CONV_MAX),
                            .heads = cfg_dim(c, "n_mamba_heads", 2),
                            .act = cfg_act(c, "hidden_mamba_act", "silu"),
                            .proj = cfg_bool(c, "mamba_proj_bias", false) ? NN_BIAS : NN_NO_BIAS,
                            .conv = cfg_bool(c, "mamba_conv_bias", true) ? NN_BIAS : NN_NO_BIAS};
    if (o->mamba.inner % o->mamba.heads)
        cfg_fail(c, "mamba's width of %zu does not fall into \"n_mamba_heads\" %zu", o->mamba.inner,
                 o->mamba.heads);
}

static void read_config(arch_config *c, zamba_config *o, arch_decoder *d)
{
    const size_t H = cfg_dim(c, "hidden_size", o->two ? 2560 : 3712);
    *d = (arch_decoder){.hidden = H,
                        .n_layers = cfg_layers(c, "num_hidden_layers", o->two ? 54 : 76),
                        .heads = cfg_dim(c, "num_attention_heads", o->two ? 32 : 16),
                        .vocab = cfg_dim(c, "vocab_size", 32000)};
    d->kv_heads = cfg_dim(c, "num_key_value_heads", o->two ? d->heads : 16);
    d->head_dim = 2 * H / d->heads;
    if (!o->two) d->head_dim = cfg_dim(c, "attention_head_dim", d->head_dim);
    if (d->head_dim == 0 || d->heads % d->kv_heads)
        cfg_fail(c,
                 "\"num_attention_heads\" %zu fits neither \"hidden_size\" %zu nor "
                 "\"num_key_value_heads\" %zu",
                 d->heads, H, d->kv_heads);
    d->scale = 1.0f / sqrtf((float)d->head_dim / 2);
    o->ffn = cfg_dim(c, "intermediate_size", o->two ? 4 * H : 14848);
    o->blocks = cfg_size(c, "num_mem_blocks", 1, 1, 1 << 16);
    o->rank = cfg_dim(c, "adapter_rank", 128);
    o->adapters = cfg_bool(c, "use_shared_attention_adapter", false);
    o->act = cfg_act(c, "hidden_act", "gelu");
    o->eps = cfg_float(c, "rms_norm_eps", 1e-5f);
    o->bias = cfg_bool(c, "add_bias_linear", false) ? NN_BIAS : NN_NO_BIAS;
    if (o->two)
        read_mamba2(c, o, H);
    else
        read_mamba(c, o, H);
}

/* ------------------------------------------------------------------ load */

/* Where a shared tensor may be stored: the hybrids that share it. */
typedef struct {
    arch_build *b;
    const zamba_config *o;
    size_t n_layers, block; // of the hybrids, those with index % blocks == block
} shared_place;

/* "layers.2.shared_transf.NAME|layers.7.shared_transf.NAME" */
static const char *shared_name(const shared_place *p, const char *name)
{
    mltf_buf all = {.max = 1 << 20};
    for (size_t il = 0, i = 0; il < p->n_layers; il++) {
        if (!is_hybrid(&p->b->cfg, p->o, il)) continue;
        if (i++ % p->o->blocks == p->block)
            buf_printf(&all, "%slayers.%zu.%s.%s", all.n ? "|" : "", il,
                       p->o->two ? "shared_transformer" : "shared_transf", name);
    }
    const char *s = arena_strdup(p->b->ld.own, all.p ? all.p : "", all.n);
    mltf_buf_release(&all);
    return s ? s : name;
}

/* One matrix of a low-rank addition: f32, as PEFT's are. */
static k_weight load_low_rank(const shared_place *p, const char *list, size_t index, int which,
                              size_t N, size_t K)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%zu.%d.weight", list, index, which);
    return (k_weight){.data = nn_load_vector(&p->b->ld, shared_name(p, name), N * K, 0),
                      .dtype = DT_F32,
                      .N = N,
                      .K = K,
                      .stride = K};
}

/* The low-rank addition of hybrid `index` to a shared layer. */
static void load_adapter(const shared_place *p, nn_linear_w *w, const char *list, size_t index)
{
    if (w->lora_a.data) cfg_fail(&p->b->cfg, "an adapter on top of Zamba2's own is not supported");
    w->lora_a = load_low_rank(p, list, index, 0, p->o->rank, w->w.K);
    w->lora_b = load_low_rank(p, list, index, 1, w->w.N, p->o->rank);
}

static void load_shared(const shared_place *p, hybrid_part *x, const arch_decoder *d, size_t index)
{
    nn_loader *ld = &p->b->ld;
    const zamba_config *o = p->o;
    const size_t H = d->hidden, D = d->head_dim, F = o->ffn, wide = 2 * H;
    nn_load_norm(ld, &x->norm, shared_name(p, "input_layernorm"), NN_NORM_RMS, wide, o->eps, 0);
    nn_load_norm(ld, &x->ff_norm, shared_name(p, "pre_ff_layernorm"), NN_NORM_RMS, H, o->eps, 0);
    nn_load_linear(ld, &x->attn.q, shared_name(p, "self_attn.q_proj"), d->heads * D, wide, 0);
    nn_load_linear(ld, &x->attn.k, shared_name(p, "self_attn.k_proj"), d->kv_heads * D, wide, 0);
    nn_load_linear(ld, &x->attn.v, shared_name(p, "self_attn.v_proj"), d->kv_heads * D, wide, 0);
    nn_load_linear(ld, &x->attn.o, shared_name(p, "self_attn.o_proj"), H, d->heads * D, 0);
    x->mlp.act = o->act;
    nn_load_linear(ld, &x->mlp.down, shared_name(p, "feed_forward.down_proj"), H, F, o->bias);
    if (!o->two) {
        nn_load_linear(ld, &x->mlp.gate, shared_name(p, "feed_forward.gate_proj"), F, H, 0);
        nn_load_linear(ld, &x->mlp.up, shared_name(p, "feed_forward.up_proj"), F, H, 0);
        return;
    }
    nn_linear_w both;
    nn_load_linear(ld, &both, shared_name(p, "feed_forward.gate_up_proj"), 2 * F, H, o->bias);
    load_adapter(p, &both, "feed_forward.gate_up_proj_adapter_list", index);
    x->mlp.gate = nn_linear_rows(&both, 0, F);
    x->mlp.up = nn_linear_rows(&both, F, F);
    if (!o->adapters) return;
    load_adapter(p, &x->attn.q, "self_attn.linear_q_adapter_list", index);
    load_adapter(p, &x->attn.k, "self_attn.linear_k_adapter_list", index);
    load_adapter(p, &x->attn.v, "self_attn.linear_v_adapter_list", index);
}

static void load_layer(arch_build *b, decoder_layer *l, const arch_decoder *d,
                       const zamba_config *o)
{
    nn_load_norm(&b->ld, &l->norm1, "input_layernorm", NN_NORM_RMS, d->hidden, o->eps, 0);
    if (o->two)
        arch_mamba2_layer(b, l, "mamba", d->hidden, &o->mamba2);
    else
        arch_mamba_layer(b, l, "mamba", d->hidden, &o->mamba);
}

static void load_rope(arch_build *b, arch_decoder *d)
{
    arch_config *c = &b->cfg;
    const double D = (double)d->head_dim;
    if (!cfg_bool(c, "use_mem_rope", false)) return;
    arch_decoder_rope(b, d, 10000, 4096);
    // a base that is stretched: theta s^(D / (D - 2)), so that entry i turns s^(-2i / (D - 2)) as fast
    for (size_t i = 0;
         cfg_bool(c, "use_long_context", false) && d->rope.inv_freq && i < d->rope.dim / 2; i++)
        d->rope.inv_freq[i] *= (float)pow(8, -2.0 * (double)i / (D - 2));
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    zamba_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_decoder *d = &m->d;
    zamba_config o = {.two = str_is(str_from(b->m->info.model_type), "zamba2")};
    read_config(c, &o, d);
    if (o.two) load_rope(b, d);
    TRY(arch_decoder_layers(b, d, err));
    m->hybrids = arch_new(b, d->n_layers, sizeof *m->hybrids);
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, d->hidden, 0);
    nn_load_norm(ld, &d->norm, "final_layernorm", NN_NORM_RMS, d->hidden, o.eps, 0);
    for (size_t il = 0, index = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        const bool hybrid = is_hybrid(c, &o, il);
        nn_scope(ld, "%slayers.%zu.%s", ld->base, il, hybrid ? "mamba_decoder." : "");
        load_layer(b, l, d, &o);
        if (!hybrid) continue;
        hybrid_part *x = arch_new(b, 1, sizeof *x);
        TRY(arch_build_ok(b, err));
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        nn_load_linear(ld, &x->linear, "linear", d->hidden, d->hidden, NN_NO_BIAS);
        nn_scope(ld, "%s", ld->base);
        load_shared(&(shared_place){b, &o, d->n_layers, index % o.blocks}, x, d, index);
        index++;
        m->hybrids[il] = x;
        l->keyless = false;
    }
    arch_decoder_heads_load(b, &d->heads_w, d->hidden, &d->words, "lm_head", NN_NO_BIAS, true);
    return arch_decoder_done(b, d, err);
}

/* ------------------------------------------------------------------ forward */

/* t [T, H] = linear(mlp(rms(attention(rms[x | e])))). */
static void shared_forward(arch_run *r, float *t, const float *x, const float *e,
                           const hybrid_part *w, const nn_rope_rows *rope, size_t il)
{
    nn_ctx *cx = r->cx;
    const arch_decoder *d = r->impl;
    const size_t T = r->seqs.rows, H = d->hidden;
    const nn_attn a = {.heads = d->heads,
                       .kv_heads = d->kv_heads,
                       .dim = d->head_dim,
                       .scale = d->scale,
                       .causal = true};
    const nn_mark mark = nn_save(cx);
    float *pair = nn_f32(cx, T, 2 * H), *y = nn_f32(cx, T, H);
    for (size_t i = 0; nn_ok(cx) && i < T; i++) {
        memcpy(pair + i * 2 * H, x + i * H, H * sizeof *pair);
        memcpy(pair + i * 2 * H + H, e + i * H, H * sizeof *pair);
    }
    nn_norm(cx, pair, pair, &w->norm, T);
    nn_self_attention(cx, y, pair, &w->attn, &a, &r->seqs, rope, il);
    nn_norm(cx, y, y, &w->ff_norm, T);
    nn_mlp(cx, y, y, &w->mlp, T);
    nn_linear(cx, t, y, &w->linear, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const zamba_model *m = r->impl;
    const arch_decoder *d = &m->d;
    const size_t T = r->seqs.rows, H = d->hidden;
    float *x = arch_embed_tokens(r, &d->words), *e = nn_f32(cx, T, H); // [T, H]
    float *h = nn_f32(cx, T, H), *y = nn_f32(cx, T, H);
    nn_copy(cx, e, x, T * H);
    nn_rope_rows rope = {0};
    if (d->rope.inv_freq) rope = nn_rope_prepare(cx, &d->rope, &r->seqs);
    for (size_t il = 0; nn_ok(cx) && il < d->n_layers; il++) {
        const decoder_layer *w = &d->layers[il];
        arch_keep_hidden(r, x, H);
        nn_copy(cx, h, x, T * H);
        if (m->hybrids[il]) {
            shared_forward(r, y, x, e, m->hybrids[il], d->rope.inv_freq ? &rope : NULL, il);
            nn_add(cx, h, y, T * H);
        }
        nn_norm(cx, h, h, &w->norm1, T);
        w->mixer(r, y, h, w);
        nn_add(cx, x, y, T * H);
        nn_tap(cx, "out", (int)il, x, T, H);
    }
    nn_norm(cx, x, x, &d->norm, T);
    arch_keep_hidden(r, x, H);
    arch_heads_forward(r, &d->heads_w, x, H);
}

const arch_family arch_zamba = {
    .model_types = (const char *const[]){"zamba", "zamba2", NULL},
    .classes = (const char *const[]){"ZambaModel", "ZambaForCausalLM",
                                     "ZambaForSequenceClassification", "Zamba2Model",
                                     "Zamba2ForCausalLM", "Zamba2ForSequenceClassification", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = forward,
};
