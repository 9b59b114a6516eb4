/* Heads on top of the last hidden state: pooling, transform, output; and the load lines of the usual ones. */
#include <stdio.h>
#include <string.h>

#include "arch/arch_internal.h"
#include "nn/nn_adapter.h"

/* ------------------------------------------------------------------ choosing rows */

static size_t last_token(const arch_run *r, size_t seq, int64_t pad)
{
    const size_t a = r->seqs.start[seq], b = r->seqs.start[seq + 1];
    if (pad < 0 || !r->batch->ids) return b - 1;
    for (size_t t = b; t-- > a;)
        if (r->batch->ids[t] != pad) return t;
    return a; // nothing but padding: Python's argmax gives the first
}

static void mean_rows(const arch_run *r, float *y, const float *x, size_t seq, size_t cols)
{
    size_t n = 0;
    memset(y, 0, cols * sizeof *y);
    for (size_t t = r->seqs.start[seq]; t < r->seqs.start[seq + 1]; t++) {
        if (r->seqs.key_mask && !r->seqs.key_mask[t]) continue;
        for (size_t i = 0; i < cols; i++) y[i] += x[t * cols + i];
        n++;
    }
    for (size_t i = 0; n && i < cols; i++) y[i] /= (float)n;
}

/* One row a sequence, [n_seqs, cols] in scratch; empty sequences give zeros. */
static float *choose_rows(arch_run *r, const float *x, size_t cols, arch_pool pool, int64_t id)
{
    float *y = nn_f32(r->cx, r->seqs.n, cols);
    for (size_t s = 0; nn_ok(r->cx) && s < r->seqs.n; s++) {
        const size_t a = r->seqs.start[s], b = r->seqs.start[s + 1];
        float *row = y + s * cols;
        memset(row, 0, cols * sizeof *row);
        if (a == b) continue;
        size_t t = a;
        if (pool == POOL_MEAN) {
            mean_rows(r, row, x, s, cols);
            continue;
        }
        if (pool == POOL_ROWS) t = b - 1; // the last row: ARCH_WANT_LAST_LOGITS
        if (pool == POOL_LAST_TOKEN) t = last_token(r, s, id);
        if (pool == POOL_LAST_EOS)
            for (t = b - 1; t > a && r->batch->ids && r->batch->ids[t] != id;) t--;
        memcpy(row, x + t * cols, cols * sizeof *row);
    }
    return y;
}

/* dense, activation and norm of a head over `rows` rows. Gives the buffer and its width. */
static const float *transform(arch_run *r, const arch_head_w *w, const float *x, size_t rows,
                              size_t *cols)
{
    if (nn_has(&w->dense)) {
        float *y = nn_f32(r->cx, rows, w->dense.w.N);
        nn_linear(r->cx, y, x, &w->dense, rows);
        nn_act(r->cx, y, y, rows * w->dense.w.N, w->act);
        if (w->norm.kind != NN_NORM_NONE) nn_norm(r->cx, y, y, &w->norm, rows);
        *cols = w->dense.w.N;
        return y;
    }
    if (w->norm.kind == NN_NORM_NONE && w->act == K_ACT_NONE) return x;
    float *y = nn_f32(r->cx, rows, *cols);
    nn_act(r->cx, y, x, rows * *cols, w->act);
    if (w->norm.kind != NN_NORM_NONE) nn_norm(r->cx, y, y, &w->norm, rows);
    return y;
}

static void head_forward(arch_run *r, const arch_head_w *w, const float *x, size_t cols,
                         bool last_only)
{
    nn_ctx *cx = r->cx;
    arch_output *out = r->out;
    size_t rows = r->seqs.rows;
    if (w->pool != POOL_ROWS || last_only) {
        x = choose_rows(r, x, cols, w->pool, w->pad);
        rows = r->seqs.n;
    }
    x = transform(r, w, x, rows, &cols);
    if (!nn_ok(cx)) return;
    out->logit_rows = rows;
    out->n_logits = nn_has(&w->out) ? w->out.w.N : cols;
    out->logits = nn_keep(cx, rows, out->n_logits);
    if (nn_has(&w->out2)) {
        float *rest = nn_f32(cx, rows, out->n_logits);
        nn_linear_strided(cx, out->logits, out->n_logits, x, cols, &w->out, rows);
        nn_linear_strided(cx, rest, out->n_logits, x + w->out.w.K, cols, &w->out2, rows);
        nn_add(cx, out->logits, rest, rows * out->n_logits);
    } else if (nn_has(&w->out))
        nn_linear(cx, out->logits, x, &w->out, rows);
    else
        nn_copy(cx, out->logits, x, rows * cols);
    nn_scale(cx, out->logits, w->scale == 0 ? 1.0f : w->scale, rows * out->n_logits);
    nn_softcap(cx, out->logits, w->softcap, rows * out->n_logits);
}

void arch_heads_forward(arch_run *r, const arch_heads *h, const float *x, size_t cols)
{
    nn_ctx *cx = r->cx;
    r->out->n_hidden = cols;
    if (r->want & ARCH_WANT_HIDDEN) {
        r->out->hidden = nn_keep(cx, r->seqs.rows, cols);
        nn_copy(cx, r->out->hidden, x, r->seqs.rows * cols);
    }
    if (r->want & ARCH_WANT_POOLED && h->has_pooler) {
        size_t width = cols;
        const float *y = choose_rows(r, x, cols, h->pooler.pool, h->pooler.pad);
        y = transform(r, &h->pooler, y, r->seqs.n, &width);
        r->out->pooled = nn_keep(cx, r->seqs.n, width);
        nn_copy(cx, r->out->pooled, y, r->seqs.n * width);
    }
    if (r->want & (ARCH_WANT_LOGITS | ARCH_WANT_LAST_LOGITS) && h->has_head)
        head_forward(r, &h->head, x, cols, !(r->want & ARCH_WANT_LOGITS));
}

/* ------------------------------------------------------------------ loading */

static void load_cls(arch_build *b, arch_heads *h, const arch_encoder_names *n, size_t hidden,
                     const char *out, size_t labels)
{
    nn_loader *ld = &b->ld;
    h->head.pool = POOL_FIRST;
    if (n->cls_pooler) {
        h->head.dense = h->pooler.dense;
        h->head.act = h->pooler.act;
    } else if (n->cls_dense) {
        nn_load_linear(ld, &h->head.dense, n->cls_dense, hidden, hidden, NN_BIAS);
        h->head.act = n->cls_act;
    }
    nn_load_linear(ld, &h->head.out, out, labels, hidden, NN_BIAS);
}

void arch_encoder_heads_load(arch_build *b, arch_heads *h, const arch_encoder_names *n,
                             size_t hidden, const nn_embed_w *tokens)
{
    nn_loader *ld = &b->ld;
    const arch_head head = b->m->info.head;
    const size_t labels = b->m->info.n_labels;
    const bool cls = head == ARCH_HEAD_SEQ_CLS || head == ARCH_HEAD_MULTIPLE_CHOICE;
    const bool follows = head == ARCH_HEAD_NEXT_SENTENCE;
    if (n->pooler && (head == ARCH_HEAD_NONE || follows || (cls && n->cls_pooler))) {
        nn_scope(ld, "%s", ld->base);
        nn_load_linear(ld, &h->pooler.dense, n->pooler, hidden, hidden,
                       NN_BIAS | (head == ARCH_HEAD_NONE ? NN_OPTIONAL : 0));
        h->pooler.pool = POOL_FIRST;
        h->pooler.act = n->pooler_act;
        h->has_pooler = nn_has(&h->pooler.dense);
    }
    nn_scope(ld, "%s", "");
    h->has_head = true;
    switch (head) {
    case ARCH_HEAD_SEQ_CLS:
        load_cls(b, h, n, hidden, n->cls_out, labels);
        break;
    case ARCH_HEAD_MULTIPLE_CHOICE:
        load_cls(b, h, n, hidden, n->mc_out ? n->mc_out : n->cls_out, 1);
        break;
    case ARCH_HEAD_NEXT_SENTENCE:
        load_cls(b, h, n, hidden, n->nsp_out, 2);
        break;
    case ARCH_HEAD_TOKEN_CLS:
        nn_load_linear(ld, &h->head.out, n->token_out, labels, hidden, NN_BIAS);
        break;
    case ARCH_HEAD_QA:
        nn_load_linear(ld, &h->head.out, n->qa_out, 2, hidden, NN_BIAS);
        break;
    case ARCH_HEAD_MASKED_LM:
    case ARCH_HEAD_LM: {
        const size_t width = n->mlm_width ? n->mlm_width : tokens->w.K, vocab = tokens->w.N;
        if (n->mlm_dense) {
            nn_load_linear(ld, &h->head.dense, n->mlm_dense, width, hidden,
                           n->mlm_dense_no_bias ? NN_NO_BIAS : NN_BIAS);
            h->head.act = n->mlm_act;
        }
        if (n->mlm_norm)
            nn_load_norm(ld, &h->head.norm, n->mlm_norm, NN_NORM_LAYER, width, n->eps, NN_BIAS);
        const bool tied = !n->mlm_width && cfg_bool(&b->cfg, "tie_word_embeddings", true);
        nn_load_linear(ld, &h->head.out, n->mlm_out, vocab, width, tied ? NN_OPTIONAL : 0);
        if (tied) {
            h->head.out = nn_linear_tied(tokens, ld->compute); // the stored copy is of no account
            if (ld->adapter) nn_adapter_attach(ld, &h->head.out, str_from(n->mlm_out));
        }
        if (n->mlm_bias) h->head.out.bias = nn_load_vector(ld, n->mlm_bias, vocab, 0);
        break;
    }
    default:
        h->has_head = false;
    }
}

void arch_summary_load(arch_build *b, arch_heads *h, const arch_summary *s, size_t hidden)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_head_w *w = &h->head;
    const bool choice = b->m->info.head == ARCH_HEAD_MULTIPLE_CHOICE;
    const mltf_str type = cfg_str(c, "summary_type", s->type);
    const size_t labels = b->m->info.n_labels;
    w->pad = -1; // the last token is the last one, padding or not
    w->pool = str_is(type, "first") ? POOL_FIRST : POOL_LAST_TOKEN;
    if (!str_is(type, "first") && !str_is(type, "last") && !str_is(type, "cls_index"))
        cfg_fail(c, "\"summary_type\" \"" STR_FMT "\" is not supported", STR_ARG(type));
    const bool projects = cfg_bool(c, "summary_use_proj", s->project);
    const bool to_labels = projects && cfg_bool(c, "summary_proj_to_labels", s->to_labels);
    const size_t width = to_labels ? labels : hidden;
    nn_scope(ld, "%s", "");
    h->has_head = true;
    if (projects) nn_load_linear(ld, &w->dense, "sequence_summary.summary", width, hidden, NN_BIAS);
    w->act = cfg_get(c, "summary_activation") || s->act ? cfg_act(c, "summary_activation", s->act)
                                                        : K_ACT_NONE;
    if (choice || !to_labels)
        nn_load_linear(ld, &w->out, s->out, choice ? 1 : labels, width, NN_BIAS);
}

void arch_decoder_heads_load(arch_build *b, arch_heads *h, size_t hidden, const nn_embed_w *tokens,
                             const char *lm_head, unsigned lm_flags, bool tied_default)
{
    nn_loader *ld = &b->ld;
    const size_t labels = b->m->info.n_labels;
    nn_scope(ld, "%s", "");
    h->has_head = true;
    switch (b->m->info.head) {
    case ARCH_HEAD_LM: {
        // a head that was trained on its own is tied no more
        const bool tied = cfg_bool(&b->cfg, "tie_word_embeddings", tied_default) &&
                          !nn_load_is_replaced(ld, lm_head);
        nn_load_linear(ld, &h->head.out, lm_head, tokens->w.N, tokens->w.K,
                       lm_flags | (tied ? NN_OPTIONAL : 0));
        if (tied) { // a bias belongs to the head even where its matrix is that of the embedding
            const float *bias = h->head.out.bias;
            if (!bias && (lm_flags & NN_BIAS)) {
                char name[64];
                snprintf(name, sizeof name, "%s.bias", lm_head);
                bias = nn_load_vector(ld, name, tokens->w.N, 0);
            }
            h->head.out = nn_linear_tied(tokens, ld->compute);
            h->head.out.bias = bias;
            if (ld->adapter) nn_adapter_attach(ld, &h->head.out, str_from(lm_head));
        }
        break;
    }
    case ARCH_HEAD_SEQ_CLS:
        nn_load_linear(ld, &h->head.out, "score|classifier", labels, hidden, NN_NO_BIAS);
        h->head.pool = POOL_LAST_TOKEN;
        h->head.pad = cfg_token(&b->cfg, "pad_token_id", -1);
        break;
    case ARCH_HEAD_TOKEN_CLS:
        nn_load_linear(ld, &h->head.out, "score|classifier", labels, hidden, NN_BIAS);
        break;
    case ARCH_HEAD_QA:
        nn_load_linear(ld, &h->head.out, "qa_outputs", 2, hidden, NN_BIAS);
        break;
    default:
        h->has_head = false;
    }
}
