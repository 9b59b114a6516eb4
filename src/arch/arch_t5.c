/* T5 and its descendants: t5 (1.0, 1.1, flan), mt5, umt5. Raffel et al. 2019, arXiv:1910.10683;
 * transformers 4.57 models/{t5,mt5,umt5}/modeling_*.py.
 *
 *   encoder: ids ─ embedding ─ n x [ rms ─ attention + relative bias ─ (+x) ─ rms ─ mlp ─ (+x) ] ─ rms
 *   decoder: ids ─ embedding ─ n x [ rms ─ causal attention + bias ─ (+x) ─ rms ─ cross attention ─ (+x)
 *                                    ─ rms ─ mlp ─ (+x) ] ─ rms ─ (tied: / sqrt(H)) ─ head
 *
 * Easy to get wrong: scores are NOT divided by sqrt(D); only the first layer of each side has the bias
 * table, which all layers share (umt5: each layer its own); cross attention has no bias; "gated-gelu"
 * means gelu_new; a tied head scales its input by 1/sqrt(H). Classifiers run both sides, the decoder on the same ids
 * shifted right, and read the last eos of the input. Checked on: fixtures t5-*, mt5-base, umt5-base. */
#include "arch/arch_t5.h"

#include <math.h>
#include <stdio.h>

/* ------------------------------------------------------------------ config */

void arch_t5_config(arch_config *c, t5_model *m, bool first)
{
    t5_config *o = &m->cfg;
    o->hidden = cfg_dim(c, "d_model|hidden_size", 512);
    o->ffn = cfg_dim(c, "d_ff", first ? 2048 : 1024);
    o->heads = cfg_dim(c, "num_heads|num_attention_heads", first ? 8 : 6);
    o->head_dim = cfg_dim(c, "d_kv|head_dim", 64);
    o->vocab = cfg_dim(c, "vocab_size", first ? 32128 : 250112);
    o->encoder_layers = cfg_layers(c, "num_layers|num_hidden_layers", first ? 6 : 8);
    o->decoder_layers = cfg_layers(c, "num_decoder_layers", o->encoder_layers);
    o->buckets = cfg_size(c, "relative_attention_num_buckets", 32, 4, 1 << 20);
    o->max_distance = cfg_size(c, "relative_attention_max_distance", 128, 1, 1 << 30);
    o->eps = cfg_float(c, "layer_norm_epsilon", 1e-6f);
    o->tied = cfg_bool(c, "tie_word_embeddings", true);
    mltf_str act = cfg_str(c, "feed_forward_proj", first ? "relu" : "gated-gelu");
    o->gated = str_starts(act, "gated-");
    if (o->gated) act = str_slice(act, 6, act.n);
    if (o->gated && str_is(act, "gelu")) act = STR("gelu_new");
    if (!nn_act_find(&o->act, act))
        cfg_fail(c,
                 "\"feed_forward_proj\" names an activation that is not supported: \"" STR_FMT "\"",
                 STR_ARG(act));
    o->start = cfg_token(c, "decoder_start_token_id|pad_token_id", 0);
    o->eos = cfg_token(c, "eos_token_id", 1);
}

/* ------------------------------------------------------------------ load */

static void load_attn(nn_loader *ld, nn_attn_w *a, const char *name, const t5_config *c)
{
    const size_t H = c->hidden, N = c->heads * c->head_dim;
    char p[64];
    const struct {
        nn_linear_w *w;
        const char *end;
        size_t n, k;
    } part[] = {{&a->q, "q", N, H}, {&a->k, "k", N, H}, {&a->v, "v", N, H}, {&a->o, "o", H, N}};
    for (size_t i = 0; i < 4; i++) {
        snprintf(p, sizeof p, "%s.%s", name, part[i].end);
        nn_load_linear(ld, part[i].w, p, part[i].n, part[i].k, NN_NO_BIAS);
    }
}

/* wi, wo or wi_0, wi_1, wo under `name`. */
static void load_mlp(nn_loader *ld, nn_mlp_w *m, const char *name, const t5_config *c)
{
    const size_t H = c->hidden, F = c->ffn;
    char p[96];
    if (c->gated) {
        snprintf(p, sizeof p, "%s.wi_0", name);
        nn_load_linear(ld, &m->gate, p, F, H, NN_NO_BIAS);
    }
    snprintf(p, sizeof p, c->gated ? "%s.wi_1" : "%s.wi", name);
    nn_load_linear(ld, &m->up, p, F, H, NN_NO_BIAS);
    snprintf(p, sizeof p, "%s.wo", name);
    nn_load_linear(ld, &m->down, p, H, F, NN_NO_BIAS);
    m->act = c->act;
}

static void load_experts(arch_build *b, nn_moe_w *w, const char *name, const t5_model *m)
{
    nn_loader *ld = &b->ld;
    char p[160];
    *w = (nn_moe_w){.n = m->kind.experts, .top_k = 1, .capacity = m->kind.capacity};
    w->experts = arch_new(b, w->n, sizeof *w->experts);
    snprintf(p, sizeof p, "%s.router.classifier", name);
    nn_load_linear(ld, &w->router, p, w->n, m->cfg.hidden,
                   NN_KEEP_FLOAT | (m->kind.router_bias ? NN_BIAS : NN_NO_BIAS));
    for (size_t e = 0; w->experts && e < w->n; e++) {
        snprintf(p, sizeof p, "%s.experts.expert_%zu", name, e);
        load_mlp(ld, &w->experts[e], p, &m->cfg);
    }
}

static void load_layer(arch_build *b, const t5_model *m, t5_layer *l, bool decoder, size_t il)
{
    nn_loader *ld = &b->ld;
    const t5_config *c = &m->cfg;
    const t5_kind *k = &m->kind;
    const size_t H = c->hidden, step = decoder ? k->decoder_step : k->encoder_step;
    const char *self = k->self && !decoder ? k->self : "SelfAttention";
    char p[96];
    snprintf(p, sizeof p, "layer.0.%s", self);
    load_attn(ld, &l->attn, p, c);
    nn_load_norm(ld, &l->norm1, "layer.0.layer_norm", NN_NORM_RMS, H, c->eps, 0);
    snprintf(p, sizeof p, "layer.0.%s.relative_attention_bias.weight", self);
    if (il == 0 || k->bias_each_layer) l->bias = nn_load_vector(ld, p, c->buckets * c->heads, 0);
    if (decoder) {
        load_attn(ld, &l->cross, "layer.1.EncDecAttention", c);
        nn_load_norm(ld, &l->norm2, "layer.1.layer_norm", NN_NORM_RMS, H, c->eps, 0);
    } else if (k->load) {
        k->load(b, l, c, il);
    }
    nn_load_norm(ld, &l->norm3, decoder ? "layer.2.layer_norm" : "layer.1.layer_norm", NN_NORM_RMS,
                 H, c->eps, 0);
    snprintf(p, sizeof p, "layer.%d.%s", decoder ? 2 : 1, k->mlp ? k->mlp : "DenseReluDense");
    if (step && (step == 1 || il % step == 1))
        load_experts(b, &l->moe, p, m);
    else
        load_mlp(ld, &l->mlp, p, c);
}

static void load_stack(arch_build *b, const t5_model *m, t5_stack *s, bool decoder)
{
    nn_loader *ld = &b->ld;
    const char *side = decoder ? "decoder" : "encoder";
    const size_t n = decoder ? m->cfg.decoder_layers : m->cfg.encoder_layers;
    *s = (t5_stack){.n = n, .causal = decoder, .layers = arch_new(b, n, sizeof *s->layers)};
    for (size_t il = 0; s->layers && il < n; il++) {
        nn_scope(ld, "%s%s.block.%zu.", ld->base, side, il);
        load_layer(b, m, &s->layers[il], decoder, il);
    }
    nn_scope(ld, "%s%s.", ld->base, side);
    nn_load_norm(ld, &s->norm, "final_layer_norm", NN_NORM_RMS, m->cfg.hidden, m->cfg.eps, 0);
}

mltf_status arch_t5_load(arch_build *b, t5_model *m, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    t5_config *c = &m->cfg;
    const arch_head head = b->m->info.head;
    c->decoder =
        !str_ends(str_from(b->m->info.architecture), "EncoderModel") && head != ARCH_HEAD_TOKEN_CLS;
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &m->words, "shared|encoder.embed_tokens|decoder.embed_tokens", "input id",
                  c->vocab, c->hidden, 0);
    load_stack(b, m, &m->encoder, false);
    if (c->decoder) load_stack(b, m, &m->decoder, true);
    if (head == ARCH_HEAD_SEQ_CLS) {
        arch_head_w *h = &m->heads.head;
        nn_scope(ld, "%s", "");
        nn_load_linear(ld, &h->dense, "classification_head.dense", c->hidden, c->hidden, NN_BIAS);
        nn_load_linear(ld, &h->out, "classification_head.out_proj", b->m->info.n_labels, c->hidden,
                       NN_BIAS);
        h->act = K_ACT_TANH;
        h->pool = POOL_LAST_EOS;
        h->pad = c->eos;
        m->heads.has_head = true;
    } else if (head != ARCH_HEAD_NONE) {
        arch_decoder_heads_load(b, &m->heads, c->hidden, &m->words, "lm_head", NN_NO_BIAS, c->tied);
        if (head == ARCH_HEAD_LM && c->tied) m->heads.head.scale = 1.0f / sqrtf((float)c->hidden);
    }
    TRY(arch_build_ok(b, err));

    if (c->decoder) {
        const nn_cache_shape shape = {.layers = c->decoder_layers,
                                      .kv_heads = c->heads,
                                      .k_dim = c->head_dim,
                                      .v_dim = c->head_dim};
        b->m->cache_shape = b->m->cross_shape = shape;
    } else {
        b->m->info.kind = ARCH_ENCODER;
    }
    return arch_done(b, m, c->hidden, c->vocab, c->encoder_layers, SIZE_MAX, err);
}

/* ------------------------------------------------------------------ forward */

static void mlp_forward(arch_run *r, float *h, const t5_layer *w, size_t H)
{
    if (!w->moe.n) {
        nn_mlp(r->cx, h, h, &w->mlp, r->seqs.rows);
        return;
    }
    for (size_t s = 0; s < r->seqs.n; s++) { // what an expert takes is counted by sequences
        const size_t a = r->seqs.start[s], n = r->seqs.start[s + 1] - a;
        if (nn_ok(r->cx)) nn_moe(r->cx, h + a * H, h + a * H, &w->moe, n);
    }
}

static void layer_forward(arch_run *r, float *x, const t5_layer *w, const nn_attn *attn, size_t il)
{
    nn_ctx *cx = r->cx;
    const t5_model *m = r->impl;
    const size_t T = r->seqs.rows, H = m->cfg.hidden;
    const nn_mark mark = nn_save(cx);
    float *h = nn_f32(cx, T, H); // [T, H]
    nn_norm(cx, h, x, &w->norm1, T);
    if (m->kind.attention && !attn->causal)
        m->kind.attention(r, h, h, w, attn, il);
    else
        nn_self_attention(cx, h, h, &w->attn, attn, &r->seqs, NULL, il);
    nn_add(cx, x, h, T * H);
    nn_tap(cx, "attn", (int)il, x, T, H);
    if (nn_has(&w->cross.q)) {
        const nn_attn cross = {.heads = attn->heads, .dim = attn->dim, .scale = 1};
        nn_norm(cx, h, x, &w->norm2, T);
        nn_cross_attention(cx, h, h, &w->cross, &cross, &r->seqs, il);
        nn_add(cx, x, h, T * H);
        nn_tap(cx, "cross", (int)il, x, T, H);
    }
    nn_norm(cx, h, x, &w->norm3, T);
    mlp_forward(r, h, w, H);
    nn_add(cx, x, h, T * H);
    nn_tap(cx, "out", (int)il, x, T, H);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static float *stack_forward(arch_run *r, const t5_stack *s)
{
    nn_ctx *cx = r->cx;
    const t5_model *m = r->impl;
    const t5_config *c = &m->cfg;
    nn_attn attn = {.heads = c->heads,
                    .dim = c->head_dim,
                    .scale = 1,
                    .causal = s->causal,
                    .window = s->causal ? 0 : m->kind.window};
    float *x = arch_embed_tokens(r, &m->words); // [T, H]
    for (size_t il = 0; il < s->n; il++) {
        arch_keep_hidden(r, x, c->hidden);
        if (s->layers[il].bias)
            nn_bucket_bias(cx, &attn, &r->seqs, s->layers[il].bias, c->buckets, c->max_distance,
                           s->causal);
        layer_forward(r, x, &s->layers[il], &attn, il);
    }
    nn_norm(cx, x, x, &s->norm, r->seqs.rows);
    arch_keep_hidden(r, x, c->hidden);
    return x;
}

static void fill_memory(arch_run *r, const float *x)
{
    const t5_model *m = r->impl;
    const nn_attn cross = {.heads = m->cfg.heads, .dim = m->cfg.head_dim};
    for (size_t il = 0; il < m->decoder.n; il++)
        nn_memory_fill(r->cx, x, &m->decoder.layers[il].cross, &cross, &r->seqs, il);
}

void arch_t5_encode(arch_run *r)
{
    const t5_model *m = r->impl;
    const t5_config *c = &m->cfg;
    const float *x = stack_forward(r, &m->encoder);
    fill_memory(r, x);
    arch_heads_forward(r, &(arch_heads){.has_head = false}, x, c->hidden);
}

/* Classifiers: the encoder, then the decoder on the same ids, shifted right. */
static void forward_both(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const t5_model *m = r->impl;
    mltf_err err = {0};
    const float *x = stack_forward(r, &m->encoder);
    arch_keep_encoder(r, x, m->cfg.hidden);
    if (arch_run_memory(r, &err)) {
        nn_fail(cx, err.status, "%s", err.msg);
        return;
    }
    fill_memory(r, x);
    int32_t *ids = nn_bytes(cx, r->seqs.rows * sizeof *ids);
    for (size_t s = 0; nn_ok(cx) && s < r->seqs.n; s++)
        for (size_t t = r->seqs.start[s]; t < r->seqs.start[s + 1]; t++)
            ids[t] = t == r->seqs.start[s] ? (int32_t)m->cfg.start : r->batch->ids[t - 1];
    arch_batch batch = *r->batch;
    arch_run dec = *r;
    batch.ids = ids;
    dec.batch = &batch;
    dec.seqs.key_mask = NULL; // Python gives the decoder no mask
    x = stack_forward(&dec, &m->decoder);
    arch_heads_forward(r, &m->heads, x, m->cfg.hidden); // with the encoder's ids: they hold the eos
}

void arch_t5_forward(arch_run *r)
{
    const t5_model *m = r->impl;
    if (m->cfg.decoder && !r->seqs.memory) {
        const arch_head head = r->m->info.head;
        if ((head == ARCH_HEAD_SEQ_CLS || head == ARCH_HEAD_QA) && r->batch->ids)
            forward_both(r);
        else
            nn_fail(r->cx, MLTF_INVALID_INPUT,
                    "You have to specify either decoder_input_ids or decoder_inputs_embeds: the "
                    "decoder has nothing to read here; the encoder alone is the class "
                    "T5EncoderModel in config.json's \"architectures\"");
        return;
    }
    const float *x = stack_forward(r, m->cfg.decoder ? &m->decoder : &m->encoder);
    arch_heads_forward(r, &m->heads, x, m->cfg.hidden);
}

/* ------------------------------------------------------------------ registry */

static mltf_status load(arch_build *b, mltf_err *err)
{
    t5_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    const mltf_str type = str_from(b->m->info.model_type);
    arch_t5_config(&b->cfg, m, str_is(type, "t5"));
    m->cfg.tied = cfg_bool(&b->cfg, "tie_word_embeddings", !str_is(type, "mt5"));
    m->kind.bias_each_layer = str_is(type, "umt5");
    return arch_t5_load(b, m, err);
}

#define CLASSES(name)                                                                              \
    name "Model", name "ForConditionalGeneration", name "EncoderModel",                            \
        name "ForSequenceClassification", name "ForTokenClassification",                           \
        name "ForQuestionAnswering"

const arch_family arch_t5 = {
    .model_types = (const char *const[]){"t5", "mt5", "umt5", NULL},
    .classes = (const char *const[]){CLASSES("T5"), CLASSES("MT5"), CLASSES("UMT5"),
                                     "T5WithLMHeadModel", NULL},
    .kind = ARCH_ENCODER_DECODER,
    .base_prefix = "transformer.",
    .ignorable = (const char *const[]){"embed_tokens.weight",
                                       "EncDecAttention.relative_attention_bias.weight", NULL},
    .load = load,
    .forward = arch_t5_forward,
    .encode = arch_t5_encode,
};
