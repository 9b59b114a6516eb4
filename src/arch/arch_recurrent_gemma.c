/* RecurrentGemma. De et al. 2024, arXiv:2402.19427, Botev et al. 2024, arXiv:2404.07839; transformers 4.57
 * models/recurrent_gemma/modeling_recurrent_gemma.py.
 *
 *   ids ─ embedding sqrt(H) ─ n x [ x += block(rms x);  x += mlp(rms x) ] ─ rms ─ tied head, capped by tanh
 *
 *   block  "recurrent", "recurrent", "attention" in turn (block_types): a gated linear recurrence behind a short
 *          convolution; or grouped attention with half of each head rotated, which sees a window
 *
 * Easy to get wrong: rms norms multiply by weight + 1; sqrt(H) is rounded to bf16; the mlp is half as wide as
 * config.json says; gates are stored [in, out], head by head. Checked on: random checkpoints of the library, on texts
 * within the window. */
#include <math.h>

#include "arch/arch_recurrent.h"

typedef struct {
    size_t ffn, lru, conv, window;
    float eps;
    k_act act;
    unsigned bias;
} gemma_config;

static void load_norm(nn_loader *ld, nn_norm_w *w, const char *name, size_t n, float eps)
{
    nn_load_norm(ld, w, name, NN_NORM_RMS, n, eps, 0);
    w->offset = 1;
}

static void load_attention(nn_loader *ld, nn_attn_w *a, const arch_decoder *d, unsigned bias)
{
    const size_t H = d->hidden, D = d->head_dim;
    nn_load_linear(ld, &a->q, "q_proj", d->heads * D, H, bias);
    nn_load_linear(ld, &a->k, "k_proj", d->kv_heads * D, H, bias);
    nn_load_linear(ld, &a->v, "v_proj", d->kv_heads * D, H, bias);
    nn_load_linear(ld, &a->o, "o_proj", H, d->heads * D, NN_BIAS);
}

static void recurrent_mixer(arch_run *r, float *y, const float *x, const decoder_layer *w)
{
    nn_lru(r->cx, y, x, w->own, &r->seqs);
}

/* A gate of `blocks` layers, stored [blocks, in, out]. */
static const nn_linear_w *load_gate(arch_build *b, const char *weight, const char *bias,
                                    size_t blocks, size_t width)
{
    nn_linear_w *w = arch_new(b, blocks, sizeof *w);
    for (size_t i = 0; w && i < blocks; i++)
        nn_load_stacked(&b->ld, &w[i], weight, bias, i, blocks, width, width, NN_CONV1D | NN_BIAS);
    return w;
}

static void load_recurrence(arch_build *b, decoder_layer *l, const arch_decoder *d,
                            const gemma_config *o)
{
    nn_loader *ld = &b->ld;
    size_t *state = &b->m->cache_shape.state;
    const size_t W = o->lru, block = W / d->heads;
    nn_lru_w *w = arch_new(b, 1, sizeof *w);
    float *decay = arch_new(b, W, sizeof *decay);
    l->own = w;
    l->mixer = recurrent_mixer;
    l->keyless = true;
    if (!w || !decay) return;
    *w = (nn_lru_w){.width = W, .blocks = d->heads, .act = o->act, .decay = decay};
    nn_load_linear(ld, &w->in, "linear_x", W, d->hidden, NN_BIAS);
    nn_load_linear(ld, &w->gate, "linear_y", W, d->hidden, NN_BIAS);
    nn_load_linear(ld, &w->out, "linear_out", d->hidden, W, NN_BIAS);
    nn_conv_load(ld, &w->conv, "conv_1d", W, o->conv, K_ACT_NONE, NN_BIAS, state);
    w->take = load_gate(b, "rg_lru.input_gate_weight", "rg_lru.input_gate_bias", d->heads, block);
    w->forget =
        load_gate(b, "rg_lru.recurrent_gate_weight", "rg_lru.recurrent_gate_bias", d->heads, block);
    const float *param = nn_load_vector(ld, "rg_lru.recurrent_param", W, 0);
    for (size_t i = 0; param && i < W; i++) decay[i] = -8.0f * nn_softplus1(param[i]);
    w->state = *state;
    *state += W;
}

static bool is_recurrent(arch_config *c, size_t il)
{
    const json *types = cfg_get(c, "block_types");
    if (!json_len(types)) return il % 3 != 2;
    const mltf_str type = json_string(json_at(types, il % json_len(types)), STR(""));
    if (!str_is(type, "recurrent") && !str_is(type, "attention"))
        cfg_fail(c, "\"block_types\" holds \"" STR_FMT "\"", STR_ARG(type));
    return str_is(type, "recurrent");
}

static void read_config(arch_config *c, gemma_config *o, arch_decoder *d)
{
    *d = (arch_decoder){.hidden = 2560, .n_layers = 26, .heads = 10, .vocab = 256000};
    arch_decoder_config(c, d);
    o->ffn = cfg_dim(c, "intermediate_size", 7680) / 2;
    o->lru = cfg_dim(c, "lru_width", d->hidden);
    o->conv = cfg_size(c, "conv1d_width", 4, 1, ARCH_CONV_MAX);
    o->window = cfg_size(c, "attention_window_size", 2048, 1, (size_t)1 << 40);
    o->eps = cfg_float(c, "rms_norm_eps", 1e-6f);
    o->act = cfg_act(c, "hidden_activation", "gelu_pytorch_tanh");
    o->bias = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    d->embed_scale = bf16_to_f32(f32_to_bf16(sqrtf((float)d->hidden)));
    if (o->lru % d->heads)
        cfg_fail(c, "\"lru_width\" %zu is not a multiple of \"num_attention_heads\" %zu", o->lru,
                 d->heads);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    gemma_config o;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    read_config(c, &o, d);
    const size_t H = d->hidden;
    arch_rope_load(
        &d->rope, b,
        &(arch_rope_options){.dim = arch_rope_dim(c, d->head_dim, "partial_rotary_factor", 0.5),
                             .theta = 10000,
                             .max_positions = 8192,
                             .ignore_scaling = true});
    TRY(arch_decoder_layers(b, d, err));
    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, H, 0);
    load_norm(ld, &d->norm, "final_norm", H, o.eps);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        load_norm(ld, &l->norm1, "temporal_pre_norm", H, o.eps);
        load_norm(ld, &l->norm2, "channel_pre_norm", H, o.eps);
        arch_decoder_mlp_load(ld, &l->mlp, "mlp_block", H, o.ffn, o.act, NN_BIAS);
        nn_scope_enter(ld, "temporal_block");
        if (is_recurrent(c, il)) {
            load_recurrence(b, l, d, &o);
        } else {
            l->window = o.window;
            load_attention(ld, &l->attn, d, o.bias);
        }
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_NO_BIAS, true);
    if (b->m->info.head == ARCH_HEAD_LM)
        d->heads_w.head.softcap = cfg_float(c, "logits_soft_cap", 30);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_recurrent_gemma = {
    .model_types = (const char *const[]){"recurrent_gemma", NULL},
    .classes = (const char *const[]){"RecurrentGemmaModel", "RecurrentGemmaForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
