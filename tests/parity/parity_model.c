/* A folder of fixtures/models: every expected tensor of every case, computed in float32.
 *
 * Rows at padding are left out of the batch where that changes no position (right padding, or positions
 * given), and kept behind an attention mask otherwise, as Python keeps them. Beside the recorded tensors
 * each case is held to the engine's own promises: a sequence alone gives the same bits as in its batch,
 * masked padding gives what dropped padding gives, and a decoder's cache, filled piece by piece, gives
 * the logits of the plain forward. Generations and pipelines are judged by parity_generation.c and
 * parity_pipeline.c where they are linked in; `parity DIR tensors` leaves them out. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "base/file.h"
#include "formats/checkpoint.h"
#include "parity.h"

/* The sections of expected.json that need the layers above arch/. */
void parity_generation(const char *dir, const json *expected, parity_count *count);
void parity_pipelines(const char *dir, const json *expected, parity_count *count);
#pragma weak parity_generation
#pragma weak parity_pipelines

enum { ROWS_MAX = 64, NAME_BYTES = 256 };

typedef struct {
    const char *dir;
    checkpoint *want;
    json_doc expected;
    arch_model *m;
    arch_session *s, *alone;
    parity_count count;
    bool first_wrong_said;
} parity;

/* One side of a case: encoder or decoder ids of B padded rows, and which of them go into the batch. */
typedef struct {
    size_t B, L, choices;
    int32_t *ids, *types, *pos;
    size_t type_width;
    uint8_t *mask; /* [T] or NULL */
    size_t start[ROWS_MAX + 1];
    int32_t *row_of;      /* [B * L] row in the batch, or -1 */
    uint8_t *live;        /* [B * L] the mask as given */
    bool apart[ROWS_MAX]; /* the library computes this row by the batch's length, mltf by its own */
} side;

static void *must(void *p)
{
    if (!p) {
        fprintf(stderr, "parity: out of memory\n");
        exit(6);
    }
    return p;
}

static const ck_tensor *find(const parity *p, const char *name_case, const char *io,
                             const char *name)
{
    char full[2 * NAME_BYTES];
    const int n = snprintf(full, sizeof full, "%s/%s/%s", name_case, io, name);
    return n > 0 && (size_t)n < sizeof full ? checkpoint_find(p->want, full) : NULL;
}

static int32_t int_at(const ck_tensor *t, size_t i)
{
    int32_t v;
    if (t->dtype == DT_I64) {
        int64_t w;
        memcpy(&w, (const char *)t->data + i * 8, 8);
        return (int32_t)w;
    }
    memcpy(&v, (const char *)t->data + i * 4, 4);
    return v;
}

static float float_at(const ck_tensor *t, size_t i)
{
    float v;
    memcpy(&v, (const char *)t->data + i * 4, 4);
    return v;
}

/* ------------------------------------------------------------------ inputs */

typedef enum { DROP_PADDING, MASK_PADDING } padding;

static bool left_padded(const ck_tensor *mask)
{
    if (!mask || mask->ndim < 2) return false;
    const size_t L = mask->shape[mask->ndim - 1];
    for (size_t i = 0; i < mask->count; i += L)
        if (!int_at(mask, i)) return true;
    return false;
}

static bool has_padding(const ck_tensor *mask)
{
    for (size_t i = 0; mask && i < mask->count; i++)
        if (!int_at(mask, i)) return true;
    return false;
}

static bool side_read(side *s, const parity *p, const char *name, const char *ids_name,
                      const char *mask_name, bool decoder, padding how)
{
    *s = (side){0};
    const ck_tensor *ids = find(p, name, "in", ids_name);
    if (!ids || ids->ndim < 2) return false;
    const ck_tensor *mask = find(p, name, "in", mask_name);
    const ck_tensor *types = decoder ? NULL : find(p, name, "in", "token_type_ids");
    const ck_tensor *pos = decoder ? NULL : find(p, name, "in", "position_ids");
    s->L = ids->shape[ids->ndim - 1];
    s->B = ids->count / s->L;
    s->choices = ids->ndim == 3 ? ids->shape[1] : 1;
    if (s->B > ROWS_MAX) return false;
    s->type_width = types && types->count > ids->count ? types->count / ids->count : 1;
    s->ids = must(calloc(ids->count, sizeof *s->ids));
    s->types = types ? must(calloc(types->count, sizeof *s->types)) : NULL;
    s->pos = pos ? must(calloc(ids->count, sizeof *s->pos)) : NULL;
    s->row_of = must(calloc(ids->count, sizeof *s->row_of));
    s->live = must(calloc(ids->count, 1));
    s->mask = how == MASK_PADDING ? must(calloc(ids->count, 1)) : NULL;
    size_t T = 0;
    for (size_t b = 0; b < s->B; b++) {
        for (size_t i = b * s->L; i < (b + 1) * s->L; i++) {
            s->live[i] = !mask || int_at(mask, i);
            s->row_of[i] = -1;
            if (how == DROP_PADDING && !s->live[i]) continue;
            s->ids[T] = int_at(ids, i);
            for (size_t k = 0; types && k < s->type_width; k++)
                s->types[T * s->type_width + k] = int_at(types, i * s->type_width + k);
            if (pos) s->pos[T] = int_at(pos, i);
            if (s->mask) s->mask[T] = s->live[i];
            s->row_of[i] = (int32_t)T++;
        }
        s->start[b + 1] = T;
    }
    return true;
}

static void side_free(side *s)
{
    free(s->ids);
    free(s->types);
    free(s->pos);
    free(s->mask);
    free(s->row_of);
    free(s->live);
}

static arch_batch batch_of(const side *s, struct arch_cache *const *caches)
{
    return (arch_batch){.n_seqs = s->B,
                        .start = s->start,
                        .ids = s->ids,
                        .type_ids = s->types,
                        .position_ids = s->pos,
                        .attention_mask = s->mask,
                        .caches = caches};
}

/* ------------------------------------------------------------------ comparing */

static void passed(parity *p, double diff)
{
    parity_pass(&p->count);
    if (diff > p->count.max_diff) p->count.max_diff = diff;
}

static void failed(parity *p, const char *name_case, const char *name, const char *why)
{
    parity_fail(&p->count, "%s%s %s%s%s", p->first_wrong_said ? "" : "(first wrong tap) ",
                name_case, name, *name ? ": " : "", why);
    p->first_wrong_said = true;
}

static double tolerance(const parity *p, const char *full)
{
    const json *t = json_get(json_get(p->expected.root, "tolerances"), full);
    const double max = json_double(json_get(t, "max_abs"), 1.0);
    return json_double(json_get(t, "suggested_atol"), 1e-4 * max);
}

/* got(user, i): our value for element i of the tensor, or false where the row means nothing. */
typedef bool (*value_fn)(void *user, size_t i, float *out);

static void compare(parity *p, const char *name_case, const char *name, const ck_tensor *t,
                    value_fn got, void *user)
{
    const double atol = tolerance(p, t->name);
    double worst = 0;
    size_t where = 0, n = 0;
    float bad = 0;
    for (size_t i = 0; i < t->count; i++) {
        float v;
        if (!got(user, i, &v)) continue;
        double d = fabs((double)v - (double)float_at(t, i));
        if (d != d) d = INFINITY;
        n++;
        if (d > worst) worst = d, where = i, bad = v;
    }
    if (n && worst <= atol) {
        passed(p, worst);
        return;
    }
    if (n && worst > p->count.max_diff) p->count.max_diff = worst;
    char why[320], at[96] = "";
    for (size_t k = 0, rest = where, block = t->count; k < t->ndim; k++) {
        block /= t->shape[k];
        snprintf(at + strlen(at), sizeof at - strlen(at), "%s%zu", k ? ", " : "", rest / block);
        rest %= block;
    }
    if (n)
        snprintf(why, sizeof why, "|diff| %.3g > %.2g at [%s]: got %.7g, expected %.7g", worst,
                 atol, at, (double)bad, (double)float_at(t, where));
    else
        snprintf(why, sizeof why, "no value to compare");
    failed(p, name_case, name, why);
}

typedef struct {
    const ck_tensor *t;
    const side *s;
    const float *x; /* [T, ld], or [B, ld] for `pooled` */
    size_t ld, cols, column;
    bool per_sequence;
} rows_view;

static bool rows_value(void *user, size_t i, float *out)
{
    const rows_view *v = user;
    const size_t row = i / v->cols, col = i % v->cols;
    if (v->s->apart[v->per_sequence ? row : row / v->s->L]) return false;
    if (v->per_sequence) {
        *out = v->x[row * v->ld + v->column + col];
        return true;
    }
    if (!v->s->live[row]) return false;
    *out = v->x[(size_t)v->s->row_of[row] * v->ld + v->column + col];
    return true;
}

/* x: [T, ld] rows or [B, ld]; the tensor has `cols` of these columns, from `column`. */
static void compare_rows(parity *p, const char *name_case, const char *name, const ck_tensor *t,
                         const side *s, const float *x, size_t rows, size_t ld, size_t column,
                         size_t cols)
{
    if (!x) {
        failed(p, name_case, name, "the model did not answer this");
        return;
    }
    const size_t T = s->start[s->B];
    const bool per_sequence = t->count == s->B * cols && (rows == s->B) && (T != s->B || s->L != 1);
    if (!per_sequence && t->count != s->B * s->L * cols) {
        char why[160];
        snprintf(why, sizeof why, "expected %zu values, got %zu rows of %zu", t->count, rows, cols);
        failed(p, name_case, name, why);
        return;
    }
    rows_view v = {t, s, x, ld, cols, column, per_sequence};
    compare(p, name_case, name, t, rows_value, &v);
}

typedef struct {
    const side *q, *k;
    const arch_attention *a; /* of sequence 0; the others follow */
    size_t heads, tq, tk;
} attn_view;

static bool attn_value(void *user, size_t i, float *out)
{
    const attn_view *v = user;
    const size_t j = i % v->tk, q = i / v->tk % v->tq, h = i / (v->tk * v->tq) % v->heads;
    const size_t b = i / (v->tk * v->tq * v->heads);
    if (!v->q->live[b * v->tq + q] || !v->k->live[b * v->tk + j]) return false;
    const arch_attention *a = &v->a[b];
    const size_t qr = (size_t)v->q->row_of[b * v->tq + q] - v->q->start[b];
    const size_t kr = (size_t)v->k->row_of[b * v->tk + j] - v->k->start[b];
    *out = a->p[(h * a->tq + qr) * a->tk + kr];
    return true;
}

static void compare_attention(parity *p, const char *name_case, const char *name,
                              const ck_tensor *t, const side *q, const side *k,
                              const arch_output *o, const char *kind, size_t layer)
{
    for (size_t i = 0; i < o->n_attentions; i++) {
        const arch_attention *a = &o->attentions[i];
        if (strcmp(a->kind, kind) || a->layer != layer || a->seq != 0) continue;
        attn_view v = {q, k, a, t->shape[1], t->shape[2], t->shape[3]};
        if (t->ndim != 4 || a->heads != v.heads || v.tq != q->L || v.tk != k->L) break;
        compare(p, name_case, name, t, attn_value, &v);
        return;
    }
    failed(p, name_case, name, "the model did not answer this");
}

/* ------------------------------------------------------------------ one expected tensor */

/* "hidden_states.3" behind `prefix` -> 3; -1 if it is another name. */
static long numbered(const char *name, const char *prefix)
{
    const size_t n = strlen(prefix);
    if (strncmp(name, prefix, n)) return -1;
    char *end;
    const long i = strtol(name + n, &end, 10);
    return *end || end == name + n ? -1 : i;
}

typedef struct {
    const side *s; /* of the forward: the decoder's, if there is an encoder */
    const arch_output *o;
    const side *enc; /* NULL: no encoder ran apart */
    const arch_output *enc_o;
} answers;

static void compare_hidden(parity *p, const char *name_case, const char *name, const ck_tensor *t,
                           const side *s, const arch_output *o, long i)
{
    const size_t cols = t->shape[t->ndim - 1];
    compare_rows(p, name_case, name, t, s, (size_t)i < o->n_all ? o->all_hidden[i] : NULL,
                 s->start[s->B], cols, 0, cols);
}

static void compare_one(parity *p, const char *name_case, const ck_tensor *t, const answers *a)
{
    const char *name = strstr(t->name, "/out/") + 5;
    const arch_output *o = a->o;
    const side *s = a->s;
    const size_t H = t->shape[t->ndim - 1], T = s->start[s->B];
    long i;
    if ((i = numbered(name, "hidden_states.")) >= 0 ||
        (i = numbered(name, "decoder_hidden_states.")) >= 0)
        compare_hidden(p, name_case, name, t, s, o, i);
    else if ((i = numbered(name, "encoder_hidden_states.")) >= 0 && a->enc_o)
        compare_hidden(p, name_case, name, t, a->enc, a->enc_o, i);
    else if ((i = numbered(name, "attentions.")) >= 0 ||
             (i = numbered(name, "decoder_attentions.")) >= 0)
        compare_attention(p, name_case, name, t, s, s, o, "self", (size_t)i);
    else if ((i = numbered(name, "encoder_attentions.")) >= 0 && a->enc_o)
        compare_attention(p, name_case, name, t, a->enc, a->enc, a->enc_o, "self", (size_t)i);
    else if ((i = numbered(name, "cross_attentions.")) >= 0 && a->enc_o)
        compare_attention(p, name_case, name, t, s, a->enc, o, "cross", (size_t)i);
    else if (!strcmp(name, "last_hidden_state"))
        compare_rows(p, name_case, name, t, s, o->hidden, T, H, 0, H);
    else if (!strcmp(name, "encoder_last_hidden_state") && a->enc_o)
        compare_rows(p, name_case, name, t, a->enc, a->enc_o->hidden, a->enc->start[a->enc->B], H,
                     0, H);
    else if (!strcmp(name, "pooler_output"))
        compare_rows(p, name_case, name, t, s, o->pooled, s->B, H, 0, H);
    else if (!strcmp(name, "start_logits") || !strcmp(name, "end_logits"))
        compare_rows(p, name_case, name, t, s, o->logits, T, o->n_logits,
                     !strcmp(name, "end_logits"), 1);
    else if (!strcmp(name, "logits_aggregation"))
        compare_rows(p, name_case, name, t, s, o->extra, s->B, o->n_extra, 0, o->n_extra);
    else if (!strcmp(name, "logits") || !strcmp(name, "prediction_logits"))
        compare_rows(p, name_case, name, t, s, o->logits, o->logit_rows, o->n_logits, 0,
                     o->n_logits);
    else
        failed(p, name_case, name, "unknown kind of answer");
}

/* ------------------------------------------------------------------ the engine's own promises */

static void check_alone(parity *p, const char *name_case, const side *s, const arch_output *o)
{
    if (s->B < 2) return;
    for (size_t b = 0; b < s->B; b++) {
        const size_t a = s->start[b], rows = s->start[b + 1] - a;
        if (!rows) continue;
        const arch_batch one = {.n_seqs = 1,
                                .start = (size_t[]){0, rows},
                                .ids = s->ids + a,
                                .type_ids = s->types ? s->types + a * s->type_width : NULL,
                                .position_ids = s->pos ? s->pos + a : NULL,
                                .attention_mask = s->mask ? s->mask + a : NULL};
        arch_output out;
        mltf_err err = {0};
        if (arch_forward(p->alone, &one, ARCH_WANT_HIDDEN | ARCH_WANT_LOGITS, &out, &err)) {
            failed(p, name_case, "alone", err.msg);
            return;
        }
        const bool each = o->logit_rows == s->start[s->B];
        const size_t n = (each ? rows : 1) * out.n_logits, H = o->n_hidden;
        const float *mine = o->logits ? o->logits + (each ? a : b) * o->n_logits : NULL;
        if ((mine && memcmp(mine, out.logits, n * sizeof(float))) ||
            (o->hidden && memcmp(o->hidden + a * H, out.hidden, rows * H * sizeof(float)))) {
            failed(p, name_case, "alone", "a sequence alone gives other bits than in its batch");
            return;
        }
    }
    passed(p, 0);
}

/* rope_scaling of the text's config, or rope_parameters; *config is that config. */
static const json *rope_settings(const parity *p, const json **config)
{
    const json *c = arch_model_info(p->m)->config;
    if (json_get(c, "text_config")) c = json_get(c, "text_config");
    *config = c;
    const json *r = json_get(c, "rope_scaling");
    return json_is(r, JSON_OBJECT) ? r : json_get(c, "rope_parameters");
}

static bool has_dynamic_rope(const parity *p)
{
    const json *c, *r = rope_settings(p, &c), *t = json_get(r, "rope_type");
    return str_is(json_string(t ? t : json_get(r, "type"), STR("")), "dynamic");
}

/* Mark the rows that the library gives the rotary frequencies of the batch's longest one: docs/differences.md. */
static void mark_apart(parity *p, const char *name_case, side *s)
{
    if (!arch_model_info(p->m)->stepwise) return;
    const json *c, *r = rope_settings(p, &c);
    size_t border = (size_t)json_int(json_get(c, "max_position_embeddings"), 0), longest = 0;
    border = (size_t)json_int(json_get(r, "original_max_position_embeddings"), (int64_t)border);
    border = (size_t)json_int(json_get(c, "original_max_position_embeddings"), (int64_t)border);
    size_t length[ROWS_MAX] = {0};
    for (size_t b = 0; b < s->B; b++) {
        for (size_t i = b * s->L; i < (b + 1) * s->L; i++) length[b] += s->live[i];
        if (length[b] > longest) longest = length[b];
    }
    if (longest <= border) return;
    for (size_t b = 0; b < s->B; b++) {
        s->apart[b] = length[b] < longest && (has_dynamic_rope(p) || length[b] <= border);
        if (s->apart[b])
            parity_skip(&p->count,
                        "%s, row %zu: the library takes the rotary frequencies of the longest row "
                        "for all rows; here a row gives what it gives alone",
                        name_case, b);
    }
}

/* Robertas that generate: the library's generate() counts their positions from 0, a plain forward does not. */
static bool counts_otherwise(const arch_info *info)
{
    return info->max_positions != SIZE_MAX &&
           json_is(json_get(info->config, "is_decoder"), JSON_BOOL) &&
           info->max_positions !=
               (size_t)json_int(json_get(info->config, "max_position_embeddings"), 0) &&
           !str_is(str_from(info->model_type), "xlm-roberta-xl");
}

/* Language models whose generation is another question than their plain forward (xlnet), or whose first pass rounds
 * otherwise (minimax). */
static bool generates_otherwise(const arch_info *info)
{
    return info->stepwise && info->stateful;
}

/* The last row's logits through a cache: half of the sequence at once, the rest token by token. */
static void check_cached(parity *p, const char *name_case, const side *s, const arch_output *o,
                         double atol)
{
    const arch_info *info = arch_model_info(p->m);
    if (info->kind != ARCH_DECODER || info->head != ARCH_HEAD_LM || s->B != 1 || s->pos ||
        s->types || has_dynamic_rope(p))
        return;
    if (counts_otherwise(info) || generates_otherwise(info)) return;
    const size_t T = s->start[1];
    arch_cache *cache = NULL;
    mltf_err err = {0};
    arch_output out = {0};
    mltf_status st = arch_cache_new(&cache, p->m, T, &err);
    for (size_t at = 0, step = (T + 1) / 2; !st && at < T; at += step, step = 1) {
        const arch_batch b = {
            .n_seqs = 1, .start = (size_t[]){0, step}, .ids = s->ids + at, .caches = &cache};
        st = arch_forward(p->alone, &b, ARCH_WANT_LAST_LOGITS, &out, &err);
    }
    double worst = 0;
    for (size_t i = 0; !st && i < out.n_logits; i++)
        worst =
            fmax(worst, fabs((double)out.logits[i] - (double)o->logits[(T - 1) * o->n_logits + i]));
    if (st) {
        failed(p, name_case, "with a cache", err.msg);
    } else if (!(worst <= atol)) {
        char why[120];
        snprintf(why, sizeof why, "the last logits differ by %.3g > %.2g from the plain forward",
                 worst, atol);
        failed(p, name_case, "with a cache", why);
    } else {
        passed(p, worst);
    }
    arch_cache_free(cache);
}

/* ------------------------------------------------------------------ one case */

static int order_of(const char *name)
{
    static const char *const order[] = {"encoder_hidden_states.",
                                        "encoder_attentions.",
                                        "encoder_last_hidden_state",
                                        "decoder_hidden_states.",
                                        "hidden_states.",
                                        "decoder_attentions.",
                                        "cross_attentions.",
                                        "attentions.",
                                        "last_hidden_state",
                                        "pooler_output",
                                        "start_logits",
                                        "end_logits",
                                        "logits"};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (!strncmp(name, order[i], strlen(order[i]))) return (int)i;
    return 99;
}

static int by_order(const void *a, const void *b)
{
    const ck_tensor *const *x = a, *const *y = b;
    const char *nx = strstr((*x)->name, "/out/") + 5, *ny = strstr((*y)->name, "/out/") + 5;
    const int d = order_of(nx) - order_of(ny);
    if (d) return d;
    const char *dx = strrchr(nx, '.'), *dy = strrchr(ny, '.');
    return dx && dy ? atoi(dx + 1) - atoi(dy + 1) : strcmp(nx, ny);
}

static void compare_all(parity *p, const char *name_case, const answers *a)
{
    char prefix[NAME_BYTES];
    snprintf(prefix, sizeof prefix, "%s/out/", name_case);
    const size_t n = checkpoint_count(p->want);
    const ck_tensor **list = must(calloc(n + 1, sizeof *list));
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        const ck_tensor *t = checkpoint_at(p->want, i);
        if (!strncmp(t->name, prefix, strlen(prefix)) && t->dtype == DT_F32) list[k++] = t;
    }
    qsort(list, k, sizeof *list, by_order);
    for (size_t i = 0; i < k; i++) compare_one(p, name_case, list[i], a);
    free(list);
}

enum { WANT_ALL = ARCH_WANT_HIDDEN | ARCH_WANT_POOLED | ARCH_WANT_LOGITS | ARCH_WANT_ALL_HIDDEN };

static void run_seq2seq(parity *p, const char *name_case)
{
    side enc, dec;
    arch_output eo = {0}, o = {0};
    arch_cache *caches[ROWS_MAX] = {0};
    mltf_err err = {0};
    mltf_status st = MLTF_OK;
    side_read(&enc, p, name_case, "input_ids", "attention_mask", false, DROP_PADDING);
    side_read(&dec, p, name_case, "decoder_input_ids", "decoder_attention_mask", true,
              DROP_PADDING);
    for (size_t b = 0; !st && b < enc.B; b++) st = arch_cache_new(&caches[b], p->m, dec.L, &err);
    const arch_batch eb = batch_of(&enc, caches), db = batch_of(&dec, caches);
    if (!st) st = arch_encode(p->alone, &eb, WANT_ALL | ARCH_WANT_ATTENTIONS, &eo, &err);
    if (!st) st = arch_forward(p->s, &db, WANT_ALL | ARCH_WANT_ATTENTIONS, &o, &err);
    if (st)
        failed(p, name_case, "", err.msg);
    else
        compare_all(p, name_case, &(answers){&dec, &o, &enc, &eo});
    for (size_t b = 0; b < enc.B; b++) arch_cache_free(caches[b]);
    side_free(&enc);
    side_free(&dec);
}

static void run_plain(parity *p, const char *name_case, padding how)
{
    side s;
    if (!side_read(&s, p, name_case, "input_ids", "attention_mask", false, how)) {
        failed(p, name_case, "", "not a case of text: inputs of this kind are not replayed");
        side_free(&s);
        return;
    }
    mark_apart(p, name_case, &s);
    const unsigned want =
        WANT_ALL | (find(p, name_case, "out", "attentions.0") ? ARCH_WANT_ATTENTIONS : 0);
    const arch_batch b = batch_of(&s, NULL);
    arch_output o;
    mltf_err err = {0};
    if (arch_forward(p->s, &b, want, &o, &err)) {
        failed(p, name_case, "", err.msg);
    } else {
        const arch_output encoder = {.hidden = o.encoder_hidden,
                                     .all_hidden = o.encoder_all_hidden,
                                     .n_all = o.n_encoder_all};
        compare_all(p, name_case, &(answers){&s, &o, o.encoder_hidden ? &s : NULL, &encoder});
        check_alone(p, name_case, &s, &o);
        const ck_tensor *logits = find(p, name_case, "out", "logits");
        if (logits) check_cached(p, name_case, &s, &o, tolerance(p, logits->name));
    }
    side_free(&s);
}

/* Families whose tokens see the padding behind them: by a convolution, pooled, unmasked, or as the next one's embedding. */
static bool sees_padding(const arch_info *info)
{
    static const char *const types[] = {"canine", "convbert", "funnel", "nystromformer", "yoso"};
    const mltf_str type = str_from(info->model_type);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (str_is(type, types[i])) return true;
    return json_bool(json_get(info->config, "trigram_input"), str_is(type, "mobilebert"));
}

static void run_case(parity *p, const char *name_case)
{
    if (find(p, name_case, "in", "decoder_input_ids")) {
        run_seq2seq(p, name_case);
        return;
    }
    const ck_tensor *mask = find(p, name_case, "in", "attention_mask");
    if (left_padded(mask) && !find(p, name_case, "in", "position_ids")) {
        run_plain(p, name_case, MASK_PADDING);
        return;
    }
    // a decoder's classifier looks for config.json's padding id, which the recorded rows need not have:
    // then it reads a padded row, and that row has to be there
    const arch_info *info = arch_model_info(p->m);
    const bool reads_padding = info->kind == ARCH_DECODER && info->head == ARCH_HEAD_SEQ_CLS;
    // tapas counts padding among the tokens of the question
    const bool told_apart = reads_padding || sees_padding(info) || info->head == ARCH_HEAD_TABLE_QA;
    if (!has_padding(mask) || !told_apart) run_plain(p, name_case, DROP_PADDING);
    if (has_padding(mask)) run_plain(p, name_case, MASK_PADDING);
}

static void run_cases(parity *p)
{
    char last[NAME_BYTES] = "";
    for (size_t i = 0; i < checkpoint_count(p->want);
         i++) { // sorted by name: a case's inputs are neighbours
        const char *name = checkpoint_at(p->want, i)->name, *in = strstr(name, "/in/");
        if (!in || (size_t)(in - name) >= sizeof last) continue;
        char name_case[NAME_BYTES];
        snprintf(name_case, sizeof name_case, "%.*s", (int)(in - name), name);
        if (!strcmp(name_case, last)) continue;
        memcpy(last, name_case, sizeof last);
        run_case(p, name_case);
    }
}

int parity_model(const char *dir, int argc, char **argv)
{
    const bool tensors_only = argc > 0 && !strcmp(argv[0], "tensors");
    parity p = {.dir = dir, .expected = JSON_DOC_INIT};
    mltf_err err = {0};
    mltf_pool *pool = NULL;
    char *path = must(path_join(dir, "expected.json"));
    mltf_status st = json_parse_file(&p.expected, path, NULL, &err);
    free(path);
    if (!st) st = checkpoint_open(&p.want, dir, "expected.safetensors", &err);
    if (!st) st = pool_new(&pool, 0, &err);
    // which attention the recording ran with: falcon's ALiBi depends on it
    const json *how = st ? NULL : json_get(p.expected.root, "attention");
    json *overrides = how ? json_new_object(&p.expected.arena) : NULL;
    json_set(&p.expected.arena, overrides, "attn_implementation", how);
    const arch_load_options options = {
        .pool = pool, .torch_dtype = "float32", .config_overrides = overrides};
    if (!st) st = arch_model_load(&p.m, dir, &options, &err);
    if (!st) st = arch_session_new(&p.s, p.m, &err);
    if (!st) st = arch_session_new(&p.alone, p.m, &err);
    const bool unsupported = st == MLTF_UNSUPPORTED;
    if (st)
        failed(&p, "load", "", err.msg);
    else
        run_cases(&p);
    arch_session_free(p.s);
    arch_session_free(p.alone);
    if (!st && !tensors_only && parity_generation)
        parity_generation(dir, p.expected.root, &p.count);
    if (!st && !tensors_only && parity_pipelines) parity_pipelines(dir, p.expected.root, &p.count);
    arch_model_free(p.m);
    pool_free(pool);
    checkpoint_close(p.want);
    json_doc_release(&p.expected);
    const int status = parity_report(dir, &p.count);
    return unsupported ? 77
                       : status; // a family that is not there is told apart from a wrong answer
}
