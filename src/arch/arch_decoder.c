/* The forward pass that most decoders share, and the config keys and tensor names most of them use. */
#include "arch/arch_decoder.h"

#include <math.h>
#include <stdio.h>

/* ------------------------------------------------------------------ load */

void arch_decoder_config(arch_config *c, arch_decoder *d)
{
    d->hidden = cfg_dim(c, "hidden_size|n_embd|d_model", d->hidden);
    d->hidden = cfg_dim(c, "n_embed", d->hidden); // where bloom or falcon has both, this one counts
    d->n_layers = cfg_layers(c, "num_hidden_layers|n_layer|num_layers|n_layers", d->n_layers);
    d->heads = cfg_dim(c, "num_attention_heads|n_head|num_heads|n_heads", d->heads);
    d->kv_heads = cfg_dim(c, "num_key_value_heads", d->kv_heads ? d->kv_heads : d->heads);
    d->head_dim = cfg_dim(c, "head_dim", d->head_dim ? d->head_dim : d->hidden / d->heads);
    d->vocab = cfg_dim(c, "vocab_size", d->vocab);
    if (d->head_dim == 0)
        cfg_fail(c, "\"num_attention_heads\" %zu is above \"hidden_size\" %zu", d->heads,
                 d->hidden);
    if (d->heads % d->kv_heads)
        cfg_fail(c, "\"num_attention_heads\" %zu is not a multiple of \"num_key_value_heads\" %zu",
                 d->heads, d->kv_heads);
}

void arch_decoder_even(arch_config *c, arch_decoder *d)
{
    d->kv_heads = d->heads;
    d->head_dim = d->hidden / d->heads;
    if (d->hidden % d->heads)
        cfg_fail(c, "the hidden size, %zu, is not a multiple of the number of heads, %zu",
                 d->hidden, d->heads);
}

arch_decoder *arch_decoder_new(arch_build *b, const arch_decoder *defaults)
{
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    if (!d) return NULL;
    *d = *defaults;
    arch_decoder_config(&b->cfg, d);
    return d;
}

size_t arch_decoder_window(arch_config *c, bool used, size_t fallback)
{
    const json *v = json_get(c->root, "sliding_window");
    if (!cfg_bool(c, "use_sliding_window", used)) return 0;
    return v && v->type == JSON_NULL ? 0
                                     : cfg_size(c, "sliding_window", fallback, 1, (size_t)1 << 40);
}

static const char *or_else(const char *name, const char *usual)
{
    return name ? name : usual;
}

static const decoder_names llama_names = {0}; // all as they are usually called

static void load_attn(nn_loader *ld, nn_attn_w *a, const arch_decoder *d,
                      const decoder_names *names, unsigned qkv_flags, unsigned o_flags)
{
    const size_t H = d->hidden, D = d->head_dim, Dv = d->v_dim ? d->v_dim : D;
    const size_t NQ = d->heads, NK = d->kv_heads;
    if (names->qkv) {
        nn_load_linear(ld, &a->qkv, names->qkv, (NQ + NK) * D + NK * Dv, H, qkv_flags);
    } else {
        nn_load_linear(ld, &a->q, or_else(names->q, "self_attn.q_proj"), NQ * D, H, qkv_flags);
        nn_load_linear(ld, &a->k, or_else(names->k, "self_attn.k_proj"), NK * D, H, qkv_flags);
        nn_load_linear(ld, &a->v, or_else(names->v, "self_attn.v_proj"), NK * Dv, H, qkv_flags);
    }
    nn_load_linear(ld, &a->o, or_else(names->o, "self_attn.o_proj|self_attn.dense"), H, NQ * Dv,
                   o_flags);
}

void arch_decoder_attn_load(nn_loader *ld, nn_attn_w *a, const arch_decoder *d, unsigned qkv_flags,
                            unsigned o_flags)
{
    load_attn(ld, a, d, &llama_names, qkv_flags, o_flags);
}

/* parts: gate, up, down. */
static void load_gated(nn_loader *ld, nn_mlp_w *m, const char *name, const char *const parts[3],
                       size_t hidden, size_t ffn, k_act act, unsigned flags)
{
    nn_linear_w *const to[] = {&m->gate, &m->up, &m->down};
    for (size_t i = 0; i < 3; i++) {
        char p[96];
        snprintf(p, sizeof p, "%s.%s", name, parts[i]);
        nn_load_linear(ld, to[i], p, i < 2 ? ffn : hidden, i < 2 ? hidden : ffn, flags);
    }
    m->act = act;
}

void arch_decoder_mlp_load(nn_loader *ld, nn_mlp_w *m, const char *name, size_t hidden, size_t ffn,
                           k_act act, unsigned flags)
{
    static const char *const parts[] = {"gate_proj", "up_proj", "down_proj"};
    load_gated(ld, m, name, parts, hidden, ffn, act, flags);
}

void arch_decoder_mlp_w_load(nn_loader *ld, nn_mlp_w *m, const char *name, size_t hidden,
                             size_t ffn, k_act act, unsigned flags)
{
    static const char *const parts[] = {"w1", "w3", "w2"};
    load_gated(ld, m, name, parts, hidden, ffn, act, flags);
}

void arch_sparse_moe_load(arch_build *b, nn_moe_w *m, size_t hidden, size_t ffn, k_act act)
{
    nn_loader *ld = &b->ld;
    m->experts = arch_new(b, m->n, sizeof *m->experts);
    nn_load_linear(ld, &m->router, "block_sparse_moe.gate", m->n, hidden,
                   NN_NO_BIAS | NN_KEEP_FLOAT);
    for (size_t e = 0; m->experts && e < m->n; e++) {
        char name[64];
        snprintf(name, sizeof name, "block_sparse_moe.experts.%zu", e);
        arch_decoder_mlp_w_load(ld, &m->experts[e], name, hidden, ffn, act, NN_NO_BIAS);
    }
}

void arch_stacked_experts_load(arch_build *b, nn_moe_w *m, const char *in, const char *out,
                               size_t hidden, size_t ffn, k_act act, unsigned flags)
{
    nn_loader *ld = &b->ld;
    m->experts = arch_new(b, m->n, sizeof *m->experts);
    for (size_t e = 0; m->experts && e < m->n; e++) {
        nn_mlp_w *x = &m->experts[e];
        nn_linear_w both;
        nn_load_stacked(ld, &both, in, NULL, e, m->n, 2 * ffn, hidden, flags);
        *x = (nn_mlp_w){.gate = nn_linear_rows(&both, 0, ffn),
                        .up = nn_linear_rows(&both, ffn, ffn),
                        .act = act};
        nn_load_stacked(ld, &x->down, out, NULL, e, m->n, hidden, ffn, flags);
    }
}

static void load_rope(arch_build *b, arch_decoder *d, size_t dim, float theta, size_t max_positions)
{
    arch_rope_load(&d->rope, b,
                   &(arch_rope_options){.dim = dim,
                                        .theta = theta,
                                        .max_positions = cfg_dim(&b->cfg, "max_position_embeddings",
                                                                 max_positions)});
}

void arch_decoder_rope(arch_build *b, arch_decoder *d, float theta, size_t max_positions)
{
    load_rope(b, d, d->head_dim, theta, max_positions);
}

void arch_decoder_rope_part(arch_build *b, arch_decoder *d, double part, float theta,
                            size_t max_positions)
{
    const size_t dim = arch_rope_dim(&b->cfg, d->head_dim, "partial_rotary_factor", part);
    load_rope(b, d, dim, theta, max_positions);
}

mltf_status arch_decoder_layers(arch_build *b, arch_decoder *d, mltf_err *err)
{
    d->layers = arch_new(b, d->n_layers, sizeof *d->layers);
    TRY(arch_build_ok(b, err));
    for (size_t il = 0; d->rope.inv_freq && il < d->n_layers; il++) d->layers[il].rope = &d->rope;
    return MLTF_OK;
}

/* Which layers' caches may forget: those that see a window and no position behind it by other means; and those that
 * have nothing to keep. */
static void cache_windows(arch_build *b, const arch_decoder *d, nn_cache_shape *s)
{
    size_t window = 0, places[3] = {0}, keyless = 0;
    const bool may_forget = !d->alibi && !d->bias;
    for (size_t il = 0; il < d->n_layers; il++) {
        if (may_forget && d->layers[il].window > window) window = d->layers[il].window;
        keyless += d->layers[il].keyless;
    }
    nn_cache_layer *windows = window || keyless ? arch_new(b, d->n_layers, sizeof *windows) : NULL;
    if (!windows) return;
    for (size_t il = 0; il < d->n_layers; il++) {
        const decoder_layer *l = &d->layers[il];
        windows[il].keeps = l->keyless                ? NN_KEEPS_NOTHING
                            : may_forget && l->window ? NN_KEEPS_WINDOW
                                                      : NN_KEEPS_ALL;
        windows[il].place = places[windows[il].keeps]++;
    }
    s->window = window;
    s->windows = windows;
}

mltf_status arch_decoder_done(arch_build *b, arch_decoder *d, mltf_err *err)
{
    if (b->m->text_config) // the head is the wrapper's, which neither scales nor caps
        d->heads_w.head.scale = d->heads_w.head.softcap = 0;
    b->m->cache_shape = (nn_cache_shape){.layers = d->n_layers,
                                         .kv_heads = d->kv_heads,
                                         .k_dim = d->head_dim,
                                         .v_dim = d->v_dim ? d->v_dim : d->head_dim,
                                         .state = b->m->cache_shape.state};
    cache_windows(b, d, &b->m->cache_shape);
    return arch_done(b, d, d->hidden, d->vocab, d->n_layers,
                     d->max_positions ? d->max_positions : SIZE_MAX, err);
}

void arch_decoder_experts_config(arch_config *c, experts_plan *p)
{
    p->n = cfg_size(c, "n_routed_experts|num_local_experts", p->n, 1, 4096);
    p->top_k = cfg_size(c, "num_experts_per_tok", p->top_k, 1, 64);
    p->groups = cfg_size(c, "n_group", p->groups, 1, 4096);
    p->top_groups = cfg_size(c, "topk_group", p->top_groups, 1, 4096);
    p->shared = cfg_size(c, "n_shared_experts", p->shared, 0, 64);
    p->ffn = cfg_dim(c, "moe_intermediate_size", p->ffn);
    p->scale = cfg_float(c, "routed_scaling_factor", p->scale);
    p->normalize = cfg_bool(c, "norm_topk_prob", p->normalize);
    if (p->n % p->groups || p->top_groups > p->groups)
        cfg_fail(
            c, "\"n_routed_experts\" %zu do not fall into \"n_group\" %zu with \"topk_group\" %zu",
            p->n, p->groups, p->top_groups);
    if (p->top_k > p->n)
        cfg_fail(c, "\"num_experts_per_tok\" %zu is above \"n_routed_experts\" %zu", p->top_k,
                 p->n);
}

void arch_decoder_experts_load(arch_build *b, nn_moe_w *m, size_t hidden, const experts_plan *p)
{
    nn_loader *ld = &b->ld;
    *m = (nn_moe_w){.n = p->n + p->idle,
                    .top_k = p->top_k,
                    .scores = p->scores,
                    .normalize = p->normalize,
                    .scale = p->scale,
                    .groups = p->groups,
                    .top_groups = p->top_groups,
                    .group_by_max = p->group_by_max};
    m->experts = arch_new(b, m->n, sizeof *m->experts);
    nn_load_linear(ld, &m->router, p->router ? p->router : "mlp.gate", m->n, hidden,
                   NN_NO_BIAS | NN_KEEP_FLOAT);
    if (p->correction)
        m->correction = nn_load_vector(
            ld,
            "mlp.gate.e_score_correction_bias|mlp.moe_statics.e_score_correction_bias|"
            "mlp.router.e_score_correction_bias",
            m->n, 0);
    for (size_t e = 0; m->experts && e < p->n; e++) {
        char name[64];
        snprintf(name, sizeof name, "mlp.experts.%zu", e);
        arch_decoder_mlp_load(ld, &m->experts[e], name, hidden, p->ffn, p->act, p->bias);
    }
    if (p->shared)
        arch_decoder_mlp_load(ld, &m->shared,
                              p->shared_name ? p->shared_name : "mlp.shared_experts", hidden,
                              p->shared * p->ffn, p->act, p->bias);
}

static void load_norm(nn_loader *ld, nn_norm_w *w, const char *name, size_t n,
                      const decoder_plan *p)
{
    if (!name) return;
    const nn_norm_kind kind = p->norms == NN_NORM_NONE ? NN_NORM_RMS : p->norms;
    nn_load_norm(ld, w, name, kind, n, p->eps, p->norm_flags);
    w->offset = p->norm_offset;
}

static void load_planned_mlp(nn_loader *ld, nn_mlp_w *m, size_t H, const decoder_plan *p,
                             const decoder_names *names)
{
    const size_t F = p->ffn;
    if (!p->gate_with_up && !p->ungated) {
        arch_decoder_mlp_load(ld, m, "mlp", H, F, p->act, p->mlp);
        return;
    }
    m->act = p->act;
    if (p->gate_with_up)
        nn_load_gate_up(ld, m, "mlp.gate_up_proj", F, H, p->mlp);
    else
        nn_load_linear(ld, &m->up, or_else(names->up, "mlp.up_proj"), F, H, p->mlp);
    nn_load_linear(ld, &m->down, or_else(names->down, "mlp.down_proj"), H, F, p->mlp);
}

static void load_planned_layer(arch_build *b, decoder_layer *l, const arch_decoder *d,
                               const decoder_plan *p, const decoder_names *names, size_t il)
{
    nn_loader *ld = &b->ld;
    const size_t H = d->hidden;
    const bool usual = !p->norm1 && !p->norm2 && !p->post1 && !p->post2;
    load_norm(ld, &l->norm1, usual ? "input_layernorm" : p->norm1, H, p);
    load_norm(ld, &l->norm2, usual ? "post_attention_layernorm" : p->norm2, H, p);
    load_norm(ld, &l->post1, p->post1, H, p);
    load_norm(ld, &l->post2, p->post2, H, p);
    load_attn(ld, &l->attn, d, names, p->qkv, p->o);
    l->attn.layout = p->layout;
    load_norm(ld, &l->attn.q_norm, p->q_norm, (p->row_norms ? d->heads : 1) * d->head_dim, p);
    load_norm(ld, &l->attn.k_norm, p->k_norm, (p->row_norms ? d->kv_heads : 1) * d->head_dim, p);
    const bool sparse = il >= p->dense_layers && (!p->sparse_end || il < p->sparse_end) &&
                        (!p->sparse_step || (il + 1) % p->sparse_step == 0);
    if (p->experts && sparse)
        arch_decoder_experts_load(b, &l->moe, H, p->experts);
    else
        load_planned_mlp(ld, &l->mlp, H, p, names);
}

mltf_status arch_decoder_load(arch_build *b, arch_decoder *d, const decoder_plan *p, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    const decoder_names *names = p->names ? p->names : &llama_names;
    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, or_else(names->words, "embed_tokens"), "input id", d->vocab,
                  d->hidden, 0);
    if (names->positions)
        nn_load_embed(ld, &d->positions, names->positions, "position",
                      d->max_positions + d->position_offset, d->hidden, 0);
    if (!d->post_norm) load_norm(ld, &d->norm, or_else(names->norm, "norm"), d->hidden, p);
    for (size_t il = 0; il < d->n_layers; il++) {
        nn_scope(ld, "%s%s.%zu.", ld->base, or_else(names->layers, "layers"), il);
        load_planned_layer(b, &d->layers[il], d, p, names, il);
    }
    arch_decoder_heads_load(b, &d->heads_w, d->hidden, &d->words, or_else(names->head, "lm_head"),
                            p->lm_head, p->tied);
    if (b->m->info.head == ARCH_HEAD_LM) {
        d->heads_w.head.scale = p->logit_scale;
        d->heads_w.head.softcap = p->logit_cap;
    }
    return arch_decoder_done(b, d, err);
}

const decoder_names arch_decoder_gpt2_names = {
    .words = "wte",
    .positions = "wpe",
    .norm = "ln_f",
    .layers = "h",
    .qkv = "attn.c_attn",
    .o = "attn.c_proj",
    .up = "mlp.c_fc",
    .down = "mlp.c_proj",
};

decoder_plan arch_decoder_gpt_plan(const decoder_names *names, size_t ffn, k_act act, float eps)
{
    return (decoder_plan){.names = names,
                          .ffn = ffn,
                          .act = act,
                          .eps = eps,
                          .norms = NN_NORM_LAYER,
                          .norm_flags = NN_BIAS,
                          .ungated = true,
                          .qkv = NN_BIAS,
                          .o = NN_BIAS,
                          .mlp = NN_BIAS,
                          .tied = true};
}

decoder_plan arch_decoder_fairseq_plan(size_t ffn, k_act act)
{
    static const float eps = 1e-5f; // torch's own: no configuration has a key for it
    static const decoder_names names = {
        .norm = "layer_norm", .o = "self_attn.out_proj", .up = "fc1", .down = "fc2"};
    decoder_plan p = arch_decoder_gpt_plan(&names, ffn, act, eps);
    p.norm1 = "self_attn_layer_norm";
    p.norm2 = "final_layer_norm";
    return p;
}

/* ------------------------------------------------------------------ forward */

static void add_scaled(nn_ctx *cx, float *x, float *y, float scale, size_t n)
{
    nn_scale(cx, y, scale == 0 ? 1.0f : scale, n);
    nn_add(cx, x, y, n);
}

static void attention(arch_run *r, float *y, const float *x, const decoder_layer *w,
                      const nn_rope_rows *rope, size_t il)
{
    const arch_decoder *d = r->impl;
    const float scale = w->scale != 0   ? w->scale
                        : d->scale != 0 ? d->scale
                                        : 1.0f / sqrtf((float)d->head_dim);
    const nn_attn a = {.heads = d->heads,
                       .kv_heads = d->kv_heads,
                       .dim = d->head_dim,
                       .v_dim = d->v_dim,
                       .scale = scale,
                       .causal = !d->both_ways,
                       .window = w->window,
                       .softcap = d->softcap,
                       .alibi = d->alibi,
                       .sinks = w->sinks,
                       .bias = d->bias,
                       .bias_user = (void *)(uintptr_t)d};
    if (w->mixer)
        w->mixer(r, y, x, w);
    else if (d->attention)
        d->attention(r, y, x, w, &a, w->rope ? rope : NULL, il);
    else
        nn_self_attention(r->cx, y, x, &w->attn, &a, &r->seqs, w->rope ? rope : NULL, il);
    if (w->post1.kind != NN_NORM_NONE) nn_norm(r->cx, y, y, &w->post1, r->seqs.rows);
}

static nn_attn cross_attn(const arch_decoder *d, const decoder_layer *w)
{
    return (nn_attn){.heads = d->heads,
                     .dim = d->head_dim,
                     .scale = w->scale != 0 ? w->scale : 1.0f / sqrtf((float)d->head_dim)};
}

void arch_decoder_remember(arch_run *r, const float *x)
{
    const arch_decoder *d = r->impl;
    for (size_t il = 0; il < d->n_layers; il++) {
        const nn_attn a = cross_attn(d, &d->layers[il]);
        nn_memory_fill(r->cx, x, &d->layers[il].cross, &a, &r->seqs, il);
    }
}

static bool has_mlp(const decoder_layer *w)
{
    return w->moe.n || nn_has(&w->mlp.up);
}

static void mlp(arch_run *r, float *y, const float *x, const decoder_layer *w)
{
    const size_t T = r->seqs.rows;
    if (w->moe.n)
        nn_moe(r->cx, y, x, &w->moe, T);
    else
        nn_mlp(r->cx, y, x, &w->mlp, T);
    if (w->post2.kind != NN_NORM_NONE) nn_norm(r->cx, y, y, &w->post2, T);
}

static void norm_or_copy(nn_ctx *cx, float *y, const float *x, const nn_norm_w *w, size_t T,
                         size_t H)
{
    if (w->kind == NN_NORM_NONE)
        nn_copy(cx, y, x, T * H);
    else
        nn_norm(cx, y, x, w, T);
}

/* x [T, H] by columns; weight may be NULL. */
static void weigh(nn_ctx *cx, float *x, const float *weight, size_t T, size_t H)
{
    for (size_t i = 0; weight && nn_ok(cx) && i < T * H; i++) x[i] *= weight[i % H];
}

static void layer_forward(arch_run *r, float *x, const decoder_layer *w, const nn_rope_rows *rope,
                          size_t il)
{
    nn_ctx *cx = r->cx;
    const arch_decoder *d = r->impl;
    const size_t T = r->seqs.rows, H = d->hidden;
    const nn_mark mark = nn_save(cx);
    float *h = nn_f32(cx, T, H), *y = nn_f32(cx, T, H); // [T, H]
    if (d->post_norm) {
        attention(r, y, x, w, rope, il);
        nn_add_norm(cx, x, y, &w->norm1, T);
        mlp(r, y, x, w);
        nn_add_norm(cx, x, y, &w->norm2, T);
    } else if (d->parallel) {
        norm_or_copy(cx, h, x, &w->norm1, T, H);
        attention(r, y, h, w, rope, il);
        if (w->norm2.kind != NN_NORM_NONE) nn_norm(cx, h, x, &w->norm2, T);
        mlp(r, h, h, w);
        add_scaled(cx, x, y, d->residual_scale, T * H);
        add_scaled(cx, x, h, d->residual_scale, T * H);
    } else {
        norm_or_copy(cx, h, x, &w->norm1, T, H);
        attention(r, y, h, w, rope, il);
        if (d->residual_of_norm) nn_copy(cx, x, h, T * H);
        weigh(cx, x, w->residual1, T, H);
        add_scaled(cx, x, y, w->part1 != 0 ? w->part1 : d->residual_scale, T * H);
        nn_tap(cx, "attn", (int)il, x, T, H);
        if (r->seqs.memory && nn_has(&w->cross.q)) {
            const nn_attn a = cross_attn(d, w);
            nn_norm(cx, h, x, &w->cross_norm, T);
            nn_cross_attention(cx, y, h, &w->cross, &a, &r->seqs, il);
            nn_add(cx, x, y, T * H);
            nn_tap(cx, "cross", (int)il, x, T, H);
        }
        if (has_mlp(w)) {
            norm_or_copy(cx, h, x, &w->norm2, T, H);
            mlp(r, y, h, w);
            if (d->residual_of_norm) nn_copy(cx, x, h, T * H);
            weigh(cx, x, w->residual2, T, H);
            add_scaled(cx, x, y, w->part2 != 0 ? w->part2 : d->residual_scale, T * H);
        }
    }
    nn_tap(cx, "out", (int)il, x, T, H);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* Token embeddings in the body's width, with positions that are not rotations. */
static float *embed(arch_run *r, const arch_decoder *d)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows;
    float *x = arch_embed_tokens(r, &d->words); // [T, E]
    nn_scale(cx, x, d->embed_scale == 0 ? 1.0f : d->embed_scale, T * d->words.w.K);
    if (nn_has(&d->project_in)) {
        float *wide = nn_f32(cx, T, d->hidden); // [T, H]
        nn_linear(cx, wide, x, &d->project_in, T);
        x = wide;
    }
    if (d->positions.w.data) {
        for (size_t t = 0; nn_ok(cx) && t < T; t++) r->s->pos[t] += (int32_t)d->position_offset;
        nn_embed_add(cx, x, r->seqs.pos, &d->positions, T);
    }
    for (size_t t = 0; d->sines && nn_ok(cx) && t < T; t++)
        arch_add_sines(x + t * d->hidden, (size_t)r->seqs.pos[t] + d->position_offset, d->hidden);
    if (d->types_are_words && r->batch->type_ids) {
        float *types = nn_f32(cx, T, d->hidden);
        nn_embed(cx, types, r->batch->type_ids, &d->words, T);
        add_scaled(cx, x, types, d->embed_scale, T * d->hidden);
    }
    if (d->embed_norm.kind != NN_NORM_NONE) nn_norm(cx, x, x, &d->embed_norm, T);
    return x;
}

void arch_decoder_forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const arch_decoder *d = r->impl;
    const size_t T = r->seqs.rows, H = d->hidden;
    float *x = embed(r, d); // [T, H]
    nn_rope_rows rope = {0}, local = {0};
    if (d->rope.inv_freq) rope = nn_rope_prepare(cx, &d->rope, &r->seqs);
    if (d->rope_local.inv_freq) local = nn_rope_prepare(cx, &d->rope_local, &r->seqs);
    for (size_t il = 0; il < d->n_layers; il++) {
        const decoder_layer *w = &d->layers[il];
        if (!d->input_unseen) arch_keep_hidden(r, x, H);
        layer_forward(r, x, w, w->rope == &d->rope_local ? &local : &rope, il);
        if (d->input_unseen) arch_keep_hidden(r, x, H);
    }
    if (d->norm_unseen) arch_keep_hidden(r, x, H);
    if (d->norm.kind != NN_NORM_NONE) nn_norm(cx, x, x, &d->norm, T);
    size_t width = H;
    if (nn_has(&d->project_out)) {
        width = d->project_out.w.N;
        float *narrow = nn_f32(cx, T, width);
        nn_linear(cx, narrow, x, &d->project_out, T);
        x = narrow;
    }
    if (!d->norm_unseen) arch_keep_hidden(r, x, width);
    arch_heads_forward(r, &d->heads_w, x, width);
}
