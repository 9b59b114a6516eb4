/* XLNet. Yang et al. 2019, arXiv:1906.08237; transformers 4.57 models/xlnet/modeling_xlnet.py.
 *
 *   ids ─ word embeddings ─ n x [ relative attention ─ (+x) norm ─ mlp ─ (+x) norm ] ─ heads
 *
 *   score(i, j) = ((q_i + w)·k_j + (q_i + r)·(R s(i - j)) + (q_i + t)·u(same type or not)) / sqrt(D)
 *   s(d): sines, then cosines of the distance; w, r, t: r_w_bias, r_r_bias, r_s_bias; u: seg_embed
 *
 * Easy to get wrong: all projections are stored [H, heads, D], those of q, k, v and r for inputs by rows; the classifier
 * reads the last token, where XLNet's tokenizer puts <cls>. The language model generates with a stream of queries that
 * does not know its own token: one row, mask_emb instead of a word, behind each text, whose key nobody sees. Texts are
 * read both ways, so a new token's row comes with that of the one before it, which now knows what follows; those further
 * back stay as they were. Checked on: random checkpoints of the library. */
#include <math.h>

#include "arch/arch_encoder.h"

enum { REREAD = 1 }; // with a new token comes the row of the one before it

typedef struct {
    nn_linear_w r;                    // [heads D, H]
    const float *w_bias, *r_bias;     // [heads, D]
    const float *type_bias, *segment; // [heads, D], [2, heads, D]
} relative_attention;

typedef struct {
    arch_encoder base;
    size_t clamp;        // distances count up to this; 0: all
    size_t memory;       // so many tokens before those of a pass with a cache are seen
    const float *asking; // [H] mask_emb
} xlnet_model;

/* ------------------------------------------------------------------ load */

static void read_config(arch_config *c, xlnet_model *m)
{
    arch_encoder *e = &m->base;
    const size_t H = cfg_dim(c, "d_model|hidden_size", 1024);
    e->cfg = (encoder_config){
        .hidden = H,
        .embed = H,
        .ffn = cfg_dim(c, "d_inner", 4096),
        .layers = cfg_layers(c, "n_layer|num_hidden_layers", 24),
        .heads = cfg_dim(c, "n_head|num_attention_heads", 16),
        .vocab = cfg_dim(c, "vocab_size|n_token", 32000),
        .eps = cfg_float(c, "layer_norm_eps", 1e-12f),
        .act = cfg_act(c, "ff_activation", "gelu"),
    };
    const mltf_str type = cfg_str(c, "attn_type", "bi");
    e->causal = str_is(type, "uni");
    if (!e->causal && !str_is(type, "bi"))
        cfg_fail(c, "\"attn_type\" \"" STR_FMT "\" is not supported", STR_ARG(type));
    const float clamp = cfg_float(c, "clamp_len", -1);
    m->clamp = clamp > 0 ? (size_t)clamp : 0;
    if (cfg_bool(c, "bi_data", false)) cfg_fail(c, "\"bi_data\" is not supported");
    if (e->causal && cfg_bool(c, "same_length", false))
        cfg_fail(c, "\"same_length\" is not supported");
    if (H % e->cfg.heads || H % 2)
        cfg_fail(c, "\"d_model\" %zu must be even and a multiple of \"n_head\" %zu", H,
                 e->cfg.heads);
}

/* What a language model keeps of a text from token to token. */
static void read_memory(arch_build *b, xlnet_model *m)
{
    arch_config *c = &b->cfg;
    const encoder_config *e = &m->base.cfg;
    const size_t D = e->hidden / e->heads;
    const size_t length =
        cfg_size(c, "mem_len", json_get(c->root, "mem_len") ? 0 : 512, 0, SIZE_MAX);
    m->memory = length == 0 ? SIZE_MAX : length < REREAD + 1 ? 0 : length - REREAD - 1;
    if (cfg_size(c, "reuse_len", 0, 0, SIZE_MAX))
        cfg_fail(c, "\"reuse_len\" is not supported where text is generated");
    b->m->reread = cfg_bool(c, "use_cache|use_mems_eval", true) ? REREAD : SIZE_MAX;
    b->m->asks = true;
    b->m->info.kind = ARCH_DECODER;
    b->m->cache_shape =
        (nn_cache_shape){.layers = e->layers, .kv_heads = e->heads, .k_dim = D, .v_dim = D};
}

static void load_layer(arch_build *b, arch_encoder *e, size_t il)
{
    nn_loader *ld = &b->ld;
    encoder_layer *l = &e->layers[il];
    const size_t H = e->cfg.hidden;
    const encoder_layer_names names = {.attn_norm = "rel_attn.layer_norm",
                                       .up = "ff.layer_1",
                                       .down = "ff.layer_2",
                                       .mlp_norm = "ff.layer_norm"};
    relative_attention *w = arch_new(b, 1, sizeof *w);
    if (!w) return;
    nn_scope(ld, "%slayer.%zu.", ld->base, il);
    arch_encoder_layer_load(ld, l, &names, &e->cfg);
    nn_load_matrix(ld, &l->attn.q, "rel_attn.q", NULL, H, H, NN_CONV1D);
    nn_load_matrix(ld, &l->attn.k, "rel_attn.k", NULL, H, H, NN_CONV1D);
    nn_load_matrix(ld, &l->attn.v, "rel_attn.v", NULL, H, H, NN_CONV1D);
    nn_load_matrix(ld, &l->attn.o, "rel_attn.o", NULL, H, H, 0);
    nn_load_matrix(ld, &w->r, "rel_attn.r", NULL, H, H, NN_CONV1D);
    w->w_bias = nn_load_vector(ld, "rel_attn.r_w_bias", H, 0);
    w->r_bias = nn_load_vector(ld, "rel_attn.r_r_bias", H, 0);
    w->type_bias = nn_load_vector(ld, "rel_attn.r_s_bias", H, 0);
    w->segment = nn_load_vector(ld, "rel_attn.seg_embed", 2 * H, 0);
    l->own = w;
}

static void load_heads(arch_build *b, arch_encoder *e)
{
    const arch_head head = b->m->info.head;
    const arch_summary last = {
        .type = "last", .project = true, .act = "tanh", .out = "logits_proj"};
    const arch_encoder_names names = {.token_out = "classifier", .qa_out = "qa_outputs"};
    if (head == ARCH_HEAD_SEQ_CLS || head == ARCH_HEAD_MULTIPLE_CHOICE)
        arch_summary_load(b, &e->heads, &last, e->cfg.hidden);
    else if (head == ARCH_HEAD_LM)
        arch_decoder_heads_load(b, &e->heads, e->cfg.hidden, &e->embed.words, "lm_loss", NN_BIAS,
                                true);
    else
        arch_encoder_heads_load(b, &e->heads, &names, e->cfg.hidden, &e->embed.words);
}

/* ------------------------------------------------------------------ scores of distance and type */

/* R s(d) of all layers: they depend on the weights alone, so a session keeps them (arch_session.kept). */
typedef struct {
    size_t zero, rows; // rows are distances zero, zero - 1 …
    float **turned;    // [layers][rows, H]
} distances;

typedef struct {
    const arch_run *r;
    size_t heads, rows, zero; // rows of the table of distances; that of distance 0
    size_t memory;
    bool asked;
    const float *by_distance; // [T, heads, rows]
    const float *by_type;     // [T, heads, 2]: of the same type, of another; NULL: no types
    float scale;
} scores;

/* [rows, H] sines and cosines of the distances zero, zero - 1 … */
static float *sines(arch_run *r, const xlnet_model *m, size_t rows, size_t zero)
{
    const size_t H = m->base.cfg.hidden, half = H / 2;
    float *s = nn_f32(r->cx, rows, H);
    for (size_t i = 0; nn_ok(r->cx) && i < rows; i++) {
        float d = (float)zero - (float)i;
        if (m->clamp && fabsf(d) > (float)m->clamp) d = copysignf((float)m->clamp, d);
        for (size_t h = 0; h < half; h++) {
            const float angle = d * (1 / powf(10000, (float)(2 * h) / (float)H));
            s[i * H + h] = sinf(angle);
            s[i * H + half + h] = cosf(angle);
        }
    }
    return s;
}

/* Distances of up to `behind` and `ahead`: made anew where the session's do not reach so far, then for twice as many
 * behind, so that texts of growing length do not pay each time. */
static const distances *turn_distances(arch_run *r, const xlnet_model *m, size_t behind,
                                       size_t ahead)
{
    nn_ctx *cx = r->cx;
    const encoder_config *c = &m->base.cfg;
    const distances *old = r->s->kept;
    if (old && old->zero >= behind && old->rows - 1 - old->zero >= ahead) return old;
    if (old && behind < 2 * old->zero) behind = 2 * old->zero;
    mltf_arena *own = &r->s->kept_own;
    r->s->kept = NULL;
    arena_release(own);
    distances *d = arena_alloc_small(own, sizeof *d);
    if (d) {
        *d = (distances){.zero = behind, .rows = behind + 1 + ahead};
        d->turned = arena_calloc(own, c->layers, sizeof *d->turned);
    }
    if (!d || !d->turned) nn_fail(cx, MLTF_NO_MEMORY, "no memory for %zu layers", c->layers);
    const nn_mark mark = nn_save(cx);
    const float *table = sines(r, m, d ? d->rows : 0, behind);
    for (size_t il = 0; nn_ok(cx) && il < c->layers; il++) {
        const relative_attention *w = m->base.layers[il].own;
        d->turned[il] = arena_f32(own, d->rows, c->hidden);
        if (!d->turned[il]) nn_fail(cx, MLTF_NO_MEMORY, "no memory for %zu distances", d->rows);
        nn_linear(cx, d->turned[il], table, &w->r, d->rows);
    }
    if (!nn_ok(cx)) return NULL;
    nn_restore(cx, mark);
    r->s->kept = d;
    return d;
}

/* y [T, H] = x + bias [H] in each row. */
static void add_row(nn_ctx *cx, float *y, const float *x, const float *bias, size_t T, size_t H)
{
    for (size_t t = 0; nn_ok(cx) && t < T; t++)
        for (size_t h = 0; h < H; h++) y[t * H + h] = x[t * H + h] + bias[h];
}

/* (q + r)·(R s(d)) of all rows, heads and distances. */
static float *score_distances(arch_run *r, const xlnet_model *m, const relative_attention *w,
                              const float *q, const scores *s, size_t il)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, H = m->base.cfg.hidden, N = s->heads, D = H / N;
    const distances *all = turn_distances(r, m, s->zero, s->rows - 1 - s->zero);
    float *y = nn_f32(cx, T, N * s->rows), *biased = nn_f32(cx, T, H);
    nn_linear_w *head = nn_bytes(cx, N * sizeof *head);
    add_row(cx, biased, q, w->r_bias, T, H);
    if (!nn_ok(cx)) return NULL;
    const float *turned = all->turned[il] + (all->zero - s->zero) * H; // [rows, H]
    for (size_t h = 0; h < N; h++)
        head[h] = (nn_linear_w){
            .w = {.data = turned + h * D, .dtype = DT_F32, .N = s->rows, .K = D, .stride = H}};
    nn_linear_each(cx, y, N * s->rows, s->rows, biased, H, D, head, N, T);
    return y;
}

static float *score_types(arch_run *r, const relative_attention *w, const float *q, size_t N,
                          size_t D)
{
    const size_t T = r->seqs.rows;
    float *y = nn_f32(r->cx, T, N * 2);
    for (size_t i = 0; nn_ok(r->cx) && i < T * N * 2; i++) {
        const size_t t = i / 2 / N, h = i / 2 % N;
        const float *u = w->segment + (i % 2 * N + h) * D;
        y[i] = 0;
        for (size_t d = 0; d < D; d++)
            y[i] += (q[(t * N + h) * D + d] + w->type_bias[h * D + d]) * u[d];
    }
    return y;
}

static void relative_bias(void *user, float *bias, size_t ld, const nn_bias_at *at)
{
    const scores *s = user;
    const size_t start = s->r->seqs.start[at->seq];
    const size_t first = at->pos0 > s->memory ? at->pos0 - s->memory : 0;
    const int32_t *type = s->by_type ? s->r->batch->type_ids + start : NULL;
    for (size_t i = 0; i < at->nq; i++) {
        const size_t q = at->q0 + i, row = (start + q) * s->heads + at->head;
        // of key j: near[j]
        const float *near = s->by_distance + row * s->rows + s->zero - (at->pos0 + q);
        for (size_t j = 0; j < at->tk; j++) {
            const float kind = type ? s->by_type[row * 2 + (type[q] != type[j])] : 0;
            bias[i * ld + j] = j < first ? -INFINITY : (near[j] + kind) * s->scale;
        }
        if (s->asked) bias[i * ld + at->tk - 1] = -INFINITY;
    }
}

/* ------------------------------------------------------------------ forward */

static void attention(arch_run *r, float *y, const float *x, const encoder_layer *l,
                      const nn_attn *usual, size_t il)
{
    nn_ctx *cx = r->cx;
    const xlnet_model *m = r->impl;
    const relative_attention *w = l->own;
    const size_t T = r->seqs.rows, D = usual->dim, N = usual->heads, H = N * D;
    size_t behind = 0, ahead = 0;
    for (size_t s = 0; s < r->seqs.n; s++) {
        const size_t rows = r->seqs.start[s + 1] - r->seqs.start[s], past = nn_past(&r->seqs, s);
        if (rows && past + rows - 1 > behind) behind = past + rows - 1;
        if (rows && rows - 1 > ahead) ahead = rows - 1;
    }
    const nn_mark mark = nn_save(cx);
    float *q = nn_f32(cx, T, H), *k = nn_f32(cx, T, H), *v = nn_f32(cx, T, H); // [T, H]
    float *ctx = nn_f32(cx, T, H);                                             // [T, H]
    nn_linear_group(cx, (float *[]){q, k, v}, x,
                    (const nn_linear_w *[]){&l->attn.q, &l->attn.k, &l->attn.v}, 3, T);
    scores s = {.r = r,
                .heads = N,
                .rows = behind + 1 + ahead,
                .zero = behind,
                .memory = m->memory,
                .asked = r->seqs.caches,
                .scale = usual->scale};
    s.by_distance = score_distances(r, m, w, q, &s, il);
    s.by_type = r->batch->type_ids && !s.asked ? score_types(r, w, q, N, D) : NULL;
    add_row(cx, q, q, w->w_bias, T, H);
    nn_attn attn = *usual;
    attn.bias = relative_bias;
    attn.bias_user = &s;
    nn_attend(cx, ctx, (nn_heads){q, H, D}, (nn_heads){k, H, D}, (nn_heads){v, H, D}, &r->seqs,
              &attn, il);
    nn_linear(cx, y, ctx, &l->attn.o, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const xlnet_model *m = r->impl;
    const size_t H = m->base.cfg.hidden;
    arch_run run = *r;
    arch_batch batch = *r->batch;
    if (r->seqs.caches) {                                      // the last row of each sequence asks
        float *x = arch_embed_tokens(r, &m->base.embed.words); // [T, H]
        for (size_t s = 0; s < r->seqs.n; s++)
            nn_copy(cx, x + (r->seqs.start[s + 1] - 1) * H, m->asking, H);
        batch.input_embeds = x;
        run.batch = &batch;
    }
    arch_encoder_forward(&run);
}

/* ------------------------------------------------------------------ registry */

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    xlnet_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_encoder *e = &m->base;
    read_config(&b->cfg, m);
    e->attention = attention;
    e->layers = arch_new(b, e->cfg.layers, sizeof *e->layers);
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &e->embed.words, "word_embedding", "input id", e->cfg.vocab, e->cfg.hidden,
                  0);
    if (b->m->info.head == ARCH_HEAD_LM) {
        read_memory(b, m);
        m->asking = nn_load_vector(ld, "mask_emb", e->cfg.hidden, 0);
    }
    for (size_t il = 0; il < e->cfg.layers; il++) load_layer(b, e, il);
    load_heads(b, e);
    return arch_done(b, e, e->cfg.hidden, e->cfg.vocab, e->cfg.layers, SIZE_MAX, err);
}

const arch_family arch_xlnet = {
    .model_types = (const char *const[]){"xlnet", NULL},
    .classes =
        (const char *const[]){"XLNetModel", "XLNetLMHeadModel", "XLNetForSequenceClassification",
                              "XLNetForTokenClassification", "XLNetForQuestionAnsweringSimple",
                              "XLNetForMultipleChoice", NULL},
    .refused = (const arch_refusal[]){{"XLNetForQuestionAnswering", ARCH_SEARCHES_SPANS}, {0}},
    .kind = ARCH_ENCODER,
    .base_prefix = "transformer.",
    .ignorable = (const char *const[]){"mask_emb", NULL},
    .load = load,
    .forward = forward,
};
