/* CANINE, which reads characters. Clark et al. 2021, arXiv:2103.06874; transformers 4.57
 * models/canine/modeling_canine.py.
 *
 *   characters ─ norm(hashed + type + position embeddings) ─ a layer in blocks ─┬─────────────────────────┐
 *   ┌───────────────────────────────────────────────────────────────────────────┘                         │
 *   └─ convolution with stride: molecules ─ n x layer ─┬─ each molecule again for its characters ─ beside ┘
 *                                                      └─ pooler          └─ convolution ─ a layer ─ heads of characters
 *
 * All layers are BERT's. Easy to get wrong: the last molecule of the convolution is left off, the first character's row
 * stands before the others in its place; characters of the last place, and those behind it, take the last molecule that
 * is there; classifiers of texts read the pooler, over molecules. Padding is convolved with the text in the library, here
 * no row but the text's own counts. Checked on: random checkpoints of the library. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "arch/arch_encoder.h"

enum { MAX_HASHES = 16 };

typedef struct {
    encoder_config cfg; // of every layer
    size_t rate;        // characters to a molecule
    size_t reach;       // characters that the last convolution sees
    size_t block;       // characters that see each other in the first layer
    size_t hashes, buckets;

    nn_embed_w hashed[MAX_HASHES]; // [buckets, H / hashes] each
    nn_embed_w positions, types;   // [buckets, H], [types, H]
    nn_norm_w embed_norm;
    encoder_layer first, last;
    encoder_layer *layers; // [layers]
    nn_linear_w down, up;  // [H, rate H], [H, reach 2H]
    nn_norm_w down_norm, up_norm;
    arch_heads of_text, of_characters;
} canine_model;

/* ------------------------------------------------------------------ load */

static void read_config(arch_config *c, canine_model *m)
{
    m->cfg = (encoder_config){.positions = 16384, .types = 16};
    arch_encoder_config(c, &m->cfg);
    m->cfg.vocab = 0x110000; // all of Unicode
    arch_encoder_absolute(c);
    m->rate = cfg_size(c, "downsampling_rate", 4, 1, 1 << 10);
    m->reach = cfg_size(c, "upsampling_kernel_size", 4, 1, 1 << 10);
    m->block = cfg_size(c, "local_transformer_stride", 128, 1, 1 << 20);
    m->hashes = cfg_size(c, "num_hash_functions", 8, 1, MAX_HASHES);
    m->buckets = cfg_dim(c, "num_hash_buckets", 16384);
    if (m->cfg.hidden % m->hashes)
        cfg_fail(c, "\"hidden_size\" %zu is not a multiple of \"num_hash_functions\" %zu",
                 m->cfg.hidden, m->hashes);
}

/* A convolution over `width` rows of K and its norm. */
static void load_convolution(nn_loader *ld, nn_linear_w *w, nn_norm_w *norm, const char *name,
                             const encoder_config *c, size_t K, size_t width)
{
    nn_scope(ld, "%s%s.", ld->base, name);
    nn_load_convolution(ld, w, "conv.", c->hidden, K, width);
    nn_load_norm(ld, norm, "LayerNorm", NN_NORM_LAYER, c->hidden, c->eps, NN_BIAS);
}

static void load_embeddings(arch_build *b, canine_model *m)
{
    nn_loader *ld = &b->ld;
    const size_t H = m->cfg.hidden;
    nn_scope(ld, "%schar_embeddings.", ld->base);
    for (size_t i = 0; i < m->hashes; i++) {
        char name[64];
        snprintf(name, sizeof name, "HashBucketCodepointEmbedder_%zu", i);
        nn_load_embed(ld, &m->hashed[i], name, "hash", m->buckets, H / m->hashes, 0);
    }
    nn_load_embed(ld, &m->positions, "char_position_embeddings", "position", m->buckets, H, 0);
    nn_load_embed(ld, &m->types, "token_type_embeddings", "token type", m->cfg.types, H, 0);
    nn_load_norm(ld, &m->embed_norm, "LayerNorm", NN_NORM_LAYER, H, m->cfg.eps, NN_BIAS);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    canine_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    read_config(&b->cfg, m);
    const encoder_config *c = &m->cfg;
    m->layers = arch_new(b, c->layers, sizeof *m->layers);
    TRY(arch_build_ok(b, err));

    load_embeddings(b, m);
    nn_scope(ld, "%sinitial_char_encoder.layer.0.", ld->base);
    arch_encoder_layer_load(ld, &m->first, &bert_layer_names, c);
    load_convolution(ld, &m->down, &m->down_norm, "chars_to_molecules", c, c->hidden, m->rate);
    for (size_t il = 0; il < c->layers; il++) {
        nn_scope(ld, "%sencoder.layer.%zu.", ld->base, il);
        arch_encoder_layer_load(ld, &m->layers[il], &bert_layer_names, c);
    }
    load_convolution(ld, &m->up, &m->up_norm, "projection", c, 2 * c->hidden, m->reach);
    nn_scope(ld, "%sfinal_char_encoder.layer.0.", ld->base);
    arch_encoder_layer_load(ld, &m->last, &bert_layer_names, c);
    const arch_encoder_names names = arch_bert_heads(c);
    const arch_head head = b->m->info.head;
    const bool of_characters = head == ARCH_HEAD_TOKEN_CLS || head == ARCH_HEAD_QA;
    arch_encoder_heads_load(b, of_characters ? &m->of_characters : &m->of_text, &names, c->hidden,
                            NULL);
    return arch_done(b, m, c->hidden, c->vocab, c->layers,
                     c->positions < m->buckets ? c->positions : m->buckets, err);
}

/* ------------------------------------------------------------------ forward */

static float *embed(arch_run *r, const canine_model *m)
{
    static const int64_t primes[MAX_HASHES] = {31,  43,  59,  61,  73,  97,  103, 113,
                                               137, 149, 157, 173, 181, 193, 211, 223};
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, H = m->cfg.hidden, W = H / m->hashes;
    float *x = nn_f32(cx, T, H), *part = nn_f32(cx, T, W); // [T, H], [T, W]
    int32_t *hash = nn_bytes(cx, T * sizeof *hash);
    if (r->batch->input_embeds) nn_copy(cx, x, r->batch->input_embeds, T * H);
    for (size_t i = 0; r->batch->ids && i < m->hashes && nn_ok(cx); i++) {
        for (size_t t = 0; t < T; t++) {
            const int32_t id = r->batch->ids[t];
            if (id < 0) nn_fail(cx, MLTF_INVALID_INPUT, "input id %d is not a character", (int)id);
            hash[t] = (int32_t)(((int64_t)id + 1) * primes[i] % (int64_t)m->buckets);
        }
        nn_embed(cx, part, hash, &m->hashed[i], T);
        for (size_t t = 0; nn_ok(cx) && t < T; t++)
            memcpy(x + t * H + i * W, part + t * W, W * sizeof *x);
    }
    arch_add_types(r, x, &m->types);
    nn_embed_add(cx, x, r->seqs.pos, &m->positions, T);
    nn_norm(cx, x, x, &m->embed_norm, T);
    return x;
}

/* The same run over other rows. */
static arch_run over(const arch_run *r, size_t n, const size_t *start, const uint8_t *mask)
{
    arch_run run = *r;
    run.seqs =
        (nn_seqs){.n = n, .start = start, .rows = nn_ok(r->cx) ? start[n] : 0, .key_mask = mask};
    return run;
}

/* Each block of characters as a sequence of its own. */
static arch_run over_blocks(const arch_run *r, const canine_model *m)
{
    size_t n = 0;
    for (size_t s = 0; s < r->seqs.n; s++)
        n += (r->seqs.start[s + 1] - r->seqs.start[s] + m->block - 1) / m->block;
    size_t *start = nn_bytes(r->cx, (n + 1) * sizeof *start);
    if (nn_ok(r->cx)) start[0] = n = 0;
    for (size_t s = 0; nn_ok(r->cx) && s < r->seqs.n; s++)
        for (size_t t = r->seqs.start[s], end = r->seqs.start[s + 1]; t < end;) {
            t = end - t < m->block ? end : t + m->block;
            start[++n] = t;
        }
    return over(r, n, start, r->seqs.key_mask);
}

/* One row for every `rate` characters; a molecule is masked where all of its characters are. */
static arch_run over_molecules(const arch_run *r, const canine_model *m)
{
    nn_ctx *cx = r->cx;
    size_t *start = nn_bytes(cx, (r->seqs.n + 1) * sizeof *start);
    uint8_t *mask = r->seqs.key_mask ? nn_bytes(cx, r->seqs.rows) : NULL;
    if (nn_ok(cx)) start[0] = 0;
    for (size_t s = 0; nn_ok(cx) && s < r->seqs.n; s++) {
        const size_t a = r->seqs.start[s], n = (r->seqs.start[s + 1] - a) / m->rate;
        start[s + 1] = start[s] + n;
        if (n == 0)
            nn_fail(cx, MLTF_INVALID_INPUT,
                    "a text of %zu characters is too short: this model reads them by %zu",
                    r->seqs.start[s + 1] - a, m->rate);
        for (size_t i = 0; mask && i < n; i++) {
            mask[start[s] + i] = 0;
            for (size_t k = 0; k < m->rate; k++)
                mask[start[s] + i] |= r->seqs.key_mask[a + i * m->rate + k];
        }
    }
    return over(r, r->seqs.n, start, mask);
}

/* [molecules, H] of characters x [T, H]. */
static float *to_molecules(const arch_run *r, const arch_run *of, const float *x,
                           const canine_model *m)
{
    nn_ctx *cx = r->cx;
    const size_t H = m->cfg.hidden, M = of->seqs.rows;
    float *beside = nn_f32(cx, M, m->rate * H), *y = nn_f32(cx, M, H);
    for (size_t s = 0; nn_ok(cx) && s < r->seqs.n; s++) {
        const size_t a = of->seqs.start[s], n = of->seqs.start[s + 1] - a;
        memcpy(beside + a * m->rate * H, x + r->seqs.start[s] * H,
               n * m->rate * H * sizeof *beside);
    }
    nn_linear(cx, y, beside, &m->down, M);
    nn_act(cx, y, y, M * H, m->cfg.act);
    for (size_t s = 0; nn_ok(cx) && s < r->seqs.n; s++) { // the first character instead of the last
        float *first = y + of->seqs.start[s] * H;
        memmove(first + H, first,
                (of->seqs.start[s + 1] - of->seqs.start[s] - 1) * H * sizeof *first);
        memcpy(first, x + r->seqs.start[s] * H, H * sizeof *first);
    }
    nn_norm(cx, y, y, &m->down_norm, M);
    return y;
}

/* [T, H] of characters x [T, H] and their molecules. */
static float *to_characters(const arch_run *r, const arch_run *of, const float *x,
                            const float *molecules, const canine_model *m)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, H = m->cfg.hidden, before = (m->reach - 1) / 2;
    float *pair = nn_f32(cx, T, 2 * H), *y = nn_f32(cx, T, H);
    float *beside = nn_f32(cx, T, m->reach * 2 * H);
    for (size_t s = 0; nn_ok(cx) && s < r->seqs.n; s++) {
        const size_t a = r->seqs.start[s], b = r->seqs.start[s + 1];
        const float *mol = molecules + of->seqs.start[s] * H;
        const size_t last = of->seqs.start[s + 1] - of->seqs.start[s] - 1;
        for (size_t t = a; t < b; t++) {
            const size_t i = (t - a) / m->rate + 1; // behind the first character's
            memcpy(pair + t * 2 * H, x + t * H, H * sizeof *pair);
            memcpy(pair + t * 2 * H + H, mol + (i < last ? i : last) * H, H * sizeof *pair);
        }
        for (size_t t = a; t < b; t++)
            for (size_t k = 0; k < m->reach; k++) {
                float *to = beside + (t * m->reach + k) * 2 * H;
                const bool there = t + k >= a + before && t + k < b + before;
                if (there)
                    memcpy(to, pair + (t + k - before) * 2 * H, 2 * H * sizeof *to);
                else
                    memset(to, 0, 2 * H * sizeof *to);
            }
    }
    nn_linear(cx, y, beside, &m->up, T);
    nn_act(cx, y, y, T * H, m->cfg.act);
    nn_norm(cx, y, y, &m->up_norm, T);
    return y;
}

static void forward(arch_run *r)
{
    const canine_model *m = r->impl;
    const encoder_config *c = &m->cfg;
    const size_t D = c->hidden / c->heads;
    const nn_attn attn = {.heads = c->heads, .dim = D, .scale = 1.0f / sqrtf((float)D)};
    float *x = embed(r, m); // [T, H]
    arch_run blocks = over_blocks(r, m), molecules = over_molecules(r, m);
    if (!nn_ok(r->cx)) return;
    arch_encoder_layer_forward(&blocks, x, &m->first, &attn, NULL, 0);
    float *y = to_molecules(r, &molecules, x, m); // [molecules, H]
    for (size_t il = 0; il < c->layers; il++)
        arch_encoder_layer_forward(&molecules, y, &m->layers[il], &attn, NULL, il + 1);
    x = to_characters(r, &molecules, x, y, m);
    arch_encoder_layer_forward(r, x, &m->last, &attn, NULL, c->layers + 1);
    molecules.want &= ~(unsigned)ARCH_WANT_HIDDEN;
    arch_heads_forward(&molecules, &m->of_text, y, c->hidden);
    arch_heads_forward(r, &m->of_characters, x, c->hidden);
}

const arch_family arch_canine = {
    .model_types = (const char *const[]){"canine", NULL},
    .classes = (const char *const[]){"CanineModel", "CanineForSequenceClassification",
                                     "CanineForTokenClassification", "CanineForQuestionAnswering",
                                     "CanineForMultipleChoice", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "canine.",
    .ignorable = (const char *const[]){"position_ids", NULL},
    .load = load,
    .forward = forward,
};
