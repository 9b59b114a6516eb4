/* Llama 4 (text). Meta 2025; transformers 4.57 models/llama4/modeling_llama4.py.
 *
 *   ids ─ embedding ─ n x [ x += attention(rms x);  x += mlp(rms x), or shared(rms x) + experts(rms x) ] ─ rms ─ head
 *
 *   most layers rotate, norm each head of q and k (no weight) and see the tokens of their own chunk alone;
 *   every fourth sees everything, does not rotate, and sharpens its queries with the logarithm of the position
 *
 * Easy to get wrong: the norm comes behind the rotation, which turns neighbours; an expert gets its input times the
 * sigmoid of its score; layers without experts have a width of their own (intermediate_size_mlp). Keys of a chunk that
 * is over stay in the cache. Checked on: random checkpoints of the library. */
#include <math.h>
#include <stdio.h>

#include "arch/arch_decoder.h"

typedef struct {
    arch_decoder base;
    size_t chunk;
    const bool *chunked; // [n_layers]
    float floor_scale,
        sharp;      // of layers that do not rotate; sharp 0: their queries stay as they are
    nn_norm_w unit; // [D], without weight; kind NONE: none
} llama4_model;

typedef struct {
    size_t ffn, dense_ffn, experts, top_k;
    k_act act;
    float eps;
} llama4_config;

/* ------------------------------------------------------------------ forward */

/* Rows of padding in front of a sequence: its text is counted from behind them. */
static size_t padding(const nn_seqs *seqs, size_t s)
{
    size_t t = seqs->start[s];
    while (seqs->key_mask && t < seqs->start[s + 1] && !seqs->key_mask[t]) t++;
    return t - seqs->start[s];
}

/* Keys of other chunks than the query's are not seen. */
static void other_chunks(void *user, float *bias, size_t ld, const nn_bias_at *at)
{
    const arch_run *r = user;
    const size_t chunk = ((const llama4_model *)r->impl)->chunk, skip = padding(&r->seqs, at->seq);
    for (size_t i = 0; i < at->nq; i++) {
        const size_t place = at->pos0 + at->q0 + i;
        const size_t first = place < skip ? 0 : skip + (place - skip) / chunk * chunk;
        for (size_t j = 0; j < at->tk; j++) bias[i * ld + j] = j < first ? -INFINITY : 0;
    }
}

static bool past_a_chunk(const arch_run *r, size_t chunk)
{
    for (size_t s = 0; s < r->seqs.n; s++)
        if (nn_past(&r->seqs, s) + r->seqs.start[s + 1] - r->seqs.start[s] > chunk) return true;
    return false;
}

/* q [T, N] grows with the logarithm of its place. */
static void sharpen(arch_run *r, float *q, const llama4_model *m, size_t N)
{
    for (size_t s = 0; nn_ok(r->cx) && s < r->seqs.n; s++) {
        const size_t first = r->seqs.start[s] + padding(&r->seqs, s);
        for (size_t t = first; t < r->seqs.start[s + 1]; t++) {
            const float count = (float)(nn_past(&r->seqs, s) + t - first + 1);
            nn_scale(r->cx, q + t * N, log1pf(floorf(count / m->floor_scale)) * m->sharp + 1, N);
        }
    }
}

static void attention(arch_run *r, float *y, const float *x, const decoder_layer *l,
                      const nn_attn *usual, const nn_rope_rows *rope, size_t il)
{
    nn_ctx *cx = r->cx;
    const llama4_model *m = r->impl;
    const size_t T = r->seqs.rows, D = usual->dim, NQ = usual->heads, NK = usual->kv_heads;
    const nn_mark mark = nn_save(cx);
    float *q = nn_f32(cx, T, NQ * D), *k = nn_f32(cx, T, NK * D), *v = nn_f32(cx, T, NK * D);
    float *ctx = nn_f32(cx, T, NQ * D);
    nn_linear_group(cx, (float *[]){q, k, v}, x,
                    (const nn_linear_w *[]){&l->attn.q, &l->attn.k, &l->attn.v}, 3, T);
    if (rope) {
        nn_rope_apply(cx, q, NQ * D, D, NQ, rope, T);
        nn_rope_apply(cx, k, NK * D, D, NK, rope, T);
        if (m->unit.kind != NN_NORM_NONE) {
            nn_norm(cx, q, q, &m->unit, T * NQ);
            nn_norm(cx, k, k, &m->unit, T * NK);
        }
    } else if (m->sharp != 0) {
        sharpen(r, q, m, NQ * D);
    }
    nn_attn a = *usual;
    if (m->chunked[il] && past_a_chunk(r, m->chunk)) {
        a.bias = other_chunks;
        a.bias_user = r;
    }
    nn_attend(cx, ctx, (nn_heads){q, NQ * D, D}, (nn_heads){k, NK * D, D}, (nn_heads){v, NK * D, D},
              &r->seqs, &a, il);
    nn_linear(cx, y, ctx, &l->attn.o, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* ------------------------------------------------------------------ load */

static void load_experts(arch_build *b, nn_moe_w *m, size_t H, const llama4_config *o)
{
    nn_loader *ld = &b->ld;
    const size_t E = o->experts, F = o->ffn;
    *m = (nn_moe_w){.n = E, .top_k = o->top_k, .scores = NN_MOE_SIGMOID, .weigh_input = true};
    nn_load_linear(ld, &m->router, "feed_forward.router", E, H, NN_NO_BIAS | NN_KEEP_FLOAT);
    arch_stacked_experts_load(b, m, "feed_forward.experts.gate_up_proj",
                              "feed_forward.experts.down_proj", H, F, o->act, NN_CONV1D);
    arch_decoder_mlp_load(ld, &m->shared, "feed_forward.shared_expert", H, F, o->act, NN_NO_BIAS);
}

/* Is the layer in the list, or, where there is none, the last of so many? */
static bool has_experts(arch_config *c, size_t il)
{
    const json *list = cfg_get(c, "moe_layers");
    const size_t step = cfg_size(c, "interleave_moe_layer_step", 1, 1, 1 << 20);
    if (!list) return (il + 1) % step == 0;
    for (size_t i = 0; i < json_len(list); i++)
        if (json_int(json_at(list, i), -1) == (int64_t)il) return true;
    return false;
}

static bool rotates(arch_config *c, size_t il)
{
    const json *list = cfg_get(c, "no_rope_layers"); // which names the layers that have one
    const size_t step = cfg_size(c, "no_rope_layer_interval", 4, 1, 1 << 20);
    if (json_len(list) == 0) return (il + 1) % step != 0;
    const json *is = json_at(list, il);
    if (!is) cfg_fail(c, "\"no_rope_layers\" says nothing of layer %zu", il);
    return json_int(is, 0) != 0;
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    llama4_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_decoder *d = &m->base;
    *d = (arch_decoder){.hidden = 5120,
                        .n_layers = 48,
                        .heads = 40,
                        .kv_heads = 8,
                        .head_dim = 128,
                        .vocab = 202048};
    arch_decoder_config(c, d);
    d->attention = attention;
    const size_t H = d->hidden;
    const llama4_config o = {.ffn = cfg_dim(c, "intermediate_size", 8192),
                             .dense_ffn = cfg_dim(c, "intermediate_size_mlp", 16384),
                             .experts = cfg_size(c, "num_local_experts", 16, 1, 4096),
                             .top_k = cfg_size(c, "num_experts_per_tok", 1, 1, 64),
                             .act = cfg_act(c, "hidden_act", "silu"),
                             .eps = cfg_float(c, "rms_norm_eps", 1e-5f)};
    m->chunk = cfg_size(c, "attention_chunk_size", 8192, 1, (size_t)1 << 40);
    m->floor_scale = cfg_float(c, "floor_scale", 8192);
    if (cfg_bool(c, "attn_temperature_tuning", true)) m->sharp = cfg_float(c, "attn_scale", 0.1f);
    if (cfg_bool(c, "use_qk_norm", true))
        m->unit = (nn_norm_w){.kind = NN_NORM_RMS, .n = d->head_dim, .eps = o.eps};
    arch_decoder_rope(b, d, 500000, 131072);
    d->rope.interleaved = true;
    TRY(arch_decoder_layers(b, d, err));
    bool *chunked = arch_new(b, d->n_layers, sizeof *chunked);
    TRY(arch_build_ok(b, err));
    m->chunked = chunked;

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, H, 0);
    nn_load_norm(ld, &d->norm, "norm", NN_NORM_RMS, H, o.eps, 0);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        if (!rotates(c, il)) l->rope = NULL;
        chunked[il] = cfg_layer_is(c, il, "chunked_attention", l->rope != NULL);
        nn_load_norm(ld, &l->norm1, "input_layernorm", NN_NORM_RMS, H, o.eps, 0);
        nn_load_norm(ld, &l->norm2, "post_attention_layernorm", NN_NORM_RMS, H, o.eps, 0);
        arch_decoder_attn_load(ld, &l->attn, d, NN_NO_BIAS, NN_NO_BIAS);
        if (has_experts(c, il))
            load_experts(b, &l->moe, H, &o);
        else
            arch_decoder_mlp_load(ld, &l->mlp, "feed_forward", H, o.dense_ffn, o.act, NN_NO_BIAS);
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_NO_BIAS, false);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_llama4 = {
    .model_types = (const char *const[]){"llama4_text", NULL},
    .classes = (const char *const[]){"Llama4TextModel", "Llama4ForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
