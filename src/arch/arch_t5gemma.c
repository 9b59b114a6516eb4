/* T5Gemma: gemma 2's layers as encoder and decoder. Zhang et al. 2025, arXiv:2504.06225; transformers 4.57
 * models/t5gemma/modeling_t5gemma.py.
 *
 *   encoder: ids ─ embedding sqrt(H) ─ n x [ x += rms(attention(rms x));  x += rms(mlp(rms x)) ] ─ rms
 *   decoder: the same, causal, with x += rms(cross(rms x)) between the two ─ rms ─ head
 *
 * Easy to get wrong: the sides have words of their own, and config.json an object for each; rms norms multiply by
 * weight + 1; every other layer sees a window, in the encoder to both sides; scores are capped, those of the cross
 * attention too; where the whole is not tied, but the decoder's own config is (as it is by default), the head is the
 * encoder's table. Classifiers are there of the encoder alone. Checked on: random checkpoints of the library. */
#include <math.h>

#include "arch/arch_decoder.h"

typedef struct {
    nn_norm_w norm1, post1, norm2, post2, norm3, post3; // self, cross (decoder), mlp
    nn_attn_w attn, cross;
    nn_mlp_w mlp;
    size_t window; // 0: none
} t5gemma_layer;

typedef struct {
    size_t hidden, n, heads, kv_heads, head_dim, ffn;
    float eps, scale, softcap, logit_cap;
    k_act act;
    unsigned bias;
    bool decoder;
    bool tied; // tie_word_embeddings of the side
    nn_embed_w words;
    nn_rope rope;
    nn_norm_w norm;
    t5gemma_layer *layers;
} t5gemma_stack;

typedef struct {
    t5gemma_stack enc, dec; // dec.n 0: the encoder alone
    bool alone;
    size_t vocab;
    arch_heads heads;
} t5gemma_model;

/* ------------------------------------------------------------------ load */

/* A number that may be null: no cap. */
static float read_cap(arch_config *c, const char *key, float fallback)
{
    const json *v = json_get(c->root, key);
    return v && v->type == JSON_NULL ? 0 : cfg_float(c, key, fallback);
}

/* The keys of one side, from b->cfg. */
static mltf_status read_side(arch_build *b, t5gemma_stack *s, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder d = {.hidden = 2304, .n_layers = 26, .heads = 8, .kv_heads = 4, .head_dim = 256};
    d.vocab = 1; // which counts outside
    arch_decoder_config(c, &d);
    s->hidden = d.hidden;
    s->n = d.n_layers;
    s->heads = d.heads;
    s->kv_heads = d.kv_heads;
    s->head_dim = d.head_dim;
    s->ffn = cfg_dim(c, "intermediate_size", 9216);
    s->eps = cfg_float(c, "rms_norm_eps", 1e-6f);
    s->scale = 1.0f / sqrtf(cfg_float(c, "query_pre_attn_scalar", 256));
    s->softcap = read_cap(c, "attn_logit_softcapping", 50);
    s->logit_cap = read_cap(c, "final_logit_softcapping", 30);
    s->act = cfg_act(c, "hidden_activation", "gelu_pytorch_tanh");
    s->tied = cfg_bool(c, "tie_word_embeddings", true);
    s->bias = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    const size_t window = arch_decoder_window(c, true, 4096);
    arch_rope_load(
        &s->rope, b,
        &(arch_rope_options){.dim = s->head_dim,
                             .theta = 10000,
                             .max_positions = cfg_dim(c, "max_position_embeddings", 8192)});
    s->layers = arch_new(b, s->n, sizeof *s->layers);
    TRY(arch_build_ok(b, err));
    for (size_t il = 0; il < s->n; il++)
        if (cfg_layer_is(c, il, "sliding_attention", il % 2 == 0)) s->layers[il].window = window;
    return arch_build_ok(b, err);
}

static void load_norm(nn_loader *ld, nn_norm_w *w, const char *name, size_t n, float eps)
{
    nn_load_norm(ld, w, name, NN_NORM_RMS, n, eps, 0);
    w->offset = 1;
}

static void load_cross(nn_loader *ld, nn_attn_w *a, const t5gemma_stack *s, size_t memory)
{
    const size_t H = s->hidden, D = s->head_dim;
    nn_load_linear(ld, &a->q, "cross_attn.q_proj", s->heads * D, H, s->bias);
    nn_load_linear(ld, &a->k, "cross_attn.k_proj", s->kv_heads * D, memory, s->bias);
    nn_load_linear(ld, &a->v, "cross_attn.v_proj", s->kv_heads * D, memory, s->bias);
    nn_load_linear(ld, &a->o, "cross_attn.o_proj", H, s->heads * D, s->bias);
}

/* memory: the width of the encoder's states. */
static void load_stack(arch_build *b, t5gemma_stack *s, size_t vocab, size_t memory)
{
    nn_loader *ld = &b->ld;
    const char *side = s->decoder ? "decoder" : "encoder";
    const size_t H = s->hidden;
    const arch_decoder d = {
        .hidden = H, .heads = s->heads, .kv_heads = s->kv_heads, .head_dim = s->head_dim};
    nn_scope(ld, "%s%s.", ld->base, side);
    nn_load_embed(ld, &s->words, "embed_tokens", "input id", vocab, H, 0);
    load_norm(ld, &s->norm, "norm", H, s->eps);
    for (size_t il = 0; il < s->n; il++) {
        t5gemma_layer *l = &s->layers[il];
        nn_scope(ld, "%s%s.layers.%zu.", ld->base, side, il);
        load_norm(ld, &l->norm1, "pre_self_attn_layernorm", H, s->eps);
        load_norm(ld, &l->post1, "post_self_attn_layernorm", H, s->eps);
        arch_decoder_attn_load(ld, &l->attn, &d, s->bias, s->bias);
        if (s->decoder) {
            load_norm(ld, &l->norm2, "pre_cross_attn_layernorm", H, s->eps);
            load_norm(ld, &l->post2, "post_cross_attn_layernorm", H, s->eps);
            load_cross(ld, &l->cross, s, memory);
        }
        load_norm(ld, &l->norm3, "pre_feedforward_layernorm", H, s->eps);
        load_norm(ld, &l->post3, "post_feedforward_layernorm", H, s->eps);
        arch_decoder_mlp_load(ld, &l->mlp, "mlp", H, s->ffn, s->act, NN_NO_BIAS);
    }
}

static void load_heads(arch_build *b, t5gemma_model *m)
{
    nn_loader *ld = &b->ld;
    const arch_head head = b->m->info.head;
    arch_head_w *h = &m->heads.head;
    m->heads.has_head = head != ARCH_HEAD_NONE;
    nn_scope(ld, "%s", "");
    if (head == ARCH_HEAD_LM) {
        if (cfg_bool(&b->cfg, "tie_word_embeddings", true))
            h->out = nn_linear_tied(&m->dec.words, ld->compute);
        else if (m->dec.tied && m->enc.hidden == m->dec.hidden)
            h->out = nn_linear_tied(&m->enc.words, ld->compute);
        else
            nn_load_linear(ld, &h->out, "lm_head.out_proj", m->vocab, m->dec.hidden, NN_NO_BIAS);
        h->softcap = m->dec.logit_cap;
    } else if (head != ARCH_HEAD_NONE) {
        nn_load_linear(ld, &h->out, "score.out_proj", b->m->info.n_labels, m->enc.hidden, NN_BIAS);
        h->pool = head == ARCH_HEAD_SEQ_CLS ? POOL_LAST_TOKEN : POOL_ROWS;
        h->pad = cfg_token(&b->cfg, "pad_token_id", 0);
    }
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    t5gemma_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    const arch_config whole = b->cfg;
    const json *enc = cfg_get(&whole, "encoder"), *dec = cfg_get(&whole, "decoder");
    m->vocab = cfg_dim(&b->cfg, "vocab_size", 256000);
    const arch_head head = b->m->info.head;
    m->alone = str_ends(str_from(b->m->info.architecture), "EncoderModel") ||
               head == ARCH_HEAD_SEQ_CLS || head == ARCH_HEAD_TOKEN_CLS;
    if (m->alone && head != ARCH_HEAD_NONE && cfg_bool(&b->cfg, "is_encoder_decoder", true))
        cfg_fail(&b->cfg,
                 "a classifier behind the decoder (\"is_encoder_decoder\" true) is not supported: "
                 "what it reads depends on the padding");
    TRY(arch_build_ok(b, err));
    b->cfg = (arch_config){.root = enc};
    TRY(read_side(b, &m->enc, err));
    b->cfg = (arch_config){.root = dec ? dec : enc};
    m->dec.decoder = true;
    if (!m->alone) TRY(read_side(b, &m->dec, err));
    b->cfg = whole;

    load_stack(b, &m->enc, m->vocab, 0);
    if (!m->alone) load_stack(b, &m->dec, m->vocab, m->enc.hidden);
    load_heads(b, m);
    TRY(arch_build_ok(b, err));
    if (m->alone)
        b->m->info.kind = ARCH_ENCODER;
    else
        b->m->cache_shape = b->m->cross_shape = (nn_cache_shape){.layers = m->dec.n,
                                                                 .kv_heads = m->dec.kv_heads,
                                                                 .k_dim = m->dec.head_dim,
                                                                 .v_dim = m->dec.head_dim};
    return arch_done(b, m, m->alone ? m->enc.hidden : m->dec.hidden, m->vocab, m->enc.n, SIZE_MAX,
                     err);
}

/* ------------------------------------------------------------------ forward */

static nn_attn attn_of(const t5gemma_stack *s)
{
    return (nn_attn){.heads = s->heads,
                     .kv_heads = s->kv_heads,
                     .dim = s->head_dim,
                     .scale = s->scale,
                     .softcap = s->softcap};
}

static void layer_forward(arch_run *r, float *x, const t5gemma_stack *s, const nn_rope_rows *rope,
                          size_t il)
{
    nn_ctx *cx = r->cx;
    const t5gemma_layer *l = &s->layers[il];
    const size_t T = r->seqs.rows, H = s->hidden;
    nn_attn self = attn_of(s);
    const nn_attn cross = self;
    self.causal = s->decoder;
    self.window = l->window;
    const nn_mark mark = nn_save(cx);
    float *h = nn_f32(cx, T, H);
    nn_norm(cx, h, x, &l->norm1, T);
    nn_self_attention(cx, h, h, &l->attn, &self, &r->seqs, rope, il);
    nn_norm(cx, h, h, &l->post1, T);
    nn_add(cx, x, h, T * H);
    nn_tap(cx, "attn", (int)il, x, T, H);
    if (s->decoder) {
        nn_norm(cx, h, x, &l->norm2, T);
        nn_cross_attention(cx, h, h, &l->cross, &cross, &r->seqs, il);
        nn_norm(cx, h, h, &l->post2, T);
        nn_add(cx, x, h, T * H);
        nn_tap(cx, "cross", (int)il, x, T, H);
    }
    nn_norm(cx, h, x, &l->norm3, T);
    nn_mlp(cx, h, h, &l->mlp, T);
    nn_norm(cx, h, h, &l->post3, T);
    nn_add(cx, x, h, T * H);
    nn_tap(cx, "out", (int)il, x, T, H);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static float *stack_forward(arch_run *r, const t5gemma_stack *s)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, H = s->hidden;
    float *x = arch_embed_tokens(r, &s->words); // [T, H]
    nn_scale(cx, x, sqrtf((float)H), T * H);
    const nn_rope_rows rope = nn_rope_prepare(cx, &s->rope, &r->seqs);
    for (size_t il = 0; il < s->n; il++) {
        arch_keep_hidden(r, x, H);
        layer_forward(r, x, s, &rope, il);
    }
    nn_norm(cx, x, x, &s->norm, T);
    arch_keep_hidden(r, x, H);
    return x;
}

static void encode(arch_run *r)
{
    const t5gemma_model *m = r->impl;
    const float *x = stack_forward(r, &m->enc);
    const nn_attn cross = attn_of(&m->dec);
    for (size_t il = 0; il < m->dec.n; il++)
        nn_memory_fill(r->cx, x, &m->dec.layers[il].cross, &cross, &r->seqs, il);
    arch_heads_forward(r, &(arch_heads){.has_head = false}, x, m->enc.hidden);
}

static void forward(arch_run *r)
{
    const t5gemma_model *m = r->impl;
    if (!m->alone && !r->seqs.memory) {
        nn_fail(r->cx, MLTF_INVALID_INPUT, "the encoder has to run before the decoder");
        return;
    }
    const t5gemma_stack *s = m->alone ? &m->enc : &m->dec;
    const float *x = stack_forward(r, s);
    arch_heads_forward(r, &m->heads, x, s->hidden);
}

const arch_family arch_t5gemma = {
    .model_types = (const char *const[]){"t5gemma", NULL},
    .classes = (const char *const[]){"T5GemmaModel", "T5GemmaForConditionalGeneration",
                                     "T5GemmaEncoderModel", "T5GemmaForSequenceClassification",
                                     "T5GemmaForTokenClassification", NULL},
    .kind = ARCH_ENCODER_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = forward,
    .encode = encode,
};
