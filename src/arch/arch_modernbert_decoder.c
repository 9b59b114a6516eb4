/* ModernBERT's block as a decoder (Ettin). Weller et al. 2025, arXiv:2507.11412; transformers 4.57
 * models/modernbert_decoder/modeling_modernbert_decoder.py.
 *
 *   ids ─ embedding ─ norm ─ n x [ x += attention(norm x);  x += Wo(act(first half) * second half of Wi norm x) ] ─
 *   norm ─ dense ─ act ─ norm ─ head
 *
 * Easy to get wrong: the first layer has no norm before its attention; the window is half of local_attention; 4.57
 * takes global_rope_theta for all layers, 5.x names the frequencies of both kinds. Checked on: random checkpoints of
 * the library. */
#include "arch/arch_decoder.h"

typedef struct {
    float eps;
    unsigned attn, mlp, norm, head, out; // NN_BIAS or NN_NO_BIAS
    k_act act;
    size_t ffn, window;
} modern_config;

static void read_config(arch_config *c, modern_config *o)
{
    o->ffn = cfg_dim(c, "intermediate_size", 1152);
    o->window = cfg_size(c, "local_attention", 128, 2, (size_t)1 << 40) / 2;
    o->act = cfg_act(c, "hidden_activation", "gelu");
    o->eps = cfg_float(c, "norm_eps", 1e-5f);
    o->attn = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    o->mlp = cfg_bool(c, "mlp_bias", false) ? NN_BIAS : NN_NO_BIAS;
    o->norm = cfg_bool(c, "norm_bias", false) ? NN_BIAS : NN_NO_BIAS;
    o->head = cfg_bool(c, "classifier_bias", false) ? NN_BIAS : NN_NO_BIAS;
    o->out = cfg_bool(c, "decoder_bias", true) ? NN_BIAS : NN_NO_BIAS;
}

static void load_layer(nn_loader *ld, decoder_layer *l, const arch_decoder *d,
                       const modern_config *c, size_t il)
{
    const size_t H = d->hidden, N = d->heads * d->head_dim;
    if (il) nn_load_norm(ld, &l->norm1, "attn_norm", NN_NORM_LAYER, H, c->eps, c->norm);
    nn_load_linear(ld, &l->attn.q, "attn.q_proj", N, H, c->attn);
    nn_load_linear(ld, &l->attn.k, "attn.k_proj", N, H, c->attn);
    nn_load_linear(ld, &l->attn.v, "attn.v_proj", N, H, c->attn);
    nn_load_linear(ld, &l->attn.o, "attn.Wo", H, N, c->attn);
    nn_load_norm(ld, &l->norm2, "mlp_norm", NN_NORM_LAYER, H, c->eps, c->norm);
    nn_load_gate_up(ld, &l->mlp, "mlp.Wi", c->ffn, H, c->mlp);
    l->mlp.act = c->act;
    nn_load_linear(ld, &l->mlp.down, "mlp.Wo", H, c->ffn, c->mlp);
}

static void load_heads(arch_build *b, arch_decoder *d, const modern_config *c)
{
    nn_loader *ld = &b->ld;
    const size_t H = d->hidden;
    const bool lm = b->m->info.head == ARCH_HEAD_LM;
    arch_head_w *h = &d->heads_w.head;
    if (!lm && b->m->info.head != ARCH_HEAD_SEQ_CLS) return;
    d->heads_w.has_head = true;
    nn_scope(ld, "%s", "");
    nn_load_linear(ld, &h->dense, lm ? "lm_head.dense" : "head.dense", H, H, c->head);
    nn_load_norm(ld, &h->norm, lm ? "lm_head.norm" : "head.norm", NN_NORM_LAYER, H, c->eps,
                 c->norm);
    h->act = cfg_act(&b->cfg, "classifier_activation", "gelu");
    if (!lm) {
        nn_load_linear(ld, &h->out, "classifier", b->m->info.n_labels, H, c->head);
        h->pool = POOL_LAST_TOKEN;
        h->pad = cfg_token(&b->cfg, "pad_token_id", 50283);
        return;
    }
    const bool tied = cfg_bool(&b->cfg, "tie_word_embeddings", true);
    nn_load_linear(ld, &h->out, "decoder", d->vocab, H, c->out | (tied ? NN_OPTIONAL : 0));
    if (!tied) return;
    h->out = nn_linear_tied(&d->words, ld->compute);
    if (c->out) h->out.bias = nn_load_vector(ld, "decoder.bias", d->vocab, 0);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    modern_config o = {0};
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){.hidden = 768, .n_layers = 22, .heads = 12, .vocab = 50368});
    TRY(arch_build_ok(b, err));
    arch_decoder_even(c, d);
    read_config(c, &o);
    arch_rope_options rope = {.dim = d->head_dim,
                              .theta = 160000,
                              .theta_key = "global_rope_theta",
                              .max_positions = cfg_dim(c, "max_position_embeddings", 8192),
                              .layer_type = "full_attention"};
    arch_rope_load(&d->rope, b, &rope);
    rope.layer_type = "sliding_attention";
    arch_rope_load(&d->rope_local, b, &rope);
    TRY(arch_decoder_layers(b, d, err));
    const size_t every = cfg_size(c, "global_attn_every_n_layers", 3, 1, 1 << 20);

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embeddings.tok_embeddings", "input id", d->vocab, d->hidden, 0);
    nn_load_norm(ld, &d->embed_norm, "embeddings.norm", NN_NORM_LAYER, d->hidden, o.eps, o.norm);
    nn_load_norm(ld, &d->norm, "final_norm", NN_NORM_LAYER, d->hidden, o.eps, o.norm);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        if (cfg_layer_is(c, il, "sliding_attention", il % every != 0)) {
            l->window = o.window;
            l->rope = &d->rope_local;
        }
        load_layer(ld, l, d, &o, il);
    }
    load_heads(b, d, &o);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_modernbert_decoder = {
    .model_types = (const char *const[]){"modernbert-decoder", NULL},
    .classes = (const char *const[]){"ModernBertDecoderModel", "ModernBertDecoderForCausalLM",
                                     "ModernBertDecoderForSequenceClassification", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .load = load,
    .forward = arch_decoder_forward,
};
