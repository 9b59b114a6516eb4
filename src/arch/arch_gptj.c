/* GPT-J and CodeGen. Wang and Komatsuzaki 2021; transformers 4.57 models/{gptj,codegen}/modeling_*.py.
 *
 *   ids ─ embedding ─ n x [ h = norm x;  x += attention(h) + mlp(h) ] ─ norm ─ head with bias
 *
 * Easy to get wrong: rope turns neighbours (2i, 2i+1) of the first rotary_dim entries of a head; q, k, v and
 * out have no bias, mlp and head do; codegen's qkv_proj comes in four blocks of [q v k] (in that order), a
 * quarter of the heads each: its rows are sorted into q, k, v at load. Checked on: fixtures gptj-, codegen-base. */
#include "arch/arch_decoder.h"

#include <stdlib.h>

/* codegen: where row n of [q | k | v] lies in the four blocks of [q | v | k]. */
static void sort_qkv(nn_loader *ld, nn_linear_w *w, size_t H)
{
    enum { BLOCKS = 4 };
    const size_t per = H / BLOCKS;
    size_t *row = malloc(3 * H * sizeof *row);
    if (!row) {
        mltf_fail_memory(&ld->err);
        return;
    }
    static const size_t place[] = {0, 2, 1}; // of q, k, v inside a block
    for (size_t part = 0; part < 3; part++)
        for (size_t i = 0; i < H; i++)
            row[part * H + i] = i / per * 3 * per + place[part] * per + i % per;
    nn_load_reorder(ld, w, row);
    free(row);
}

static const decoder_names names = {
    .words = "wte",
    .norm = "ln_f",
    .layers = "h",
    .q = "attn.q_proj",
    .k = "attn.k_proj",
    .v = "attn.v_proj",
    .o = "attn.out_proj",
    .up = "mlp.fc_in",
    .down = "mlp.fc_out",
};

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(b, &(arch_decoder){.hidden = 4096,
                                                          .n_layers = 28,
                                                          .heads = 16,
                                                          .vocab = 50400,
                                                          .parallel = true,
                                                          .types_are_words = true});
    TRY(arch_build_ok(b, err));
    arch_decoder_even(c, d);
    d->max_positions = cfg_dim(c, "n_positions|max_position_embeddings", 2048);
    const bool codegen = str_is(str_from(b->m->info.model_type), "codegen");
    decoder_names own_names = names;
    if (codegen) own_names.qkv = "attn.qkv_proj";
    decoder_plan p = arch_decoder_gpt_plan(&own_names, cfg_dim(c, "n_inner", 4 * d->hidden),
                                           cfg_act(c, "activation_function", "gelu_new"),
                                           cfg_float(c, "layer_norm_epsilon", 1e-5f));
    p.norm1 = "ln_1";
    p.lm_head = NN_BIAS;
    p.qkv = p.o = NN_NO_BIAS;
    p.tied = false;
    const json *given = json_get(c->root, "rotary_dim");
    const size_t dim =
        given && given->type == JSON_NULL ? d->head_dim : cfg_dim(c, "rotary_dim", 64);
    if (codegen && d->heads % 4) cfg_fail(c, "\"n_head\" %zu is not a multiple of 4", d->heads);
    if (dim > d->head_dim)
        cfg_fail(c, "\"rotary_dim\" %zu is above the size of a head, %zu", dim, d->head_dim);
    arch_rope_load(&d->rope, b,
                   &(arch_rope_options){
                       .dim = dim, .theta = 10000, .interleaved = true, .ignore_scaling = true});
    TRY(arch_decoder_layers(b, d, err));
    TRY(arch_decoder_load(b, d, &p, err));
    for (size_t il = 0; codegen && il < d->n_layers; il++)
        sort_qkv(&b->ld, &d->layers[il].attn.qkv, d->hidden);
    return arch_build_ok(b, err);
}

const arch_family arch_gptj = {
    .model_types = (const char *const[]){"gptj", "codegen", NULL},
    .classes = (const char *const[]){"GPTJModel", "GPTJForCausalLM",
                                     "GPTJForSequenceClassification", "GPTJForQuestionAnswering",
                                     "CodeGenModel", "CodeGenForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "transformer.",
    .ignorable = (const char *const[]){"attn.bias", "attn.masked_bias", "attn.causal_mask",
                                       "embed_positions", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
