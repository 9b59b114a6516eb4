/* Attention over ragged sequences: pieces are (sequence, head, block of queries). A block never depends
 * on the number of threads, so neither do the bits of the result. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/nn.h"

enum { BLOCK = 64 }; // query rows of one piece

typedef struct {
    size_t seq, q0, nq; // rows of the sequence
} attn_block;

typedef struct {
    nn_ctx *cx;
    float *out; // [T, heads * v_dim]
    nn_heads q, k, v;
    const nn_seqs *seqs;
    const nn_attn *a;
    size_t kv_heads, v_dim, layer;
    bool memory; // keys are those of seqs->memory
    const attn_block *blocks;
    char *scratch; // [workers][scratch_bytes]
    size_t scratch_bytes, bias_bytes;
    nn_probs *probs; // [n seqs] or NULL
} attn_job;

/* Where keys and values of one head of one sequence are. */
typedef struct {
    const void *k, *v;
    size_t ldk, ldv, tk, pos0;
    mltf_dtype kv;
    const uint8_t *mask, *always;
} keys;

static keys find_keys(const attn_job *j, size_t seq, size_t kv_head)
{
    const nn_seqs *s = j->seqs;
    const size_t start = s->start[seq], rows = s->start[seq + 1] - start;
    if (j->memory || s->caches) {
        const nn_cache *c = j->memory ? &s->memory[seq]->kv : s->caches[seq];
        const size_t held = c->len - nn_cache_first(c, j->layer);
        return (keys){.k = nn_cache_k(c, j->layer, kv_head),
                      .v = nn_cache_v(c, j->layer, kv_head),
                      .ldk = c->shape.k_dim,
                      .ldv = c->shape.v_dim,
                      .tk = j->memory ? held : held + rows,
                      .pos0 = j->memory ? 0 : held,
                      .kv = c->shape.dtype,
                      .mask = j->memory ? s->memory[seq]->mask : NULL};
    }
    return (keys){.k = j->k.p + start * j->k.ld + kv_head * j->k.head,
                  .v = j->v.p + start * j->v.ld + kv_head * j->v.head,
                  .ldk = j->k.ld,
                  .ldv = j->v.ld,
                  .tk = rows,
                  .kv = DT_F32,
                  .mask = s->key_mask ? s->key_mask + start : NULL,
                  .always = j->a->always ? j->a->always + start : NULL};
}

/* How many heads attend in one call. A decode step has one query a head, and heads that share keys and values
 * may pass as queries of one head: the cache is read once instead of once for each of them. */
static size_t heads_together(const attn_job *j, const attn_block *b)
{
    const nn_attn *a = j->a;
    const bool alike = !a->alibi && !a->sinks && !a->rel && !a->bias && !j->probs;
    return b->nq == 1 && a->causal && !j->memory && alike ? a->heads / j->kv_heads : 1;
}

/* Keys [*from, *to) hold all that the rows of a block see; *from may be left off without a change of bits. */
static void cut_keys(const k_attn_opts *o, size_t nq, size_t tk, size_t *from, size_t *to)
{
    const size_t last = o->pos0 + nq - 1;
    *from = 0;
    *to = tk;
    if (o->probs || o->always) return;
    if (o->causal && *to > last + 1) *to = last + 1;
    if (!o->window) return;
    if (!o->causal && *to > last + o->window) *to = last + o->window;
    if (o->pos0 + 1 > o->window) *from = (o->pos0 + 1 - o->window) / K_ATTN_BLOCK * K_ATTN_BLOCK;
}

static void attend_piece(void *arg, size_t first, size_t last, int worker)
{
    const attn_job *j = arg;
    const nn_attn *a = j->a;
    char *scratch = j->scratch + (size_t)worker * j->scratch_bytes;
    for (size_t i = first; i < last; i++) {
        const attn_block *b = &j->blocks[i / a->heads];
        const size_t h = i % a->heads, row = j->seqs->start[b->seq] + b->q0;
        const size_t together = heads_together(j, b);
        if (h % together != 0) continue;
        keys ks = find_keys(j, b->seq, h / (a->heads / j->kv_heads));
        const float *q = j->q.p + row * j->q.ld + h * j->q.head;
        k_attn_opts o = {.scale = a->scale,
                         .causal = a->causal && !j->memory,
                         .pos0 = ks.pos0 + b->q0,
                         .window = j->memory ? 0 : a->window,
                         .softcap = a->softcap,
                         .alibi = a->alibi ? a->alibi[h] : 0.0f,
                         .key_mask = ks.mask,
                         .always = ks.always,
                         .one_place = together > 1,
                         .sink = a->sinks ? &a->sinks[h] : NULL};
        if (j->probs) {
            const nn_probs *p = &j->probs[b->seq];
            o.probs = p->p + (h * p->tq + b->q0) * p->tk;
        }
        size_t from, tk;
        cut_keys(&o, b->nq, ks.tk, &from, &tk);
        if (a->rel || a->bias) {
            float *bias = (float *)(void *)(scratch + j->scratch_bytes - j->bias_bytes);
            if (a->rel) {
                const float *rel = a->rel + h * a->rel_n + a->rel_zero;
                for (size_t r = 0; r < b->nq; r++)
                    memcpy(bias + r * ks.tk, rel - (o.pos0 + r), tk * sizeof *bias);
            } else {
                const nn_bias_at at = {.seq = b->seq,
                                       .head = h,
                                       .layer = j->layer,
                                       .q0 = b->q0,
                                       .nq = b->nq,
                                       .pos0 = ks.pos0,
                                       .tk = ks.tk,
                                       .q = q,
                                       .ldq = j->q.ld,
                                       .k = ks.k,
                                       .ldk = ks.ldk,
                                       .kv = ks.kv};
                a->bias(a->bias_user, bias, ks.tk, &at);
            }
            o.bias = bias + from;
            o.ld_bias = ks.tk;
        }
        if (o.key_mask) o.key_mask += from;
        o.pos0 -= from;
        size_t queries = b->nq, ldq = j->q.ld, ldo = a->heads * j->v_dim;
        if (together > 1) {
            queries = together;
            ldq = j->q.head;
            ldo = j->v_dim;
        }
        j->cx->k->attention(j->out + row * a->heads * j->v_dim + h * j->v_dim, ldo, q, ldq,
                            (const char *)ks.k + from * ks.ldk * dtype_size(ks.kv), ks.ldk,
                            (const char *)ks.v + from * ks.ldv * dtype_size(ks.kv), ks.ldv, ks.kv,
                            queries, tk - from, a->dim, j->v_dim, &o, scratch);
    }
}

/* Places for the probabilities of all sequences of this layer; NULL if they are not wanted. */
static nn_probs *keep_probs(nn_ctx *cx, const attn_job *j)
{
    if (!cx->want_probs) return NULL;
    const size_t n = j->seqs->n;
    if (!ARENA_RESERVE(&cx->keep, cx->probs, cx->cap_probs, cx->n_probs + n)) {
        nn_fail(cx, MLTF_NO_MEMORY, "no memory for attention probabilities");
        return NULL;
    }
    nn_probs *mine = cx->probs + cx->n_probs;
    for (size_t s = 0; s < n; s++) {
        const size_t tq = j->seqs->start[s + 1] - j->seqs->start[s], tk = find_keys(j, s, 0).tk;
        mine[s] = (nn_probs){.kind = j->memory ? "cross" : "self",
                             .layer = j->layer,
                             .seq = s,
                             .heads = j->a->heads,
                             .tq = tq,
                             .tk = tk,
                             .p = nn_keep(cx, j->a->heads * tq, tk)};
        if (!nn_ok(cx)) return NULL;
        memset(mine[s].p, 0, j->a->heads * tq * tk * sizeof(float));
    }
    cx->n_probs += n;
    return mine;
}

static void attend(nn_ctx *cx, attn_job *j)
{
    const nn_seqs *seqs = j->seqs;
    const nn_attn *a = j->a;
    const nn_mark mark = nn_save(cx);
    size_t n_blocks = 0, work = 0;
    for (size_t s = 0; s < seqs->n; s++)
        n_blocks += (seqs->start[s + 1] - seqs->start[s] + BLOCK - 1) / BLOCK;
    attn_block *blocks = nn_bytes(cx, n_blocks * sizeof *blocks);
    if (!nn_ok(cx)) return;
    n_blocks = 0;
    for (size_t s = 0; s < seqs->n; s++) {
        const size_t rows = seqs->start[s + 1] - seqs->start[s], tk = find_keys(j, s, 0).tk;
        for (size_t q = 0; q < rows; q += BLOCK) {
            const size_t nq = rows - q < BLOCK ? rows - q : BLOCK;
            blocks[n_blocks++] = (attn_block){.seq = s, .q0 = q, .nq = nq};
            const size_t group = heads_together(j, &blocks[n_blocks - 1]);
            const size_t need = cx->k->attn_scratch(nq > group ? nq : group, tk, a->dim, j->v_dim);
            if (need > j->scratch_bytes) j->scratch_bytes = need;
            if ((a->rel || a->bias) && nq * tk * sizeof(float) > j->bias_bytes)
                j->bias_bytes = nq * tk * sizeof(float);
            work += nq * (a->window && tk > nq + 2 * a->window ? nq + 2 * a->window : tk);
        }
    }
    j->blocks = blocks;
    j->bias_bytes = (j->bias_bytes + 63) & ~(size_t)63;
    j->scratch_bytes = ((j->scratch_bytes + 63) & ~(size_t)63) + j->bias_bytes;
    j->scratch = nn_bytes(cx, j->scratch_bytes * (size_t)pool_threads(cx->pool));
    j->probs = keep_probs(cx, j);
    const size_t pieces = n_blocks * a->heads;
    if (pieces) nn_for(cx, pieces, work / n_blocks * (a->dim + j->v_dim) * 2, attend_piece, j);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* ------------------------------------------------------------------ writing keys and values */

/* Rows [row0, row0 + n) of k and v from row `at` of a cache's blocks on. */
static void store_rows(nn_ctx *cx, const nn_cache *c, size_t layer, size_t at, nn_heads k,
                       nn_heads v, size_t row0, size_t n)
{
    const nn_cache_shape *s = &c->shape;
    const size_t es = dtype_size(s->dtype);
    for (size_t h = 0; h < s->kv_heads; h++) {
        char *kp = (char *)nn_cache_k(c, layer, h) + at * s->k_dim * es;
        char *vp = (char *)nn_cache_v(c, layer, h) + at * s->v_dim * es;
        for (size_t t = row0; t < row0 + n; t++, kp += s->k_dim * es, vp += s->v_dim * es) {
            cx->k->narrow(kp, k.p + t * k.ld + h * k.head, s->dtype, s->k_dim);
            cx->k->narrow(vp, v.p + t * v.ld + h * v.head, s->dtype, s->v_dim);
        }
    }
}

void nn_memory_store(nn_ctx *cx, nn_memory *m, size_t layer, nn_heads k, nn_heads v)
{
    if (nn_ok(cx)) store_rows(cx, &m->kv, layer, 0, k, v, 0, m->kv.len);
}

static attn_job make_job(nn_ctx *cx, float *out, nn_heads q, const nn_seqs *seqs, const nn_attn *a,
                         size_t layer)
{
    return (attn_job){.cx = cx,
                      .out = out,
                      .q = q,
                      .seqs = seqs,
                      .a = a,
                      .kv_heads = a->kv_heads ? a->kv_heads : a->heads,
                      .v_dim = a->v_dim ? a->v_dim : a->dim,
                      .layer = layer};
}

static bool sees_nothing(const uint8_t *mask, size_t rows, size_t i, size_t window)
{
    size_t from = 0, to = rows;
    if (window) {
        from = i + 1 > window ? i + 1 - window : 0;
        to = i + window < rows ? i + window : rows;
    }
    for (size_t j = from; j < to; j++)
        if (mask[j]) return false;
    return true;
}

void nn_blind_rows(nn_ctx *cx, float *out, nn_heads v, const nn_seqs *seqs, const nn_attn *a,
                   bool queries)
{
    const size_t Dv = a->v_dim ? a->v_dim : a->dim, N = a->heads * Dv;
    const size_t group = a->heads / (a->kv_heads ? a->kv_heads : a->heads);
    for (size_t s = 0; nn_ok(cx) && seqs->key_mask && s < seqs->n; s++) {
        const size_t start = seqs->start[s], rows = seqs->start[s + 1] - start;
        const uint8_t *mask = seqs->key_mask + start;
        const float *mean = NULL;
        for (size_t i = 0; i < rows; i++) {
            if (mask[i] || !(queries || sees_nothing(mask, rows, i, a->window))) continue;
            float *row = out + (start + i) * N;
            for (size_t c = 0; !mean && c < N; c++) {
                double sum = 0;
                for (size_t j = 0; j < rows; j++)
                    sum += (double)v.p[(start + j) * v.ld + c / Dv / group * v.head + c % Dv];
                row[c] = (float)(sum / (double)rows);
            }
            if (mean)
                memcpy(row, mean, N * sizeof *row);
            else
                mean = row;
        }
    }
}

void nn_attend(nn_ctx *cx, float *out, nn_heads q, nn_heads k, nn_heads v, const nn_seqs *seqs,
               const nn_attn *a, size_t layer)
{
    if (!nn_ok(cx)) return;
    if (seqs->caches)
        for (size_t s = 0; s < seqs->n; s++)
            store_rows(cx, seqs->caches[s], layer,
                       seqs->caches[s]->len - nn_cache_first(seqs->caches[s], layer), k, v,
                       seqs->start[s], seqs->start[s + 1] - seqs->start[s]);
    attn_job j = make_job(cx, out, q, seqs, a, layer);
    j.k = k;
    j.v = v;
    attend(cx, &j);
    if (seqs->key_mask && !a->causal && !seqs->caches) nn_blind_rows(cx, out, v, seqs, a, false);
}

void nn_attend_memory(nn_ctx *cx, float *out, nn_heads q, const nn_seqs *seqs, const nn_attn *a,
                      size_t layer)
{
    if (!nn_ok(cx)) return;
    attn_job j = make_job(cx, out, q, seqs, a, layer);
    j.memory = true;
    attend(cx, &j);
}

/* ------------------------------------------------------------------ blocks with projections */

static void head_norm(nn_ctx *cx, float *x, const nn_norm_w *w, size_t T, size_t width)
{
    if (w->kind == NN_NORM_NONE) return;
    nn_norm(cx, x, x, w, w->n == width ? T : T * (width / w->n));
}

void nn_self_attention(nn_ctx *cx, float *y, const float *x, const nn_attn_w *w, const nn_attn *a,
                       const nn_seqs *seqs, const nn_rope_rows *rope, size_t layer)
{
    if (!nn_ok(cx)) return;
    const size_t T = seqs->rows, D = a->dim, Dv = a->v_dim ? a->v_dim : D;
    const size_t NQ = a->heads, NK = a->kv_heads ? a->kv_heads : NQ;
    const nn_mark mark = nn_save(cx);
    nn_heads q, k, v;
    if (nn_has(&w->qkv)) {
        const size_t W = w->qkv.w.N;
        float *qkv = nn_f32(cx, T, W); // [T, W]
        nn_linear(cx, qkv, x, &w->qkv, T);
        nn_clamp(cx, qkv, w->clip, T * W);
        if (!nn_ok(cx)) return;
        if (w->layout == NN_QKV_PER_HEAD) {
            q = (nn_heads){qkv, W, 2 * D + Dv};
            k = (nn_heads){qkv + D, W, 2 * D + Dv};
            v = (nn_heads){qkv + 2 * D, W, 2 * D + Dv};
        } else {
            q = (nn_heads){qkv, W, D};
            k = (nn_heads){qkv + NQ * D, W, D};
            v = (nn_heads){qkv + (NQ + NK) * D, W, Dv};
        }
    } else {
        q = (nn_heads){nn_f32(cx, T, NQ * D), NQ * D, D};
        k = (nn_heads){nn_f32(cx, T, NK * D), NK * D, D};
        v = (nn_heads){nn_f32(cx, T, NK * Dv), NK * Dv, Dv};
        nn_linear_group(cx, (float *[]){q.p, k.p, v.p}, x,
                        (const nn_linear_w *[]){&w->q, &w->k, &w->v}, 3, T);
        nn_clamp(cx, q.p, w->clip, T * NQ * D);
        nn_clamp(cx, k.p, w->clip, T * NK * D);
        nn_clamp(cx, v.p, w->clip, T * NK * Dv);
        if (!w->norm_after_rope) {
            head_norm(cx, q.p, &w->q_norm, T, NQ * D);
            head_norm(cx, k.p, &w->k_norm, T, NK * D);
        }
    }
    if (rope) {
        nn_rope_apply(cx, q.p, q.ld, q.head, NQ, rope, T);
        nn_rope_apply(cx, k.p, k.ld, k.head, NK, rope, T);
    }
    if (w->norm_after_rope) {
        head_norm(cx, q.p, &w->q_norm, T, NQ * D);
        head_norm(cx, k.p, &w->k_norm, T, NK * D);
    }
    float *ctx = nn_f32(cx, T, NQ * Dv); // [T, heads * v_dim]
    nn_attend(cx, ctx, q, k, v, seqs, a, layer);
    nn_tap(cx, "ctx", (int)layer, ctx, T, NQ * Dv);
    if (nn_has(&w->gate)) {
        float *gate = nn_f32(cx, T, NQ * Dv);
        nn_linear(cx, gate, x, &w->gate, T);
        nn_act_mul(cx, ctx, gate, ctx, T * NQ * Dv, K_ACT_SIGMOID);
    }
    head_norm(cx, ctx, &w->o_norm, T, NQ * Dv);
    nn_linear(cx, y, ctx, &w->o, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

void nn_cross_attention(nn_ctx *cx, float *y, const float *x, const nn_attn_w *w, const nn_attn *a,
                        const nn_seqs *seqs, size_t layer)
{
    if (!nn_ok(cx)) return;
    const size_t T = seqs->rows, NQ = a->heads, Dv = a->v_dim ? a->v_dim : a->dim;
    const nn_mark mark = nn_save(cx);
    float *q = nn_f32(cx, T, NQ * a->dim); // [T, heads * dim]
    float *ctx = nn_f32(cx, T, NQ * Dv);   // [T, heads * v_dim]
    nn_linear(cx, q, x, &w->q, T);
    nn_attend_memory(cx, ctx, (nn_heads){q, NQ * a->dim, a->dim}, seqs, a, layer);
    nn_linear(cx, y, ctx, &w->o, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

void nn_memory_fill(nn_ctx *cx, const float *x, const nn_attn_w *w, const nn_attn *a,
                    const nn_seqs *seqs, size_t layer)
{
    if (!nn_ok(cx)) return;
    const size_t T = seqs->rows, D = a->dim, Dv = a->v_dim ? a->v_dim : D;
    const size_t NK = a->kv_heads ? a->kv_heads : a->heads;
    const nn_mark mark = nn_save(cx);
    float *k = nn_f32(cx, T, NK * D), *v = nn_f32(cx, T, NK * Dv);
    nn_linear_group(cx, (float *[]){k, v}, x, (const nn_linear_w *[]){&w->k, &w->v}, 2, T);
    for (size_t s = 0; nn_ok(cx) && s < seqs->n; s++) {
        const size_t at = seqs->start[s];
        nn_memory_store(cx, seqs->memory[s], layer, (nn_heads){k + at * NK * D, NK * D, D},
                        (nn_heads){v + at * NK * Dv, NK * Dv, Dv});
    }
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* Which row of the table belongs to a key `distance` = j - i away; in f32, as Python computes it. With a
 * max_distance below `exact` the rows run backwards, and out of the table at some distance: -1. */
static ptrdiff_t bucket_of(size_t n, size_t max_distance, ptrdiff_t distance, bool causal)
{
    size_t first = 0, d;
    if (causal) {
        d = distance < 0 ? (size_t)-distance : 0;
    } else {
        n /= 2;
        if (distance > 0) first = n;
        d = (size_t)(distance < 0 ? -distance : distance);
    }
    const size_t exact = n / 2;
    if (d < exact) return (ptrdiff_t)(first + d);
    const float x = logf((float)d / (float)exact) /
                    (float)log((double)max_distance / (double)exact) * (float)(n - exact);
    if (!(fabsf(x) < 1e9f)) return x > 0 ? (ptrdiff_t)(first + n - 1) : -1;
    const ptrdiff_t far = (ptrdiff_t)exact + (ptrdiff_t)x, last = (ptrdiff_t)n - 1;
    return (ptrdiff_t)first + far < 0 ? -1 : (ptrdiff_t)first + (far < last ? far : last);
}

void nn_bucket_bias(nn_ctx *cx, nn_attn *a, const nn_seqs *seqs, const float *table, size_t buckets,
                    size_t max_distance, bool causal)
{
    size_t longest = 1;
    for (size_t s = 0; s < seqs->n; s++) {
        const size_t n = nn_past(seqs, s) + seqs->start[s + 1] - seqs->start[s];
        if (n > longest) longest = n;
    }
    a->rel_zero = longest - 1;
    a->rel_n = 2 * longest - 1;
    float *rel = nn_f32(cx, a->heads, a->rel_n);
    for (size_t i = 0; nn_ok(cx) && i < a->rel_n; i++) {
        const ptrdiff_t distance = (ptrdiff_t)i - (ptrdiff_t)a->rel_zero;
        const bool seen = !a->window || (size_t)(distance < 0 ? -distance : distance) < a->window;
        const ptrdiff_t b = seen ? bucket_of(buckets, max_distance, distance, causal) : 0;
        if (b < 0)
            nn_fail(cx, MLTF_INVALID_INPUT,
                    "a sequence of %zu has no relative positions in this model, whose greatest "
                    "distance is %zu",
                    longest, max_distance);
        for (size_t h = 0; b >= 0 && h < a->heads; h++)
            rel[h * a->rel_n + i] = table[(size_t)b * a->heads + h];
    }
    a->rel = rel;
}

void nn_alibi_slopes(float *slopes, size_t heads)
{
    size_t power = 1;
    while (power * 2 <= heads) power *= 2;
    const float base = powf(2.0f, -8.0f / (float)power);
    for (size_t i = 0; i < power; i++) slopes[i] = powf(base, (float)(i + 1));
    const float extra =
        powf(2.0f, -4.0f / (float)power); // every second slope of twice as many heads
    for (size_t i = power; i < heads; i++) slopes[i] = powf(extra, (float)(2 * (i - power) + 1));
}
