/* LFM2. Liquid AI 2025; transformers 4.57 models/lfm2/modeling_lfm2.py.
 *
 *   ids ─ embedding ─ n x [ x += operator(rms x);  x += w2(silu(w1 rms x) * w3 rms x) ] ─ rms ─ head
 *
 *   operator  full_attention: grouped, each head of q and k normed, rotated
 *             conv: [b | c | v] = in_proj x;  out_proj(c * (causal convolution of b * v, channel by channel))
 *
 * A convolution needs the last rows of b * v: they lie in the layer's part of the KV cache, a row a token, so that a
 * cache may be cut and copied as any other; where a row is wider than keys and values together, layers are added
 * behind the real ones for the rest.
 *
 * Easy to get wrong: the feed-forward's width is two thirds of what config.json says, rounded up (block_*); the
 * last norm is called embedding_norm. Checked on: random checkpoints of the library. */
#include <math.h>
#include <string.h>

#include "arch/arch_recurrent.h"

typedef struct {
    nn_linear_w in, out; // [3H, H], [H, H]
    nn_conv_w conv;
    size_t more, extra; // layers of the cache besides the own one: how many, and which is the first
} short_conv;

static size_t read_ffn(arch_config *c)
{
    size_t n = cfg_dim(c, "block_ff_dim|intermediate_size", 12288);
    if (!cfg_bool(c, "block_auto_adjust_ff_dim", true)) return n;
    n = 2 * n / 3;
    const size_t multiple = cfg_dim(c, "block_multiple_of", 256);
    const json *by = json_get(c->root, "block_ffn_dim_multiplier");
    if (by && by->type == JSON_NULL) return n;
    const float factor = cfg_float(c, "block_ffn_dim_multiplier", 1);
    if (!(factor > 0 && factor <= 64)) {
        cfg_fail(c, "\"block_ffn_dim_multiplier\" must be above 0 and at most 64");
        return 1;
    }
    n = (size_t)(json_double(by, 1.0) * (double)n);
    return (n + multiple - 1) / multiple * multiple;
}

static bool is_conv(arch_config *c, size_t il)
{
    if (cfg_get(c, "layer_types")) return cfg_layer_is(c, il, "conv", false);
    const json *full = cfg_get(c, "full_attn_idxs");
    for (size_t i = 0; i < json_len(full); i++)
        if (json_int(json_at(full, i), -1) == (int64_t)il) return false;
    return full != NULL;
}

/* ------------------------------------------------------------------ forward */

/* Row `row` of a layer of a cache as H floats, there or back. */
static void cache_row(const nn_cache *c, const short_conv *w, size_t il, size_t row, float *x,
                      size_t H, bool store)
{
    const kernel_table *k = kernels();
    const size_t es = dtype_size(c->shape.dtype);
    for (size_t piece = 0, at = 0; piece <= w->more; piece++)
        for (size_t h = 0; h < 2 * c->shape.kv_heads && at < H; h++) {
            const size_t layer = piece ? w->extra + piece - 1 : il;
            const size_t dim = h % 2 ? c->shape.v_dim : c->shape.k_dim;
            const size_t n = dim < H - at ? dim : H - at;
            char *plane = h % 2 ? nn_cache_v(c, layer, h / 2) : nn_cache_k(c, layer, h / 2);
            if (store)
                k->narrow(plane + row * dim * es, x + at, c->shape.dtype, n);
            else
                k->widen(x + at, plane + row * dim * es, c->shape.dtype, n);
            at += n;
        }
}

/* y [T, H] = the convolution of u [T, H] over each sequence and what its cache holds. */
static void convolve(arch_run *r, float *y, float *u, const short_conv *w, size_t H, size_t il)
{
    nn_ctx *cx = r->cx;
    const size_t past = w->conv.width - 1;
    float *before = nn_f32(cx, past, H); // the rows in front of a sequence, the last one last
    for (size_t s = 0; nn_ok(cx) && s < r->seqs.n; s++) {
        const size_t a = r->seqs.start[s], n = r->seqs.start[s + 1] - a, at = nn_past(&r->seqs, s);
        nn_cache *cache = r->seqs.caches ? r->seqs.caches[s] : NULL;
        const size_t held = at < past ? at : past;
        if (held < past) memset(before, 0, (past - held) * H * sizeof *before);
        for (size_t i = 0; i < held; i++)
            cache_row(cache, w, il, at - held + i, before + (past - held + i) * H, H, false);
        nn_conv_rows(y + a * H, u + a * H, H, before, &w->conv, n);
        for (size_t t = 0; cache && t < n; t++)
            cache_row(cache, w, il, at + t, u + (a + t) * H, H, true);
    }
}

static void conv_forward(arch_run *r, float *y, const float *x, const short_conv *w, size_t il)
{
    nn_ctx *cx = r->cx;
    const arch_decoder *d = r->impl;
    const size_t T = r->seqs.rows, H = d->hidden;
    const nn_mark mark = nn_save(cx);
    float *bcv = nn_f32(cx, T, 3 * H), *u = nn_f32(cx, T, H), *out = nn_f32(cx, T, H);
    uint16_t *bf16 = nn_bytes(cx, H * sizeof *bf16);
    nn_linear(cx, bcv, x, &w->in, T);
    for (size_t t = 0; nn_ok(cx) && t < T; t++) {
        const float *b = bcv + t * 3 * H, *v = b + 2 * H;
        const float live = !r->seqs.key_mask || r->seqs.key_mask[t] ? 1 : 0;
        for (size_t c = 0; c < H; c++) u[t * H + c] = live * b[c] * v[c];
        if (r->m->info.compute == DT_BF16) { // the same whether the row comes from a cache or not
            cx->k->narrow(bf16, u + t * H, DT_BF16, H);
            cx->k->widen(u + t * H, bf16, DT_BF16, H);
        }
    }
    convolve(r, out, u, w, H, il);
    for (size_t t = 0; nn_ok(cx) && t < T; t++)
        for (size_t c = 0; c < H; c++) out[t * H + c] *= bcv[t * 3 * H + H + c];
    nn_linear(cx, y, out, &w->out, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void operator_forward(arch_run *r, float *y, const float *x, const decoder_layer *w,
                             const nn_attn *a, const nn_rope_rows *rope, size_t il)
{
    if (w->own)
        conv_forward(r, y, x, w->own, il);
    else
        nn_self_attention(r->cx, y, x, &w->attn, a, &r->seqs, rope, il);
}

/* ------------------------------------------------------------------ load */

static const short_conv *load_conv(arch_build *b, const arch_decoder *d, size_t *cache_layers)
{
    nn_loader *ld = &b->ld;
    const size_t H = d->hidden, room = d->kv_heads * 2 * d->head_dim;
    const unsigned bias = cfg_bool(&b->cfg, "conv_bias", false) ? NN_BIAS : NN_NO_BIAS;
    short_conv *w = arch_new(b, 1, sizeof *w);
    if (!w) return NULL;
    nn_load_linear(ld, &w->in, "conv.in_proj", 3 * H, H, bias);
    nn_load_linear(ld, &w->out, "conv.out_proj", H, H, bias);
    size_t state = 0; // none: the rows lie in the cache
    nn_conv_load(ld, &w->conv, "conv.conv", H,
                 cfg_size(&b->cfg, "conv_L_cache", 3, 1, ARCH_CONV_MAX), K_ACT_NONE, bias, &state);
    w->more = (H + room - 1) / room - 1;
    w->extra = *cache_layers;
    *cache_layers += w->more;
    return w;
}

static void load_layer(arch_build *b, decoder_layer *l, const arch_decoder *d, float eps)
{
    nn_loader *ld = &b->ld;
    const size_t H = d->hidden, D = d->head_dim;
    nn_load_linear(ld, &l->attn.q, "self_attn.q_proj", d->heads * D, H, NN_NO_BIAS);
    nn_load_linear(ld, &l->attn.k, "self_attn.k_proj", d->kv_heads * D, H, NN_NO_BIAS);
    nn_load_linear(ld, &l->attn.v, "self_attn.v_proj", d->kv_heads * D, H, NN_NO_BIAS);
    nn_load_linear(ld, &l->attn.o, "self_attn.out_proj", H, d->heads * D, NN_NO_BIAS);
    nn_load_norm(ld, &l->attn.q_norm, "self_attn.q_layernorm", NN_NORM_RMS, D, eps, 0);
    nn_load_norm(ld, &l->attn.k_norm, "self_attn.k_layernorm", NN_NORM_RMS, D, eps, 0);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){
               .hidden = 2560, .n_layers = 32, .heads = 32, .kv_heads = 8, .vocab = 65536});
    TRY(arch_build_ok(b, err));
    d->attention = operator_forward;
    const size_t H = d->hidden, F = read_ffn(c);
    const float eps = cfg_float(c, "norm_eps", 1e-5f);
    arch_rope_load(
        &d->rope, b,
        &(arch_rope_options){.dim = d->head_dim,
                             .theta = 1e6f,
                             .theta_key = "theta|rope_theta",
                             .max_positions = cfg_dim(c, "max_position_embeddings", 128000)});
    TRY(arch_decoder_layers(b, d, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, H, 0);
    nn_load_norm(ld, &d->norm, "embedding_norm", NN_NORM_RMS, H, eps, 0);
    size_t cache_layers = d->n_layers;
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        nn_load_norm(ld, &l->norm1, "operator_norm", NN_NORM_RMS, H, eps, 0);
        nn_load_norm(ld, &l->norm2, "ffn_norm", NN_NORM_RMS, H, eps, 0);
        if (is_conv(c, il))
            l->own = load_conv(b, d, &cache_layers);
        else
            load_layer(b, l, d, eps);
        arch_decoder_mlp_w_load(ld, &l->mlp, "feed_forward", H, F, K_ACT_SILU, NN_NO_BIAS);
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_NO_BIAS, true);
    TRY(arch_decoder_done(b, d, err));
    b->m->cache_shape.layers = cache_layers;
    return MLTF_OK;
}

const arch_family arch_lfm2 = {
    .model_types = (const char *const[]){"lfm2", NULL},
    .classes = (const char *const[]){"Lfm2Model", "Lfm2ForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
