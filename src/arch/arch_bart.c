/* BART and the encoder-decoders of its block: bart, mbart, marian, pegasus, blenderbot, m2m_100 (nllb), led, fsmt,
 * bigbird_pegasus, nllb-moe, pegasus_x.
 * Lewis et al. 2019, arXiv:1910.13461; transformers 4.57 models/{bart,mbart,marian,pegasus,blenderbot,m2m_100}.
 *
 *   ids ─ scaled embedding + position ─ (bart, mbart: norm) ─┐
 *   ┌────────────────────────────────────────────────────────┘
 *   ├─ encoder: n x [ attention ─ (+x) ─ fc1 ─ act ─ fc2 ─ (+x) ] ─ (pre-norm: norm)
 *   └─ decoder: n x [ causal attention ─ (+x) ─ cross attention ─ (+x) ─ fc1 ─ act ─ fc2 ─ (+x) ] ─ (norm) ─ head
 *
 *             norm      positions                             norm of the embedding
 *   bart      after     learned, rows begin at 2              yes
 *   mbart     before    learned, rows begin at 2              yes
 *   marian    after     sine | cosine halves                  no
 *   pegasus   before    sine | cosine halves                  no
 *   blenderbot before   learned                               no
 *   m2m_100   before    sine | cosine, from padding_idx + 1   no
 *   led       after     learned                               yes, and the encoder sees a window only
 *   fsmt      after     those of m2m_100                      no; the two sides have words of their own
 *   bigbird_pegasus before  learned                           no, biases as use_bias says, and the last norms have
 *                                                             the name layernorm_embedding
 *   nllb-moe  before    those of m2m_100                      no; in every so many layers two experts a token
 *   pegasus_x before    sine | cosine, from 0                 no, nor biases in attention; the encoder sees blocks, every
 *                                                             other layer's shifted by half of one, and global rows
 *                                                             that go through the layers beside the text
 *   mvp, plbart: bart, under other names
 *
 * Easy to get wrong: bart's table has two rows more than positions; final_logits_bias is a stored buffer;
 * the classifier reads the last eos of the *input*, from a decoder that was fed the input shifted right
 * (mbart: its last token moved to the front). led attends globally where a caller asks for it, which no pipeline does.
 * bigbird_pegasus looks at blocks drawn by chance in texts of more than (5 + 2 num_random_blocks) block_size tokens,
 * which is refused; nllb-moe's experts take whoever comes to them, and are weakened by the share of them that training
 * drops.
 * Checked on: fixtures bart-*, mbart-, marian-, pegasus-,
 * blenderbot-, m2m_100-base. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "arch/arch_internal.h"

typedef struct {
    size_t hidden, vocab, decoder_vocab; // d_model, vocab_size, decoder_vocab_size
    struct {
        size_t layers, heads, ffn, positions; // encoder_layers, encoder_attention_heads, …
        size_t sparse_step;                   // encoder_sparse_step; 0: none
    } enc, dec;
    k_act act;   // activation_function
    float scale; // sqrt(d_model) with scale_embedding
    int64_t pad, start, eos;
    bool pre_norm, embed_norm, sines, sines_exp, shared;
    size_t offset;            // rows before position 0
    bool norm_then_positions; // blenderbot-small's decoder norms the words alone
    bool shift_last;          // mbart: the last token starts the decoder
    bool led;                 // the encoder sees a window
    bool shifts;              // may make the decoder's input from the encoder's
    bool alone;               // …ForCausalLM: the decoder without an encoder
    bool fsmt;                // the head is the decoder's embedding, under another name
    unsigned attn_bias;       // NN_BIAS or NN_NO_BIAS
    size_t limit;             // tokens of a text that bigbird_pegasus reads whole; 0: all
    size_t experts;           // num_experts, in every encoder_sparse_step layers; 0: none
    float expert_scale;       // 1 - moe_token_dropout
    bool router_bias;
    bool sines_from_0; // pegasus_x
    nn_blocks blocks;  // of its encoder; shift in odd layers
} bart_config;

typedef struct {
    nn_attn_w attn, cross;         // q k v o [H, H]
    nn_norm_w norm1, norm2, norm3; // self, cross, mlp
    nn_norm_w global_norm;         // self, of the global rows
    nn_mlp_w mlp;
    nn_moe_w moe;  // n > 0: instead of mlp
    size_t window; // led: keys on each side, itself not counted; 0: all
} bart_layer;

typedef struct {
    nn_embed_w words, positions; // [V, H], [P + offset, H]
    const float *globals;        // [G, H] or NULL
    nn_norm_w embed_norm, norm;  // kind NONE where there is none
    bart_layer *layers;
    size_t n, heads;
    bool decoder;
} bart_stack;

typedef struct {
    bart_config cfg;
    bart_stack enc, dec;
    arch_heads heads;
} bart_model;

/* ------------------------------------------------------------------ config */

static void read_experts(arch_config *c, bart_config *o)
{
    o->experts = cfg_size(c, "num_experts", 128, 2, 4096);
    o->enc.sparse_step = cfg_size(c, "encoder_sparse_step", 4, 0, 1 << 20);
    o->dec.sparse_step = cfg_size(c, "decoder_sparse_step", 4, 0, 1 << 20);
    o->expert_scale = 1 - cfg_float(c, "moe_token_dropout", 0.2f);
    o->router_bias = cfg_bool(c, "router_bias", false);
    if (!str_is(cfg_str(c, "second_expert_policy", "all"), "all"))
        cfg_fail(c,
                 "a \"second_expert_policy\" other than \"all\" draws lots, and is not supported");
    if (!(cfg_float(c, "moe_eval_capacity_token_fraction", 1) >= 1))
        cfg_fail(
            c, "\"moe_eval_capacity_token_fraction\" below 1 makes a text's experts depend on the "
               "texts beside it, and is not supported");
    if (!str_is(cfg_str(c, "router_dtype", "float32"), "float32"))
        cfg_fail(c, "\"router_dtype\" other than float32 is not supported");
}

static void read_blocks(arch_config *c, bart_config *o)
{
    o->blocks.rows = cfg_size(c, "block_size", 512, 1, 1 << 24);
    o->blocks.globals = cfg_size(c, "num_global_tokens", 32, 1, 1 << 16);
    if (cfg_bool(c, "stagger_local_blocks", true)) o->blocks.shift = o->blocks.rows / 2;
    if (o->blocks.rows % 2 && o->blocks.shift)
        cfg_fail(c, "\"block_size\" %zu must be even to be shifted by half", o->blocks.rows);
    if (o->hidden % 2 || o->hidden < 4)
        cfg_fail(c, "\"d_model\" %zu has no room for sines and cosines", o->hidden);
}

static void read_config(arch_config *c, bart_config *o, mltf_str type)
{
    const bool mvp = str_is(type, "mvp"), plbart = str_is(type, "plbart");
    const bool bart = mvp || plbart || str_is(type, "bart");
    const bool mbart = str_is(type, "mbart"), marian = str_is(type, "marian");
    const bool nllb = str_is(type, "nllb-moe"), m2m = nllb || str_is(type, "m2m_100");
    const bool blender = str_is(type, "blenderbot");
    const bool led = str_is(type, "led"), small = str_is(type, "blenderbot-small");
    const bool fsmt = str_is(type, "fsmt"), bird = str_is(type, "bigbird_pegasus");
    const bool px = str_is(type, "pegasus_x");
    o->hidden = cfg_dim(c, "d_model|hidden_size", blender ? 2560 : small ? 512 : 1024);
    o->vocab = cfg_dim(c, fsmt ? "src_vocab_size" : "vocab_size",
                       m2m          ? 128112
                       : blender    ? 8008
                       : marian     ? 58101
                       : fsmt       ? 42024
                       : bird || px ? 96103
                                    : 50265);
    const size_t positions = led ? 0
                                 : cfg_dim(c, "max_position_embeddings",
                                           blender ? 128
                                           : small ? 512
                                           : bird  ? 4096
                                                   : 1024);
    o->enc.positions = led ? cfg_dim(c, "max_encoder_position_embeddings", 16384) : positions;
    o->dec.positions = led ? cfg_dim(c, "max_decoder_position_embeddings", 1024) : positions;
    o->enc.layers = cfg_layers(c, "encoder_layers", blender ? 2 : small ? 8 : bird || px ? 16 : 12);
    o->dec.layers = cfg_layers(c, "decoder_layers",
                               blender      ? 24
                               : small      ? 8
                               : bird || px ? 16
                                            : 12);
    o->enc.heads = cfg_dim(c, "encoder_attention_heads", blender ? 32 : 16);
    o->enc.heads =
        cfg_dim(c, "num_attention_heads", o->enc.heads); // its other name, which goes before
    o->dec.heads = cfg_dim(c, "decoder_attention_heads", blender ? 32 : 16);
    o->enc.ffn = cfg_dim(c, "encoder_ffn_dim", blender ? 10240 : small ? 2048 : 4096);
    o->dec.ffn = cfg_dim(c, "decoder_ffn_dim", blender ? 10240 : small ? 2048 : 4096);
    o->act = cfg_act(c, "activation_function", m2m || fsmt ? "relu" : bird ? "gelu_new" : "gelu");
    o->scale = cfg_bool(c, "scale_embedding", m2m || plbart || fsmt || bird || px)
                   ? sqrtf((float)o->hidden)
                   : 1.0f;
    o->pad = cfg_token(c, "pad_token_id",
                       marian                                ? 58100
                       : bart || mbart || m2m || led || fsmt ? 1
                                                             : 0);
    o->eos = cfg_token(c, "eos_token_id",
                       marian                                  ? 0
                       : str_is(type, "pegasus") || bird || px ? 1
                                                               : 2);
    o->start = cfg_token(c, "decoder_start_token_id", small ? 1 : px ? 0 : 2);
    o->shared = !fsmt && (!marian || cfg_bool(c, "share_encoder_decoder_embeddings", true));
    o->decoder_vocab =
        o->shared ? o->vocab : cfg_dim(c, fsmt ? "tgt_vocab_size" : "decoder_vocab_size", o->vocab);
    o->fsmt = fsmt;
    o->attn_bias = !(bird || px) || (bird && cfg_bool(c, "use_bias", false)) ? NN_BIAS : NN_NO_BIAS;
    if (bird && str_is(cfg_str(c, "attention_type", "block_sparse"), "block_sparse"))
        o->limit = (5 + 2 * cfg_size(c, "num_random_blocks", 3, 0, 1 << 20)) *
                   cfg_size(c, "block_size", 64, 1, 1 << 20);
    o->pre_norm = !bart && !marian && !led && !small && !fsmt;
    o->embed_norm = bart || mbart || led || small;
    o->norm_then_positions = small;
    o->led = led;
    o->sines = marian || str_is(type, "pegasus") || m2m || fsmt;
    o->sines_exp = m2m || fsmt;
    o->sines_from_0 = px;
    if (px) read_blocks(c, o);
    o->offset = bart || mbart ? 2 : fsmt ? (size_t)o->pad + 1 : 0;
    o->shifts = bart || mbart || led || bird;
    o->shift_last = mbart || plbart;
    if (nllb) read_experts(c, o);
    if (o->hidden % o->enc.heads || o->hidden % o->dec.heads)
        cfg_fail(c, "\"d_model\" %zu is not a multiple of the number of attention heads",
                 o->hidden);
    if (mvp && cfg_bool(c, "use_prompt", false)) cfg_fail(c, "\"use_prompt\" is not supported");
    if (o->sines_exp && (o->pad < 0 || o->hidden < 4))
        cfg_fail(c, "\"pad_token_id\" is needed to count positions");
}

/* ------------------------------------------------------------------ load */

static void load_attn(nn_loader *ld, nn_attn_w *a, const char *const names[4], const bart_config *c)
{
    const size_t H = c->hidden;
    nn_load_linear(ld, &a->q, names[0], H, H, c->attn_bias);
    nn_load_linear(ld, &a->k, names[1], H, H, c->attn_bias);
    nn_load_linear(ld, &a->v, names[2], H, H, c->attn_bias);
    nn_load_linear(ld, &a->o, names[3], H, H, c->attn_bias);
}

static void load_experts(arch_build *b, nn_moe_w *m, const bart_config *c, size_t F)
{
    nn_loader *ld = &b->ld;
    const size_t H = c->hidden;
    *m = (nn_moe_w){.n = c->experts,
                    .top_k = 2,
                    .scores = NN_MOE_SOFTMAX,
                    .normalize = true,
                    .scale = c->expert_scale};
    m->experts = arch_new(b, m->n, sizeof *m->experts);
    nn_load_linear(ld, &m->router, "ffn.router.classifier", m->n, H,
                   NN_KEEP_FLOAT | (c->router_bias ? NN_BIAS : NN_NO_BIAS));
    for (size_t e = 0; m->experts && e < m->n; e++) {
        nn_mlp_w *x = &m->experts[e];
        char name[64];
        x->act = c->act;
        snprintf(name, sizeof name, "ffn.experts.expert_%zu.fc1", e);
        nn_load_linear(ld, &x->up, name, F, H, NN_BIAS);
        snprintf(name, sizeof name, "ffn.experts.expert_%zu.fc2", e);
        nn_load_linear(ld, &x->down, name, H, F, NN_BIAS);
    }
}

static void load_layer(arch_build *b, bart_layer *l, const bart_config *c, bool decoder, size_t il)
{
    nn_loader *ld = &b->ld;
    const size_t F = decoder ? c->dec.ffn : c->enc.ffn;
    const size_t step = decoder ? c->dec.sparse_step : c->enc.sparse_step;
    static const char *const self[] = {
        "self_attn.q_proj|self_attn.longformer_self_attn.query|self_attn.self.query",
        "self_attn.k_proj|self_attn.longformer_self_attn.key|self_attn.self.key",
        "self_attn.v_proj|self_attn.longformer_self_attn.value|self_attn.self.value",
        "self_attn.out_proj|self_attn.output"};
    static const char *const cross[] = {"encoder_attn.q_proj|cross_attention.q_proj",
                                        "encoder_attn.k_proj|cross_attention.k_proj",
                                        "encoder_attn.v_proj|cross_attention.v_proj",
                                        "encoder_attn.out_proj|cross_attention.out_proj"};
    const size_t H = c->hidden;
    load_attn(ld, &l->attn, self, c);
    nn_load_norm(ld, &l->norm1, "self_attn_layer_norm", NN_NORM_LAYER, H, 1e-5f, NN_BIAS);
    if (decoder) {
        load_attn(ld, &l->cross, cross, c);
        nn_load_norm(ld, &l->norm2, "encoder_attn_layer_norm|cross_attention_layer_norm",
                     NN_NORM_LAYER, H, 1e-5f, NN_BIAS);
    }
    if (step && (il + 1) % step == 0) {
        load_experts(b, &l->moe, c, F);
    } else {
        nn_load_linear(ld, &l->mlp.up, "fc1|ffn.fc1", F, H, NN_BIAS);
        nn_load_linear(ld, &l->mlp.down, "fc2|ffn.fc2", H, F, NN_BIAS);
        l->mlp.act = c->act;
    }
    nn_load_norm(ld, &l->norm3, "final_layer_norm|ff_layer_norm", NN_NORM_LAYER, H, 1e-5f, NN_BIAS);
}

static void load_stack(arch_build *b, bart_stack *s, const bart_config *c, bool decoder)
{
    nn_loader *ld = &b->ld;
    const char *side = decoder ? "decoder" : "encoder";
    s->decoder = decoder;
    s->n = decoder ? c->dec.layers : c->enc.layers;
    s->heads = decoder ? c->dec.heads : c->enc.heads;
    s->layers = arch_new(b, s->n, sizeof *s->layers);
    nn_scope(ld, "%s", ld->base);
    if (c->shared)
        nn_load_embed(ld, &s->words,
                      c->alone ? "decoder.embed_tokens|shared"
                               : "shared|encoder.embed_tokens|decoder.embed_tokens",
                      "input id", c->vocab, c->hidden, 0);
    else
        nn_load_embed(ld, &s->words,
                      decoder ? "decoder.embed_tokens|decoder.output_projection"
                              : "encoder.embed_tokens",
                      "input id", decoder ? c->decoder_vocab : c->vocab, c->hidden, 0);
    nn_scope(ld, "%s%s.", ld->base, side);
    if (c->blocks.globals && !decoder)
        s->globals = nn_load_vector(ld, "embed_global.weight", c->blocks.globals * c->hidden, 0);
    if (!(c->sines_exp || c->sines_from_0) || c->fsmt) // tables of sines may be left out of a file
        nn_load_embed(ld, &s->positions, "embed_positions", "position",
                      (decoder ? c->dec.positions : c->enc.positions) + c->offset, c->hidden,
                      c->sines ? NN_OPTIONAL : 0);
    if (c->embed_norm)
        nn_load_norm(ld, &s->embed_norm, "layernorm_embedding", NN_NORM_LAYER, c->hidden, 1e-5f,
                     NN_BIAS);
    if (c->pre_norm)
        nn_load_norm(ld, &s->norm, "layer_norm|layernorm_embedding", NN_NORM_LAYER, c->hidden,
                     1e-5f, NN_BIAS);
    for (size_t il = 0; s->layers && il < s->n; il++) {
        nn_scope(ld, "%s%s.layers.%zu.", ld->base, side, il);
        load_layer(b, &s->layers[il], c, decoder, il);
        if (c->blocks.globals && !decoder)
            nn_load_norm(ld, &s->layers[il].global_norm, "global_self_attn_layer_norm",
                         NN_NORM_LAYER, c->hidden, 1e-5f, NN_BIAS);
        if (c->led && !decoder) s->layers[il].window = cfg_window_side(&b->cfg, il);
    }
}

static void load_heads(arch_build *b, bart_model *m)
{
    nn_loader *ld = &b->ld;
    const size_t H = m->cfg.hidden, L = b->m->info.n_labels;
    arch_head_w *h = &m->heads.head;
    if (b->m->info.head == ARCH_HEAD_SEQ_CLS) {
        nn_scope(ld, "%s", "");
        nn_load_linear(ld, &h->dense, "classification_head.dense", H, H, NN_BIAS);
        nn_load_linear(ld, &h->out, "classification_head.out_proj", L, H, NN_BIAS);
        h->act = K_ACT_TANH;
        h->pool = POOL_LAST_EOS;
        h->pad = m->cfg.eos;
        m->heads.has_head = true;
        return;
    }
    if (m->cfg.fsmt) {
        h->out = nn_linear_tied(&m->dec.words, ld->compute);
        m->heads.has_head = true;
        return;
    }
    arch_decoder_heads_load(b, &m->heads, H, &m->dec.words, "lm_head", NN_NO_BIAS, true);
    if (b->m->info.head == ARCH_HEAD_LM && !m->cfg.alone)
        h->out.bias = nn_load_vector(ld, "final_logits_bias", m->dec.words.w.N, NN_OPTIONAL);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    bart_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    bart_config *c = &m->cfg;
    read_config(&b->cfg, c, str_from(b->m->info.model_type));
    TRY(arch_build_ok(b, err));
    c->alone = str_ends(str_from(b->m->info.architecture), "ForCausalLM");
    if (!c->alone) load_stack(b, &m->enc, c, false);
    load_stack(b, &m->dec, c, true);
    load_heads(b, m);
    TRY(arch_build_ok(b, err));

    const size_t D = c->hidden / c->dec.heads;
    b->m->cache_shape =
        (nn_cache_shape){.layers = c->dec.layers, .kv_heads = c->dec.heads, .k_dim = D, .v_dim = D};
    if (c->alone) {
        b->m->info.kind = ARCH_DECODER;
        return arch_done(b, m, c->hidden, c->decoder_vocab, c->dec.layers, c->dec.positions, err);
    }
    b->m->cross_shape = b->m->cache_shape;
    const bool unbound = c->sines_exp || c->sines_from_0;
    b->m->info.max_target_positions = unbound ? SIZE_MAX : c->dec.positions;
    return arch_done(b, m, c->hidden, c->decoder_vocab, c->enc.layers,
                     unbound ? SIZE_MAX : c->enc.positions, err);
}

/* ------------------------------------------------------------------ forward */

/* One row of the table of sines that transformers makes for marian and pegasus (in f64, through numpy), or
 * for m2m_100 (in f32, with other frequencies and a row of zeros for padding). */
static void add_sines(float *x, size_t pos, const bart_config *c)
{
    const size_t H = c->hidden, half = H / 2, sines = H % 2 && !c->sines_exp ? half + 1 : half;
    if (c->sines_exp || c->sines_from_0) {
        if (c->sines_from_0 || (int64_t)pos != c->pad) arch_add_sines(x, pos, H);
        return;
    }
    for (size_t i = 0; i < sines; i++)
        x[i] += (float)sin((double)pos / pow(10000, (double)(2 * i) / (double)H));
    for (size_t i = 0; i < half; i++)
        x[sines + i] += (float)cos((double)pos / pow(10000, (double)(2 * i) / (double)H));
}

/* fsmt makes its stored tables anew for texts that are longer. */
static bool reads_table(const arch_run *r, const bart_stack *s, const bart_config *c)
{
    for (size_t t = 0; c->fsmt && t < r->seqs.rows; t++)
        if ((size_t)r->seqs.pos[t] >= s->positions.w.N) return false;
    return s->positions.w.data;
}

static void add_positions(arch_run *r, float *x, const bart_stack *s, const bart_config *c)
{
    if (c->sines_exp) {
        arch_positions_after_padding(r, c->pad);
    } else if (c->offset) {
        for (size_t t = 0; t < r->seqs.rows; t++) r->s->pos[t] += (int32_t)c->offset;
    }
    if (reads_table(r, s, c)) {
        nn_embed_add(r->cx, x, r->seqs.pos, &s->positions, r->seqs.rows);
        return;
    }
    for (size_t t = 0; nn_ok(r->cx) && t < r->seqs.rows; t++) {
        const size_t pos = (size_t)r->seqs.pos[t];
        const size_t n = s->decoder ? c->dec.positions : c->enc.positions;
        if (!c->sines_exp && !c->sines_from_0 && pos >= n)
            nn_fail(r->cx, MLTF_INVALID_INPUT,
                    "position %zu is outside of the model's table of %zu", pos, n);
        else
            add_sines(x + t * c->hidden, pos, c);
    }
}

/* x + part(x), with the norm before or behind. The parts: */
typedef enum { SELF, CROSS, MLP } part;

static void residual(arch_run *r, float *x, const bart_layer *w, part which, const nn_attn *attn,
                     bool pre_norm, size_t il)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, H = attn->heads * attn->dim;
    const nn_norm_w *norm = which == SELF ? &w->norm1 : which == CROSS ? &w->norm2 : &w->norm3;
    const nn_mark mark = nn_save(cx);
    float *y = nn_f32(cx, T, H); // [T, H]
    if (pre_norm) nn_norm(cx, y, x, norm, T);
    const float *in = pre_norm ? y : x;
    nn_attn self = *attn;
    self.window = w->window ? w->window + 1 : 0;
    if (which == SELF) nn_self_attention(cx, y, in, &w->attn, &self, &r->seqs, NULL, il);
    if (which == CROSS) nn_cross_attention(cx, y, in, &w->cross, attn, &r->seqs, il);
    if (which == MLP && w->moe.n) nn_moe(cx, y, in, &w->moe, T);
    if (which == MLP && !w->moe.n) nn_mlp(cx, y, in, &w->mlp, T);
    nn_add(cx, x, y, T * H);
    if (!pre_norm) nn_norm(cx, x, x, norm, T);
    nn_tap(cx, which == SELF ? "attn" : which == CROSS ? "cross" : "out", (int)il, x, T, H);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* A layer of pegasus_x's encoder: x [T, H], and the global rows of all sequences, g [seqs G, H]. */
static void block_layer(arch_run *r, float *x, float *g, const bart_layer *w, const nn_attn *attn,
                        size_t il)
{
    nn_ctx *cx = r->cx;
    const bart_config *c = &((const bart_model *)r->impl)->cfg;
    const size_t T = r->seqs.rows, H = c->hidden, G = r->seqs.n * c->blocks.globals;
    nn_blocks blocks = c->blocks;
    if (il % 2 == 0) blocks.shift = 0;
    const nn_mark mark = nn_save(cx);
    float *y = nn_f32(cx, T, H), *yg = nn_f32(cx, G, H);
    nn_norm(cx, y, x, &w->norm1, T);
    nn_norm(cx, yg, g, &w->global_norm, G);
    nn_block_attention(cx, y, yg, &w->attn, attn, &r->seqs, &blocks);
    nn_add(cx, x, y, T * H);
    nn_add(cx, g, yg, G * H);
    nn_tap(cx, "attn", (int)il, x, T, H);
    nn_norm(cx, y, x, &w->norm3, T);
    nn_norm(cx, yg, g, &w->norm3, G);
    nn_mlp(cx, y, y, &w->mlp, T);
    nn_mlp(cx, yg, yg, &w->mlp, G);
    nn_add(cx, x, y, T * H);
    nn_add(cx, g, yg, G * H);
    nn_tap(cx, "out", (int)il, x, T, H);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* The global rows before the first layer, [seqs G, H]; NULL where there are none. */
static float *global_rows(arch_run *r, const bart_stack *s, const bart_config *c)
{
    if (!s->globals) return NULL;
    const size_t n = c->blocks.globals * c->hidden;
    float *g = nn_f32(r->cx, r->seqs.n, n);
    for (size_t i = 0; nn_ok(r->cx) && i < r->seqs.n; i++)
        memcpy(g + i * n, s->globals, n * sizeof *g);
    return g;
}

static float *stack_forward(arch_run *r, const bart_stack *s)
{
    nn_ctx *cx = r->cx;
    const bart_model *m = r->impl;
    const bart_config *c = &m->cfg;
    const size_t T = r->seqs.rows, H = c->hidden, D = H / s->heads;
    const nn_attn attn = {
        .heads = s->heads, .dim = D, .scale = 1.0f / sqrtf((float)D), .causal = s->decoder};

    for (size_t i = 0; c->limit && !s->decoder && i < r->seqs.n; i++) {
        const size_t n = r->seqs.start[i + 1] - r->seqs.start[i];
        if (n > c->limit)
            nn_fail(
                cx, MLTF_UNSUPPORTED,
                "a text of %zu tokens is too long to be read whole: beyond %zu this model looks at "
                "blocks drawn by chance, which is not supported",
                n, c->limit);
    }
    float *x = arch_embed_tokens(r, &s->words);              // [T, H]
    const bool early = c->norm_then_positions && s->decoder; // which is not scaled either
    if (!r->batch->input_embeds && !early) nn_scale(cx, x, c->scale, T * H);
    if (early) nn_norm(cx, x, x, &s->embed_norm, T);
    add_positions(r, x, s, c);
    if (c->embed_norm && !early) nn_norm(cx, x, x, &s->embed_norm, T);
    float *g = global_rows(r, s, c);
    for (size_t il = 0; il < s->n; il++) {
        arch_keep_hidden(r, x, H);
        if (s->globals) {
            block_layer(r, x, g, &s->layers[il], &attn, il);
            continue;
        }
        residual(r, x, &s->layers[il], SELF, &attn, c->pre_norm, il);
        if (s->decoder && !c->alone) residual(r, x, &s->layers[il], CROSS, &attn, c->pre_norm, il);
        residual(r, x, &s->layers[il], MLP, &attn, c->pre_norm, il);
    }
    if (c->pre_norm) nn_norm(cx, x, x, &s->norm, T);
    arch_keep_hidden(r, x, H);
    return x;
}

static void fill_memory(arch_run *r, const bart_model *m, const float *x)
{
    const size_t D = m->cfg.hidden / m->dec.heads;
    const nn_attn cross = {.heads = m->dec.heads, .dim = D};
    for (size_t il = 0; il < m->dec.n; il++)
        nn_memory_fill(r->cx, x, &m->dec.layers[il].cross, &cross, &r->seqs, il);
}

static void encode(arch_run *r)
{
    const bart_model *m = r->impl;
    const float *x = stack_forward(r, &m->enc);
    fill_memory(r, m, x);
    arch_heads_forward(r, &(arch_heads){.has_head = false}, x, m->cfg.hidden);
}

/* The decoder's input where the caller gave none: the encoder's, shifted right. */
static int32_t *shift_right(arch_run *r, const bart_config *c)
{
    int32_t *ids = nn_bytes(r->cx, r->seqs.rows * sizeof *ids);
    for (size_t s = 0; nn_ok(r->cx) && s < r->seqs.n; s++) {
        const size_t a = r->seqs.start[s], b = r->seqs.start[s + 1];
        if (a == b) continue;
        memcpy(ids + a + 1, r->batch->ids + a, (b - a - 1) * sizeof *ids);
        ids[a] = (int32_t)c->start;
        for (size_t t = b; c->shift_last && t-- > a;)
            if (r->batch->ids[t] != c->pad) {
                ids[a] = r->batch->ids[t];
                break;
            }
    }
    return ids;
}

static void forward_both(arch_run *r)
{
    const bart_model *m = r->impl;
    if (!m->cfg.shifts || !r->batch->ids) {
        nn_fail(r->cx, MLTF_INVALID_INPUT, "the encoder has to run before the decoder");
        return;
    }
    mltf_err err = {0};
    const float *x = stack_forward(r, &m->enc);
    arch_keep_encoder(r, x, m->cfg.hidden);
    if (arch_run_memory(r, &err)) {
        nn_fail(r->cx, err.status, "%s", err.msg);
        return;
    }
    fill_memory(r, m, x);
    arch_batch batch = *r->batch;
    arch_run dec = *r;
    batch.ids = shift_right(r, &m->cfg);
    batch.position_ids = NULL;
    dec.batch = &batch;
    dec.seqs.key_mask = NULL; // Python gives the decoder no mask
    arch_positions(&dec, 0);
    x = stack_forward(&dec, &m->dec);
    arch_heads_forward(r, &m->heads, x, m->cfg.hidden); // with the encoder's ids: they hold the eos
}

static void forward(arch_run *r)
{
    const bart_model *m = r->impl;
    if (!r->seqs.memory && !m->cfg.alone) {
        forward_both(r);
        return;
    }
    const float *x = stack_forward(r, &m->dec);
    arch_heads_forward(r, &m->heads, x, m->cfg.hidden);
}

#define CLASSES(name) name "Model", name "ForConditionalGeneration", name "ForCausalLM"
#define CLASSES_OF_TEXTS(name)                                                                     \
    CLASSES(name), name "ForSequenceClassification", name "ForQuestionAnswering"

const arch_family arch_bart = {
    .model_types = (const char *const[]){"bart", "mbart", "marian", "pegasus", "blenderbot",
                                         "m2m_100", "led", "blenderbot-small", "mvp", "plbart",
                                         "fsmt", "bigbird_pegasus", "nllb-moe", "pegasus_x", NULL},
    .classes = (const char *const[]){CLASSES_OF_TEXTS("Bart"),
                                     CLASSES_OF_TEXTS("MBart"),
                                     "MarianModel",
                                     "MarianMTModel",
                                     "MarianForCausalLM",
                                     CLASSES("Pegasus"),
                                     CLASSES("Blenderbot"),
                                     CLASSES("BlenderbotSmall"),
                                     "M2M100Model",
                                     "M2M100ForConditionalGeneration",
                                     "PegasusXModel",
                                     "PegasusXForConditionalGeneration",
                                     "NllbMoeModel",
                                     "NllbMoeForConditionalGeneration",
                                     "LEDModel",
                                     "LEDForConditionalGeneration",
                                     "LEDForSequenceClassification",
                                     "LEDForQuestionAnswering",
                                     CLASSES_OF_TEXTS("Mvp"),
                                     CLASSES("PLBart"),
                                     "PLBartForSequenceClassification",
                                     "FSMTForConditionalGeneration",
                                     CLASSES_OF_TEXTS("BigBirdPegasus"),
                                     NULL},
    .heads = (const arch_class_head[]){{"MarianMTModel", ARCH_HEAD_LM}, {0}},
    .kind = ARCH_ENCODER_DECODER,
    .base_prefix = "model.|led.",
    .ignorable =
        (const char *const[]){"embed_tokens.weight", "output_projection.weight",
                              "embed_positions.weight", "embed_positions.weights",
                              "embed_positions._float_tensor", "version", "query_global.weight",
                              "query_global.bias", "key_global.weight", "key_global.bias",
                              "value_global.weight", "value_global.bias", NULL},
    .load = load,
    .forward = forward,
    .encode = encode,
};
