/* ProphetNet and XLM-ProphetNet. Qi et al. 2020, arXiv:2001.04063; transformers 4.57
 * models/prophetnet/modeling_prophetnet.py, models/deprecated/xlm_prophetnet.
 *
 *   encoder: ids ─ embedding + position ─ norm ─ n x [ x = norm(x + attention x);  x = norm(x + mlp x) ]
 *   decoder: two streams through the same layers: the words, and what is to come, which begins as a learned row + the
 *            position of the next token ─ norm ─ n x [ norm(x + ngram attention) ─ norm(x + cross) ─ norm(x + mlp) ]
 *            logits: the head on the second stream
 *
 *   ngram attention   words see the words up to themselves; a row of what is to come sees those words and itself. A bias
 *                     for each bucket of distance is a projection of the row
 *
 * The library has a stream for each of the next `ngram` tokens; none of them sees another, and only the first one's logits
 * are asked for. Easy to get wrong: that one has the last row of ngram_embeddings; positions begin behind pad_token_id,
 * and the encoder's stay at the last row of the table in longer texts. In a pass over several tokens the library gives
 * rows of what is to come the biases of other rows and streams; here, as in its generation, each has its own. Checked on: random checkpoints of the library. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "arch/arch_internal.h"

typedef struct {
    nn_attn_w attn, cross;
    nn_linear_w relative;          // [buckets heads, H]; of the decoder
    nn_norm_w norm1, norm2, norm3; // self, cross (decoder), mlp
    nn_mlp_w mlp;
} prophetnet_layer;

typedef struct {
    size_t n, heads, ffn;
    bool decoder;
    nn_embed_w words, positions;
    nn_norm_w embed_norm;
    prophetnet_layer *layers;
} prophetnet_stack;

typedef struct {
    size_t hidden, vocab, positions, buckets, max_distance, pad;
    k_act act;
    prophetnet_stack enc, dec;
    const float *ahead; // [H] the row that what is to come begins with
    arch_heads heads;
} prophetnet_model;

/* ------------------------------------------------------------------ load */

static void load_attn(nn_loader *ld, nn_attn_w *a, const char *name, size_t H)
{
    const struct {
        nn_linear_w *w;
        const char *end;
    } part[] = {
        {&a->q, "query_proj"}, {&a->k, "key_proj"}, {&a->v, "value_proj"}, {&a->o, "out_proj"}};
    for (size_t i = 0; i < 4; i++) {
        char p[64];
        snprintf(p, sizeof p, "%s.%s", name, part[i].end);
        nn_load_linear(ld, part[i].w, p, H, H, NN_BIAS);
    }
}

static void load_norm(nn_loader *ld, nn_norm_w *w, const char *name, size_t H)
{
    nn_load_norm(ld, w, name, NN_NORM_LAYER, H, 1e-5f, NN_BIAS);
}

static void load_stack(arch_build *b, prophetnet_stack *s, const prophetnet_model *m)
{
    nn_loader *ld = &b->ld;
    const char *side = s->decoder ? "decoder" : "encoder";
    const size_t H = m->hidden;
    s->layers = arch_new(b, s->n, sizeof *s->layers);
    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &s->words, "word_embeddings|encoder.word_embeddings|decoder.word_embeddings",
                  "input id", m->vocab, H, 0);
    nn_scope(ld, "%s%s.", ld->base, side);
    nn_load_embed(ld, &s->positions, "position_embeddings", "position", m->positions, H, 0);
    load_norm(ld, &s->embed_norm, "embeddings_layer_norm", H);
    for (size_t il = 0; s->layers && il < s->n; il++) {
        prophetnet_layer *l = &s->layers[il];
        nn_scope(ld, "%s%s.layers.%zu.", ld->base, side, il);
        load_attn(ld, &l->attn, "self_attn", H);
        load_norm(ld, &l->norm1, "self_attn_layer_norm", H);
        if (s->decoder) {
            nn_load_linear(ld, &l->relative, "self_attn.relative_pos_embeddings",
                           m->buckets * s->heads, H, NN_BIAS);
            load_attn(ld, &l->cross, "cross_attn", H);
            load_norm(ld, &l->norm2, "cross_attn_layer_norm", H);
        }
        nn_load_linear(ld, &l->mlp.up, "feed_forward.intermediate", s->ffn, H, NN_BIAS);
        nn_load_linear(ld, &l->mlp.down, "feed_forward.output", H, s->ffn, NN_BIAS);
        l->mlp.act = m->act;
        load_norm(ld, &l->norm3, "feed_forward_layer_norm", H);
    }
}

static void read_config(arch_config *c, prophetnet_model *m)
{
    m->hidden = cfg_dim(c, "hidden_size", 1024);
    m->vocab = cfg_dim(c, "vocab_size", 30522);
    m->positions = cfg_dim(c, "max_position_embeddings", 512);
    m->buckets = cfg_size(c, "num_buckets", 32, 2, 1 << 20);
    m->max_distance = cfg_size(c, "relative_max_distance", 128, 1, 1 << 30);
    m->act = cfg_act(c, "activation_function", "gelu");
    m->enc = (prophetnet_stack){
        .n = cfg_layers(c, "num_encoder_layers", 12),
        .heads = cfg_dim(c, "num_encoder_attention_heads|num_attention_heads", 16),
        .ffn = cfg_dim(c, "encoder_ffn_dim", 4096)};
    m->dec = (prophetnet_stack){.n = cfg_layers(c, "num_decoder_layers", 12),
                                .heads = cfg_dim(c, "num_decoder_attention_heads", 16),
                                .ffn = cfg_dim(c, "decoder_ffn_dim", 4096),
                                .decoder = true};
    const int64_t pad = cfg_token(c, "pad_token_id", 0);
    m->pad = pad > 0 ? (size_t)pad : 0;
    if (pad < 0) cfg_fail(c, "\"pad_token_id\" is needed to count positions");
    if (m->hidden % m->enc.heads || m->hidden % m->dec.heads)
        cfg_fail(c, "\"hidden_size\" %zu is not a multiple of the number of attention heads",
                 m->hidden);
    if (m->max_distance <= m->buckets / 2)
        cfg_fail(c, "\"relative_max_distance\" %zu must be above half of \"num_buckets\" %zu",
                 m->max_distance, m->buckets);
    if (m->positions < m->pad + 3)
        cfg_fail(c, "\"max_position_embeddings\" %zu leaves no room behind \"pad_token_id\"",
                 m->positions);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    prophetnet_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    read_config(&b->cfg, m);
    const size_t H = m->hidden, ngram = cfg_size(&b->cfg, "ngram", 2, 1, 1 << 16);
    TRY(arch_build_ok(b, err));
    load_stack(b, &m->enc, m);
    load_stack(b, &m->dec, m);
    nn_scope(ld, "%sdecoder.", ld->base);
    const float *rows = nn_load_vector(ld, "ngram_embeddings.weight", ngram * H, 0);
    if (rows) m->ahead = rows + (ngram - 1) * H;
    arch_decoder_heads_load(b, &m->heads, H, &m->dec.words, "lm_head", NN_NO_BIAS, true);
    TRY(arch_build_ok(b, err));

    const size_t D = H / m->dec.heads, room = m->positions - m->pad - 2;
    b->m->cache_shape =
        (nn_cache_shape){.layers = m->dec.n, .kv_heads = m->dec.heads, .k_dim = D, .v_dim = D};
    b->m->cross_shape = b->m->cache_shape;
    b->m->info.max_target_positions = room;
    return arch_done(b, m, H, m->vocab, m->enc.n, SIZE_MAX, err);
}

/* ------------------------------------------------------------------ forward */

static float *encoder_forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const prophetnet_model *m = r->impl;
    const prophetnet_stack *s = &m->enc;
    const size_t T = r->seqs.rows, H = m->hidden, D = H / s->heads;
    const nn_attn attn = {.heads = s->heads, .dim = D, .scale = 1.0f / sqrtf((float)D)};
    float *x = arch_embed_tokens(r, &s->words), *y = nn_f32(cx, T, H);
    for (size_t t = 0; t < T; t++) {
        const size_t pos = (size_t)r->seqs.pos[t] + 1 + m->pad;
        r->s->pos[t] = (int32_t)(pos < m->positions ? pos : m->positions - 1);
    }
    nn_embed_add(cx, x, r->seqs.pos, &s->positions, T);
    nn_norm(cx, x, x, &s->embed_norm, T);
    for (size_t il = 0; il < s->n; il++) {
        const prophetnet_layer *l = &s->layers[il];
        arch_keep_hidden(r, x, H);
        nn_self_attention(cx, y, x, &l->attn, &attn, &r->seqs, NULL, il);
        nn_add_norm(cx, x, y, &l->norm1, T);
        nn_tap(cx, "attn", (int)il, x, T, H);
        nn_mlp(cx, y, x, &l->mlp, T);
        nn_add_norm(cx, x, y, &l->norm3, T);
        nn_tap(cx, "out", (int)il, x, T, H);
    }
    arch_keep_hidden(r, x, H);
    return x;
}

/* ---- the decoder's attention */

typedef struct {
    nn_ctx *cx;
    const nn_seqs *seqs;
    size_t layer, heads, dim, buckets;
    float scale;
    const uint32_t *bucket; // of each distance
    const float *relative;  // [2T, buckets heads]: of the words, then of what is to come
    float *q, *k, *v;       // [2T, H] the same
    float *ctx;             // [2T, H]
    float *scratch;         // of each worker [longest, 2 D + 1]
    size_t longest;
} ngram_job;

/* Distances [0, n) in buckets, as Python counts them in f32. */
static uint32_t *buckets_of(nn_ctx *cx, const prophetnet_model *m, size_t n)
{
    uint32_t *bucket = nn_bytes(cx, n * sizeof *bucket);
    const size_t exact = m->buckets / 2;
    const float step = (float)log((double)m->max_distance / (double)exact);
    for (size_t d = 0; nn_ok(cx) && d < n; d++) {
        const float far =
            (float)exact + logf((float)d / (float)exact) / step * (float)(m->buckets - exact);
        bucket[d] = d < exact ? (uint32_t)d : (uint32_t)fminf(far, (float)(m->buckets - 1));
    }
    return bucket;
}

/* Words: the bias of row i for key j. */
static void word_bias(void *user, float *bias, size_t ld, const nn_bias_at *at)
{
    const ngram_job *g = user;
    for (size_t i = 0; i < at->nq; i++) {
        const size_t row = g->seqs->start[at->seq] + at->q0 + i, place = at->pos0 + at->q0 + i;
        const float *rel = g->relative + row * g->buckets * g->heads + at->head;
        for (size_t j = 0; j < at->tk; j++)
            bias[i * ld + j] = rel[g->bucket[j < place ? place - j : 0] * g->heads];
    }
}

static float dot(const float *a, const float *b, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* The words' keys and values of one head and sequence, up to the last row of this pass, as f32 [rows, D]. */
static void gather(const ngram_job *g, float *keys, float *values, size_t s, size_t h, size_t rows)
{
    const size_t D = g->dim, H = g->heads * D, start = g->seqs->start[s];
    if (g->seqs->caches) {
        const nn_cache *c = g->seqs->caches[s];
        g->cx->k->widen(keys, nn_cache_k(c, g->layer, h), c->shape.dtype, rows * D);
        g->cx->k->widen(values, nn_cache_v(c, g->layer, h), c->shape.dtype, rows * D);
        return;
    }
    for (size_t j = 0; j < rows; j++) {
        memcpy(keys + j * D, g->k + (start + j) * H + h * D, D * sizeof *keys);
        memcpy(values + j * D, g->v + (start + j) * H + h * D, D * sizeof *values);
    }
}

/* What is to come: rows of one head and sequence, each over the words before it and itself. */
static void ahead_piece(void *arg, size_t first, size_t last, int worker)
{
    const ngram_job *g = arg;
    const size_t D = g->dim, H = g->heads * D, T = g->seqs->rows;
    float *keys = g->scratch + (size_t)worker * g->longest * (2 * D + 1);
    float *values = keys + g->longest * D, *p = values + g->longest * D;
    for (size_t piece = first; piece < last; piece++) {
        const size_t s = piece / g->heads, h = piece % g->heads, past = nn_past(g->seqs, s);
        const size_t start = g->seqs->start[s], n = g->seqs->start[s + 1] - start;
        gather(g, keys, values, s, h, past + n);
        for (size_t i = 0; i < n; i++) {
            const size_t row = T + start + i, seen = past + i + 1; // of the words
            const float *q = g->q + row * H + h * D, *own = g->k + row * H + h * D;
            const float *rel = g->relative + row * g->buckets * g->heads + h;
            const uint8_t *mask = g->seqs->caches ? NULL : g->seqs->key_mask;
            float most = p[seen] = dot(q, own, D) * g->scale + rel[0], sum = 0;
            for (size_t j = 0; j < seen; j++) {
                p[j] = mask && !mask[start + j] ? -INFINITY
                                                : dot(q, keys + j * D, D) * g->scale +
                                                      rel[g->bucket[seen - j] * g->heads];
                most = fmaxf(most, p[j]);
            }
            float *y = g->ctx + row * H + h * D;
            memset(y, 0, D * sizeof *y);
            for (size_t j = 0; j <= seen; j++) sum += p[j] = expf(p[j] - most);
            for (size_t j = 0; j <= seen; j++) {
                const float *v = j < seen ? values + j * D : g->v + row * H + h * D;
                for (size_t d = 0; d < D; d++) y[d] += p[j] / sum * v[d];
            }
        }
    }
}

static void ngram_attention(arch_run *r, float *y, const float *x, const prophetnet_layer *l,
                            const uint32_t *bucket, size_t longest, size_t il)
{
    nn_ctx *cx = r->cx;
    const prophetnet_model *m = r->impl;
    const size_t T = r->seqs.rows, H = m->hidden, N = m->dec.heads, D = H / N;
    const nn_mark mark = nn_save(cx);
    float *rel = nn_f32(cx, 2 * T, m->buckets * N);
    ngram_job g = {.cx = cx,
                   .seqs = &r->seqs,
                   .layer = il,
                   .heads = N,
                   .dim = D,
                   .buckets = m->buckets,
                   .scale = 1.0f / sqrtf((float)D),
                   .bucket = bucket,
                   .relative = rel,
                   .q = nn_f32(cx, 2 * T, H),
                   .k = nn_f32(cx, 2 * T, H),
                   .v = nn_f32(cx, 2 * T, H),
                   .ctx = nn_f32(cx, 2 * T, H),
                   .scratch = nn_f32(cx, longest * (size_t)pool_threads(cx->pool), 2 * D + 1),
                   .longest = longest};
    nn_linear_group(cx, (float *[]){g.q, g.k, g.v, rel}, x,
                    (const nn_linear_w *[]){&l->attn.q, &l->attn.k, &l->attn.v, &l->relative}, 4,
                    2 * T);
    const nn_attn words = {
        .heads = N, .dim = D, .scale = g.scale, .causal = true, .bias = word_bias, .bias_user = &g};
    nn_attend(cx, g.ctx, (nn_heads){g.q, H, D}, (nn_heads){g.k, H, D}, (nn_heads){g.v, H, D},
              &r->seqs, &words, il);
    if (nn_ok(cx)) nn_for(cx, r->seqs.n * N, longest * longest * D * 2, ahead_piece, &g);
    nn_linear(cx, y, g.ctx, &l->attn.o, 2 * T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* Both streams, [2T, H]. */
static float *embed_streams(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const prophetnet_model *m = r->impl;
    const size_t T = r->seqs.rows, H = m->hidden;
    float *x = nn_f32(cx, 2 * T, H);
    nn_copy(cx, x, arch_embed_tokens(r, &m->dec.words), T * H);
    if (!nn_ok(cx)) return x;
    for (size_t t = 0; t < T; t++) {
        memcpy(x + (T + t) * H, m->ahead, H * sizeof *x);
        r->s->pos[t] += (int32_t)(1 + m->pad);
    }
    nn_embed_add(cx, x, r->seqs.pos, &m->dec.positions, T);
    for (size_t t = 0; t < T; t++) r->s->pos[t]++;
    nn_embed_add(cx, x + T * H, r->seqs.pos, &m->dec.positions, T);
    nn_norm(cx, x, x, &m->dec.embed_norm, 2 * T);
    return x;
}

static nn_attn cross_of(const prophetnet_model *m)
{
    const size_t D = m->hidden / m->dec.heads;
    return (nn_attn){.heads = m->dec.heads, .dim = D, .scale = 1.0f / sqrtf((float)D)};
}

static float *decoder_forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const prophetnet_model *m = r->impl;
    const size_t T = r->seqs.rows, H = m->hidden;
    const nn_attn cross = cross_of(m);
    size_t longest = 1; // keys of a row of what is to come
    for (size_t s = 0; s < r->seqs.n; s++) {
        const size_t n = nn_past(&r->seqs, s) + r->seqs.start[s + 1] - r->seqs.start[s] + 1;
        if (n > longest) longest = n;
    }
    float *x = embed_streams(r), *y = nn_f32(cx, 2 * T, H);
    const uint32_t *bucket = buckets_of(cx, m, longest);
    for (size_t il = 0; nn_ok(cx) && il < m->dec.n; il++) {
        const prophetnet_layer *l = &m->dec.layers[il];
        arch_keep_hidden(r, x, H);
        ngram_attention(r, y, x, l, bucket, longest, il);
        nn_add_norm(cx, x, y, &l->norm1, 2 * T);
        nn_tap(cx, "attn", (int)il, x, T, H);
        nn_cross_attention(cx, y, x, &l->cross, &cross, &r->seqs, il);
        nn_cross_attention(cx, y + T * H, x + T * H, &l->cross, &cross, &r->seqs, il);
        nn_add_norm(cx, x, y, &l->norm2, 2 * T);
        nn_tap(cx, "cross", (int)il, x, T, H);
        nn_mlp(cx, y, x, &l->mlp, 2 * T);
        nn_add_norm(cx, x, y, &l->norm3, 2 * T);
        nn_tap(cx, "out", (int)il, x, T, H);
    }
    arch_keep_hidden(r, x, H);
    return x;
}

static void encode(arch_run *r)
{
    const prophetnet_model *m = r->impl;
    const nn_attn cross = cross_of(m);
    const float *x = encoder_forward(r);
    for (size_t il = 0; il < m->dec.n; il++)
        nn_memory_fill(r->cx, x, &m->dec.layers[il].cross, &cross, &r->seqs, il);
    arch_heads_forward(r, &(arch_heads){.has_head = false}, x, m->hidden);
}

static void forward(arch_run *r)
{
    const prophetnet_model *m = r->impl;
    if (!r->seqs.memory) {
        nn_fail(r->cx, MLTF_INVALID_INPUT, "the encoder has to run before the decoder");
        return;
    }
    const float *x = decoder_forward(r);
    if (!nn_ok(r->cx)) return;
    const bool ahead = r->m->info.head == ARCH_HEAD_LM;
    arch_heads_forward(r, &m->heads, ahead ? x + r->seqs.rows * m->hidden : x, m->hidden);
}

const arch_family arch_prophetnet = {
    .model_types = (const char *const[]){"prophetnet", "xlm-prophetnet", NULL},
    .classes =
        (const char *const[]){"ProphetNetModel", "ProphetNetForConditionalGeneration",
                              "XLMProphetNetModel", "XLMProphetNetForConditionalGeneration", NULL},
    .refused = (const arch_refusal[]){{"ProphetNetForCausalLM",
                                       "in the library a prompt's rows have the biases of others"},
                                      {"XLMProphetNetForCausalLM",
                                       "in the library a prompt's rows have the biases of others"},
                                      {0}},
    .kind = ARCH_ENCODER_DECODER,
    .base_prefix = "prophetnet.",
    .ignorable = (const char *const[]){"word_embeddings.weight", NULL},
    .load = load,
    .forward = forward,
    .encode = encode,
};
