/* Perceiver IO, as a model of text. Jaegle et al. 2021, arXiv:2107.14795; transformers 4.57
 * models/perceiver/modeling_perceiver.py.
 *
 *   bytes ─ word + position embeddings ─┐
 *   latents ─ layer that reads them ────┴─ blocks x n x layer ─┐
 *   queries, one for each byte or one for all ─ layer that reads the latents ─ head
 *
 *   a layer:  y = dense(attention(norm x, norm of what is read)) (+ x);  y + mlp(norm y)
 *
 * Easy to get wrong: blocks share their layers; norms have torch's epsilon whatever config.json says; the queries of the
 * masked LM have 8 heads of 32 and no residual, the classifier's one head. PerceiverModel alone knows no text. Checked on:
 * random checkpoints of the library. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch_internal.h"

typedef struct {
    size_t heads;
    bool residual;
    nn_norm_w norm1,
        norm2; // of the queries, and of what is read; kind NONE: the layer reads itself
    nn_linear_w q, k, v, dense;
    nn_norm_w norm;
    nn_mlp_w mlp;
} perceiver_layer;

typedef struct {
    size_t width, n_latents, latent; // of the text's rows; latents and their width
    size_t blocks, per_block, heads, cross_heads;
    size_t positions, vocab;
    k_act act;
    nn_embed_w words, position;
    const float *latents; // [n_latents, latent]
    perceiver_layer reads, answers;
    perceiver_layer *layers; // [per_block]
    nn_embed_w queries;      // [positions, width], or one row of `latent`
    arch_heads head;
} perceiver_model;

/* ------------------------------------------------------------------ load */

static const float eps = 1e-5f; // torch's own

/* In scope: queries of width Q read rows of width K; what they attend with is qk and v wide. */
static void load_layer(nn_loader *ld, perceiver_layer *l, const perceiver_model *m, size_t Q,
                       size_t K, size_t qk, size_t v, size_t widening, bool reads)
{
    nn_load_norm(ld, &l->norm1, "attention.self.layernorm1", NN_NORM_LAYER, Q, eps, NN_BIAS);
    if (reads)
        nn_load_norm(ld, &l->norm2, "attention.self.layernorm2", NN_NORM_LAYER, K, eps, NN_BIAS);
    nn_load_linear(ld, &l->q, "attention.self.query", qk, Q, NN_BIAS);
    nn_load_linear(ld, &l->k, "attention.self.key", qk, K, NN_BIAS);
    nn_load_linear(ld, &l->v, "attention.self.value", v, K, NN_BIAS);
    nn_load_linear(ld, &l->dense, "attention.output.dense", Q, v, NN_BIAS);
    nn_load_norm(ld, &l->norm, "layernorm", NN_NORM_LAYER, Q, eps, NN_BIAS);
    nn_load_linear(ld, &l->mlp.up, "mlp.dense1", widening * Q, Q, NN_BIAS);
    nn_load_linear(ld, &l->mlp.down, "mlp.dense2", Q, widening * Q, NN_BIAS);
    l->mlp.act = m->act;
}

static void read_config(arch_config *c, perceiver_model *m)
{
    m->width = cfg_dim(c, "d_model", 768);
    m->n_latents = cfg_size(c, "num_latents", 256, 1, 1 << 16);
    m->latent = cfg_dim(c, "d_latents", 1280);
    m->blocks = cfg_size(c, "num_blocks", 1, 1, LIMIT_LAYERS);
    m->per_block = cfg_layers(c, "num_self_attends_per_block", 26);
    m->heads = cfg_dim(c, "num_self_attention_heads", 8);
    m->cross_heads = cfg_dim(c, "num_cross_attention_heads", 8);
    m->positions = cfg_dim(c, "max_position_embeddings", 2048);
    m->vocab = cfg_dim(c, "vocab_size", 262);
    m->act = cfg_act(c, "hidden_act", "gelu");
}

static void load_encoder(arch_build *b, perceiver_model *m)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    const size_t E = m->width, Z = m->latent;
    const bool as_read = str_is(cfg_str(c, "cross_attention_shape_for_attention", "kv"), "kv");
    const size_t own_qk = cfg_size(c, "qk_channels", 0, 0, 1 << 20);
    const size_t own_v = cfg_size(c, "v_channels", 0, 0, 1 << 20);
    const size_t wide = cfg_size(c, "cross_attention_widening_factor", 1, 1, 64);
    const size_t cross = own_qk ? own_qk : as_read ? E : Z, self = own_qk ? own_qk : Z;
    const size_t cross_v = own_v ? own_v : cross, self_v = own_v ? own_v : self;
    if (cross % m->cross_heads || cross_v % m->cross_heads || self % m->heads ||
        self_v % m->heads || self_v != Z)
        cfg_fail(c, "the channels of attention, %zu and %zu, do not fit the heads or \"d_latents\"",
                 self, self_v);
    nn_scope(ld, "%sencoder.cross_attention.", ld->base);
    m->reads.heads = m->cross_heads;
    m->reads.residual = cfg_bool(c, "use_query_residual", true);
    load_layer(ld, &m->reads, m, Z, E, cross, cross_v, wide, true);
    for (size_t il = 0; il < m->per_block; il++) {
        nn_scope(ld, "%sencoder.self_attends.%zu.", ld->base, il);
        m->layers[il].heads = m->heads;
        m->layers[il].residual = true;
        load_layer(ld, &m->layers[il], m, Z, Z, self, self_v,
                   cfg_size(c, "self_attention_widening_factor", 1, 1, 64), false);
    }
}

static void load_decoder(arch_build *b, perceiver_model *m)
{
    nn_loader *ld = &b->ld;
    const size_t E = m->width, Z = m->latent, labels = b->m->info.n_labels;
    const bool text = b->m->info.head == ARCH_HEAD_MASKED_LM;
    enum { QUERY_HEADS = 8, QUERY_CHANNELS = 256 };
    if (text && E % QUERY_HEADS)
        cfg_fail(&b->cfg, "\"d_model\" %zu is not a multiple of %d", E, QUERY_HEADS);
    nn_scope(ld, "%s%s.", ld->base, text ? "decoder" : "decoder.decoder");
    const size_t rows = text ? m->positions : 1, Q = text ? E : Z;
    const float *queries =
        nn_load_vector(ld, "output_position_encodings.position_embeddings", rows * Q, 0);
    m->queries =
        (nn_embed_w){.w = {.data = queries, .dtype = DT_F32, .N = rows, .K = Q, .stride = Q},
                     .what = "position"};
    const size_t back = nn_scope_enter(ld, "decoding_cross_attention");
    m->answers.heads = text ? QUERY_HEADS : 1;
    m->answers.residual = !text;
    load_layer(ld, &m->answers, m, Q, Z, text ? QUERY_CHANNELS : Z, Q, 1, true);
    nn_scope_leave(ld, back);
    m->head.has_head = true;
    if (!text) {
        nn_load_linear(ld, &m->head.head.out, "final_layer", labels, Z, NN_BIAS);
        return;
    }
    m->head.head.out = nn_linear_tied(&m->words, ld->compute);
    nn_scope(ld, "%s", "");
    m->head.head.out.bias = nn_load_vector(ld, "embedding_decoder.bias", m->vocab, 0);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    perceiver_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    read_config(&b->cfg, m);
    m->layers = arch_new(b, m->per_block, sizeof *m->layers);
    TRY(arch_build_ok(b, err));
    nn_scope(ld, "%sinput_preprocessor.", ld->base);
    nn_load_embed(ld, &m->words, "embeddings", "input id", m->vocab, m->width, 0);
    nn_load_embed(ld, &m->position, "position_embeddings", "position", m->positions, m->width, 0);
    nn_scope(ld, "%s", ld->base);
    m->latents = nn_load_vector(ld, "embeddings.latents", m->n_latents * m->latent, 0);
    load_encoder(b, m);
    load_decoder(b, m);
    return arch_done(b, m, m->latent, m->vocab, m->per_block, m->positions, err);
}

/* ------------------------------------------------------------------ forward */

/* out [queries, heads v] of q, which see the rows k and v of their sequence in `read`. */
static void attend_across(arch_run *r, float *out, const nn_seqs *queries, nn_heads q, nn_heads k,
                          nn_heads v, const nn_seqs *read, const nn_attn *a)
{
    nn_ctx *cx = r->cx;
    const nn_cache_shape shape = {.layers = 1,
                                  .kv_heads = a->heads,
                                  .k_dim = a->dim,
                                  .v_dim = a->v_dim,
                                  .dtype = r->m->info.compute};
    nn_memory **memory = nn_bytes(cx, read->n * sizeof *memory);
    size_t made = 0;
    for (; nn_ok(cx) && made < read->n; made++) {
        const size_t at = read->start[made], rows = read->start[made + 1] - at;
        mltf_err err = {0};
        nn_memory *m = memory[made] = nn_memory_new(&shape, rows, &err);
        if (m && read->key_mask) m->mask = malloc(rows ? rows : 1);
        if (!m || (read->key_mask && !m->mask)) {
            nn_memory_release(m);
            nn_fail(cx, MLTF_NO_MEMORY, "no memory for the keys of %zu rows", rows);
            break;
        }
        if (m->mask) memcpy(m->mask, read->key_mask + at, rows);
        nn_memory_store(cx, m, 0, (nn_heads){k.p + at * k.ld, k.ld, k.head},
                        (nn_heads){v.p + at * v.ld, v.ld, v.head});
    }
    nn_seqs seqs = *queries;
    seqs.memory = memory;
    nn_attend_memory(cx, out, q, &seqs, a, 0);
    while (made) nn_memory_release(memory[--made]);
}

/* x [queries, Q] in place, which read the rows y of `read`; y NULL: themselves. */
static void layer_forward(arch_run *r, float *x, const perceiver_layer *w, const nn_seqs *queries,
                          const float *y, const nn_seqs *read)
{
    nn_ctx *cx = r->cx;
    const size_t N = w->heads, QK = w->q.w.N, V = w->v.w.N, Q = w->q.w.K, K = w->k.w.K;
    const size_t T = queries->rows, R = y ? read->rows : T;
    const nn_attn attn = {
        .heads = N, .dim = QK / N, .v_dim = V / N, .scale = 1.0f / sqrtf((float)(QK / N))};
    const nn_mark mark = nn_save(cx);
    float *h = nn_f32(cx, T, Q), *in = y ? nn_f32(cx, R, K) : h; // [T, Q], [R, K]
    float *q = nn_f32(cx, T, QK), *k = nn_f32(cx, R, QK), *v = nn_f32(cx, R, V);
    float *ctx = nn_f32(cx, T, V), *z = nn_f32(cx, T, Q);
    nn_norm(cx, h, x, &w->norm1, T);
    if (y) nn_norm(cx, in, y, &w->norm2, R);
    nn_linear(cx, q, h, &w->q, T);
    nn_linear_group(cx, (float *[]){k, v}, in, (const nn_linear_w *[]){&w->k, &w->v}, 2, R);
    const nn_heads hq = {q, QK, QK / N}, hk = {k, QK, QK / N}, hv = {v, V, V / N};
    if (y)
        attend_across(r, ctx, queries, hq, hk, hv, read, &attn);
    else
        nn_attend(cx, ctx, hq, hk, hv, queries, &attn, 0);
    nn_linear(cx, z, ctx, &w->dense, T);
    if (w->residual)
        nn_add(cx, x, z, T * Q);
    else
        nn_copy(cx, x, z, T * Q);
    nn_norm(cx, h, x, &w->norm, T);
    nn_mlp(cx, h, h, &w->mlp, T);
    nn_add(cx, x, h, T * Q);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* As many sequences as there are, of `each` rows. */
static nn_seqs even_seqs(arch_run *r, size_t each)
{
    size_t *start = nn_bytes(r->cx, (r->seqs.n + 1) * sizeof *start);
    for (size_t s = 0; nn_ok(r->cx) && s <= r->seqs.n; s++) start[s] = s * each;
    return (nn_seqs){.n = r->seqs.n, .start = start, .rows = r->seqs.n * each};
}

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const perceiver_model *m = r->impl;
    const size_t L = m->n_latents, Z = m->latent, Q = m->queries.w.K;
    const bool text = m->answers.residual == false;
    float *x = arch_embed_tokens(r, &m->words); // [T, E]
    nn_embed_add(cx, x, r->seqs.pos, &m->position, r->seqs.rows);
    const nn_seqs latents = even_seqs(r, L);
    float *z = nn_f32(cx, latents.rows, Z);
    for (size_t s = 0; nn_ok(cx) && s < latents.n; s++)
        memcpy(z + s * L * Z, m->latents, L * Z * sizeof *z);
    layer_forward(r, z, &m->reads, &latents, x, &r->seqs);
    for (size_t i = 0; nn_ok(cx) && i < m->blocks * m->per_block; i++)
        layer_forward(r, z, &m->layers[i % m->per_block], &latents, NULL, NULL);
    arch_run answer = *r;
    answer.want &= ~(unsigned)ARCH_WANT_HIDDEN; // the latents are no tokens
    if (!text) answer.seqs = even_seqs(r, 1);
    float *y = nn_f32(cx, answer.seqs.rows, Q);
    int32_t *first = nn_bytes(cx, answer.seqs.rows * sizeof *first);
    if (nn_ok(cx)) memset(first, 0, answer.seqs.rows * sizeof *first);
    nn_embed(cx, y, text ? r->seqs.pos : first, &m->queries, answer.seqs.rows);
    layer_forward(r, y, &m->answers, &answer.seqs, z, &latents);
    arch_heads_forward(&answer, &m->head, y, Q);
}

const arch_family arch_perceiver = {
    .model_types = (const char *const[]){"perceiver", NULL},
    .classes =
        (const char *const[]){"PerceiverForMaskedLM", "PerceiverForSequenceClassification", NULL},
    .refused = (const arch_refusal[]){{"PerceiverModel", "alone it reads no text"}, {0}},
    .kind = ARCH_ENCODER,
    .base_prefix = "perceiver.",
    .ignorable = NULL,
    .load = load,
    .forward = forward,
};
