/* BERT's encoder, which most BERT-like families share: config keys, load lines and forward. */
#include "arch/arch_encoder.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------ load */

void arch_encoder_config(arch_config *c, encoder_config *o)
{
    o->hidden = cfg_dim(c, "hidden_size", o->hidden ? o->hidden : 768);
    o->layers = cfg_layers(c, "num_hidden_layers", o->layers ? o->layers : 12);
    o->heads = cfg_dim(c, "num_attention_heads", o->heads ? o->heads : 12);
    o->ffn = cfg_dim(c, "intermediate_size", o->ffn ? o->ffn : 3072);
    o->vocab = cfg_dim(c, "vocab_size", o->vocab ? o->vocab : 30522);
    o->positions = cfg_dim(c, "max_position_embeddings", o->positions ? o->positions : 512);
    if (!json_is(cfg_get(c, "type_vocab_size"),
                 JSON_ARRAY)) // tapas has a list, and reads it itself
        o->types = cfg_dim(c, "type_vocab_size", o->types ? o->types : 2);
    o->embed = o->hidden;
    o->act = cfg_act(c, "hidden_act", "gelu");
    o->eps = cfg_float(c, "layer_norm_eps", o->eps != 0 ? o->eps : 1e-12f);
    if (o->hidden % o->heads)
        cfg_fail(c, "\"hidden_size\" %zu is not a multiple of \"num_attention_heads\" %zu",
                 o->hidden, o->heads);
}

void arch_encoder_absolute(arch_config *c)
{
    const mltf_str kind = cfg_str(c, "position_embedding_type", "absolute");
    if (!str_is(kind, "absolute"))
        cfg_fail(c, "\"position_embedding_type\" \"" STR_FMT "\" is not supported", STR_ARG(kind));
}

void arch_encoder_embed_load(nn_loader *ld, encoder_embed *e, const encoder_config *c)
{
    nn_load_embed(ld, &e->words, "word_embeddings", "input id", c->vocab, c->embed, 0);
    if (c->positions)
        nn_load_embed(ld, &e->positions, "position_embeddings", "position", c->positions, c->embed,
                      0);
    if (c->types)
        nn_load_embed(ld, &e->types, "token_type_embeddings", "token type", c->types, c->embed, 0);
    if (!e->no_norm)
        nn_load_norm(ld, &e->norm, "LayerNorm", NN_NORM_LAYER, c->embed, c->eps, NN_BIAS);
}

const encoder_layer_names bert_layer_names = {
    .q = "attention.self.query",
    .k = "attention.self.key",
    .v = "attention.self.value",
    .o = "attention.output.dense",
    .attn_norm = "attention.output.LayerNorm",
    .up = "intermediate.dense",
    .down = "output.dense",
    .mlp_norm = "output.LayerNorm",
};

void arch_encoder_layer_load(nn_loader *ld, encoder_layer *l, const encoder_layer_names *names,
                             const encoder_config *c)
{
    const size_t H = c->hidden, F = c->ffn;
    if (names->q) {
        nn_load_linear(ld, &l->attn.q, names->q, H, H, NN_BIAS);
        nn_load_linear(ld, &l->attn.k, names->k, H, H, NN_BIAS);
        nn_load_linear(ld, &l->attn.v, names->v, H, H, NN_BIAS);
    }
    if (names->o) nn_load_linear(ld, &l->attn.o, names->o, H, H, NN_BIAS);
    nn_load_norm(ld, &l->attn_norm, names->attn_norm, NN_NORM_LAYER, H, c->eps, NN_BIAS);
    if (names->up) {
        nn_load_linear(ld, &l->mlp.up, names->up, F, H, NN_BIAS);
        nn_load_linear(ld, &l->mlp.down, names->down, H, F, NN_BIAS);
    }
    nn_load_norm(ld, &l->mlp_norm, names->mlp_norm, NN_NORM_LAYER, H, c->eps, NN_BIAS);
    l->mlp.act = c->act;
}

/* BERT's attention to another model's states, where the checkpoint has one. */
static void load_cross(nn_loader *ld, encoder_layer *l, const encoder_config *c)
{
    const size_t H = c->hidden;
    if (!nn_load_has(ld, "crossattention.self.query.weight")) return;
    nn_load_linear(ld, &l->cross.q, "crossattention.self.query", H, H, NN_BIAS);
    nn_load_linear(ld, &l->cross.k, "crossattention.self.key", H, H, NN_BIAS);
    nn_load_linear(ld, &l->cross.v, "crossattention.self.value", H, H, NN_BIAS);
    nn_load_linear(ld, &l->cross.o, "crossattention.output.dense", H, H, NN_BIAS);
    nn_load_norm(ld, &l->cross_norm, "crossattention.output.LayerNorm", NN_NORM_LAYER, H, c->eps,
                 NN_BIAS);
}

void arch_encoder_layers_load(arch_build *b, arch_encoder *e, const char *where,
                              const encoder_layer_names *names)
{
    nn_loader *ld = &b->ld;
    e->layers = arch_new(b, e->cfg.layers, sizeof *e->layers);
    for (size_t il = 0; e->layers && il < e->cfg.layers; il++) {
        nn_scope(ld, "%s%s.%zu.", ld->base, where, il);
        arch_encoder_layer_load(ld, &e->layers[il], names, &e->cfg);
        if (e->causal) load_cross(ld, &e->layers[il], &e->cfg);
    }
}

arch_encoder_names arch_bert_heads(const encoder_config *c)
{
    return (arch_encoder_names){
        .pooler = "pooler.dense",
        .pooler_act = K_ACT_TANH,
        .cls_pooler = true,
        .cls_out = "classifier",
        .token_out = "classifier",
        .qa_out = "qa_outputs",
        .nsp_out = "cls.seq_relationship",
        .mlm_dense = "cls.predictions.transform.dense",
        .mlm_act = c->act,
        .mlm_norm = "cls.predictions.transform.LayerNorm",
        .mlm_out = "cls.predictions.decoder",
        .mlm_bias = "cls.predictions.bias|cls.predictions.decoder.bias",
        .eps = c->eps,
    };
}

arch_encoder_names arch_roberta_heads(const arch_build *b, const encoder_config *c)
{
    return (arch_encoder_names){
        .pooler = "pooler.dense",
        .pooler_act = K_ACT_TANH,
        // the one head that has a pooler
        .cls_pooler = b->m->info.head == ARCH_HEAD_MULTIPLE_CHOICE,
        .cls_dense = "classifier.dense",
        .cls_act = K_ACT_TANH,
        .cls_out = "classifier.out_proj",
        .mc_out = "classifier",
        .token_out = "classifier",
        .qa_out = "qa_outputs",
        .mlm_dense = "lm_head.dense",
        .mlm_act = K_ACT_GELU,
        .mlm_norm = "lm_head.layer_norm",
        .mlm_out = "lm_head.decoder",
        .mlm_bias = "lm_head.bias|lm_head.decoder.bias",
        .eps = c->eps,
    };
}

arch_encoder_names arch_electra_heads(const encoder_config *c)
{
    return (arch_encoder_names){
        .cls_dense = "classifier.dense",
        .cls_act = K_ACT_GELU,
        .cls_out = "classifier.out_proj",
        .mc_out = "classifier",
        .token_out = "classifier",
        .qa_out = "qa_outputs",
        .mlm_dense = "generator_predictions.dense",
        .mlm_act = K_ACT_GELU,
        .mlm_norm = "generator_predictions.LayerNorm",
        .mlm_out = "generator_lm_head",
        .mlm_bias = "generator_lm_head.bias",
        .eps = c->eps,
    };
}

void arch_encoder_poolerless_load(arch_build *b, arch_encoder *e, size_t kernel)
{
    nn_loader *ld = &b->ld;
    nn_scope(ld, "%sembeddings.", ld->base);
    arch_encoder_embed_load(ld, &e->embed, &e->cfg);
    arch_encoder_layers_load(b, e, "encoder.layer", &bert_layer_names);
    for (size_t il = 0; e->layers && kernel && il < e->cfg.layers; il++) {
        nn_scope(ld, "%sencoder.layer.%zu.", ld->base, il);
        e->layers[il].own =
            nn_load_vector(ld, "attention.self.conv.weight", e->cfg.heads * kernel, 0);
    }
    const bool choice = b->m->info.head == ARCH_HEAD_MULTIPLE_CHOICE;
    arch_encoder_names heads = arch_bert_heads(&e->cfg);
    heads.pooler = NULL;
    heads.cls_pooler = false;
    heads.cls_dense = choice ? "pre_classifier" : "classifier.dense";
    heads.cls_act = choice ? K_ACT_RELU : e->cfg.act;
    heads.cls_out = "classifier.out_proj";
    heads.mc_out = "classifier";
    arch_encoder_heads_load(b, &e->heads, &heads, e->cfg.hidden, &e->embed.words);
}

mltf_status arch_encoder_done(arch_build *b, arch_encoder *e, mltf_err *err)
{
    const encoder_config *c = &e->cfg;
    const size_t D = c->hidden / c->heads;
    size_t positions = e->sines       ? e->n_sines
                       : c->positions ? c->positions - e->position_offset
                                      : SIZE_MAX;
    if (c->positions && e->counts_padding) {
        const size_t first = (size_t)e->pad + 1;
        positions = first < positions ? positions - first : 0;
    }
    if (e->causal && b->m->info.head == ARCH_HEAD_LM) b->m->info.kind = ARCH_DECODER;
    if (e->causal)
        b->m->cache_shape =
            (nn_cache_shape){.layers = c->layers, .kv_heads = c->heads, .k_dim = D, .v_dim = D};
    return arch_done(b, e, c->hidden, c->vocab, c->layers, positions, err);
}

/* ------------------------------------------------------------------ forward */

float *arch_encoder_embed(arch_run *r, const encoder_embed *e)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows;
    float *x = arch_embed_tokens(r, &e->words); // [T, E]
    if (!e->types_last) arch_add_types(r, x, &e->types);
    if (e->positions.w.data) nn_embed_add(cx, x, r->seqs.pos, &e->positions, T);
    if (e->types_last) arch_add_types(r, x, &e->types);
    if (e->everywhere.w.data) nn_embed_add_row(cx, x, 0, &e->everywhere, T);
    if (e->norm.kind != NN_NORM_NONE) nn_norm(cx, x, x, &e->norm, T);
    return x;
}

/* x = attn_norm(x + y), and y = what it finds in the encoder's states. */
static void cross_forward(arch_run *r, float *x, float *y, const encoder_layer *w,
                          const nn_attn *attn, size_t il)
{
    nn_ctx *cx = r->cx;
    const nn_attn cross = {.heads = attn->heads, .dim = attn->dim, .scale = attn->scale};
    nn_add_norm(cx, x, y, &w->attn_norm, r->seqs.rows);
    nn_tap(cx, "self_norm", (int)il, x, r->seqs.rows, attn->heads * attn->dim);
    nn_cross_attention(cx, y, x, &w->cross, &cross, &r->seqs, il);
}

void arch_encoder_remember(arch_run *r, const float *x)
{
    const arch_encoder *e = r->impl;
    const nn_attn cross = {.heads = e->cfg.heads, .dim = e->cfg.hidden / e->cfg.heads};
    for (size_t il = 0; il < e->cfg.layers; il++)
        nn_memory_fill(r->cx, x, &e->layers[il].cross, &cross, &r->seqs, il);
}

static void finish(arch_run *r, float *x, float *y, const encoder_layer *w,
                   void (*behind_mlp)(arch_run *, float *, const encoder_layer *), size_t il)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, H = w->mlp.down.w.N;
    const bool crossed = r->seqs.memory && nn_has(&w->cross.q);
    nn_add_norm(cx, x, y, crossed ? &w->cross_norm : &w->attn_norm, T);
    nn_tap(cx, "attn_norm", (int)il, x, T, H);
    nn_mlp(cx, y, x, &w->mlp, T);
    if (behind_mlp) {
        nn_add(cx, x, y, T * H);
        behind_mlp(r, x, w);
        nn_norm(cx, x, x, &w->mlp_norm, T);
    } else {
        nn_add_norm(cx, x, y, &w->mlp_norm, T);
    }
    nn_tap(cx, "out", (int)il, x, T, H);
}

void arch_encoder_layer_finish(arch_run *r, float *x, float *y, const encoder_layer *w, size_t il)
{
    finish(r, x, y, w, NULL, il);
}

void arch_encoder_layer_forward(arch_run *r, float *x, const encoder_layer *w, const nn_attn *attn,
                                const nn_rope_rows *rope, size_t il)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, H = attn->heads * attn->dim;
    const nn_mark mark = nn_save(cx);
    float *y = nn_f32(cx, T, H); // [T, H]
    nn_self_attention(cx, y, x, &w->attn, attn, &r->seqs, rope, il);
    arch_encoder_layer_finish(r, x, y, w, il);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void attention(arch_run *r, float *y, const float *x, const arch_encoder *e, size_t il,
                      const nn_attn *attn, const nn_rope_rows *rope)
{
    const encoder_layer *w = &e->layers[il];
    if (e->attention)
        e->attention(r, y, x, w, attn, il);
    else
        nn_self_attention(r->cx, y, x, &w->attn, attn, &r->seqs, rope, il);
}

static void layer_forward(arch_run *r, float *x, const arch_encoder *e, size_t il,
                          const nn_attn *attn, const nn_rope_rows *rope)
{
    nn_ctx *cx = r->cx;
    const encoder_layer *w = &e->layers[il];
    const size_t T = r->seqs.rows, H = e->cfg.hidden;
    const nn_mark mark = nn_save(cx);
    float *y = nn_f32(cx, T, H); // [T, H]
    if (e->pre_norm) {
        nn_norm(cx, y, x, &w->attn_norm, T);
        attention(r, y, y, e, il, attn, rope);
        nn_add(cx, x, y, T * H);
        nn_tap(cx, "attn", (int)il, x, T, H);
        nn_norm(cx, y, x, &w->mlp_norm, T);
        nn_mlp(cx, y, y, &w->mlp, T);
        nn_add(cx, x, y, T * H);
        if (e->behind_mlp) e->behind_mlp(r, x, w);
        nn_tap(cx, "out", (int)il, x, T, H);
    } else {
        attention(r, y, x, e, il, attn, rope);
        if (r->seqs.memory && nn_has(&w->cross.q)) cross_forward(r, x, y, w, attn, il);
        finish(r, x, y, w, e->behind_mlp, il);
    }
    if (nn_ok(cx)) nn_restore(cx, mark);
}

nn_attn arch_encoder_attn(const arch_encoder *e)
{
    const size_t D = e->cfg.hidden / e->cfg.heads;
    return (nn_attn){
        .heads = e->cfg.heads, .dim = D, .scale = 1.0f / sqrtf((float)D), .causal = e->causal};
}

static nn_rope_rows rows_of_sines(arch_run *r, const arch_encoder *e)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, D = e->cfg.hidden / e->cfg.heads, half = D / 2;
    float *cos = nn_f32(cx, T, half), *sin = nn_f32(cx, T, half);
    for (size_t t = 0; nn_ok(cx) && t < T; t++) {
        const size_t pos = (size_t)r->seqs.pos[t];
        if (pos >= e->n_sines) {
            nn_fail(cx, MLTF_INVALID_INPUT, "position %zu is outside of the model's table of %zu",
                    pos, e->n_sines);
            break;
        }
        memcpy(sin + t * half, e->sines + pos * D, half * sizeof *sin);
        memcpy(cos + t * half, e->sines + pos * D + half, half * sizeof *cos);
    }
    return (nn_rope_rows){.cos = cos, .sin = sin, .dim = D, .interleaved = true};
}

void arch_encoder_run(arch_run *r, const nn_attn *attn)
{
    nn_ctx *cx = r->cx;
    const arch_encoder *e = r->impl;
    const size_t T = r->seqs.rows, H = e->cfg.hidden;
    if (e->counts_padding && (!r->seqs.caches || r->seqs.memory || e->counts_padding_always))
        arch_positions_after_padding(r, e->pad);
    for (size_t t = 0; e->position_offset && t < T; t++)
        r->s->pos[t] += (int32_t)e->position_offset;
    float *x = arch_encoder_embed(r, &e->embed); // [T, E]
    if (nn_has(&e->project)) {
        float *wide = nn_f32(cx, T, H); // [T, H]
        nn_linear(cx, wide, x, &e->project, T);
        x = wide;
    }
    nn_rope_rows rope = {0};
    if (e->rope.inv_freq) rope = nn_rope_prepare(cx, &e->rope, &r->seqs);
    if (e->sines) rope = rows_of_sines(r, e);
    const nn_rope_rows *turn = e->rope.inv_freq || e->sines ? &rope : NULL;
    nn_tap(cx, "embeddings", -1, x, T, H);
    for (size_t il = 0; il < e->cfg.layers; il++) {
        arch_keep_hidden(r, x, H);
        layer_forward(r, x, e, il, attn, turn);
    }
    if (e->norm_unseen) arch_keep_hidden(r, x, H);
    if (e->norm.kind != NN_NORM_NONE) nn_norm(cx, x, x, &e->norm, T);
    if (!e->norm_unseen) arch_keep_hidden(r, x, H);
    arch_heads_forward(r, &e->heads, x, H);
}

void arch_encoder_forward(arch_run *r)
{
    const nn_attn attn = arch_encoder_attn(r->impl);
    arch_encoder_run(r, &attn);
}
