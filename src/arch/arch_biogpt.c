/* BioGPT. Luo et al. 2022, arXiv:2210.10341; transformers 4.57 models/biogpt/modeling_biogpt.py.
 *
 *   ids ─ scaled embedding + position ─ n x [ x += attention(norm x);  x += mlp(norm x) ] ─ norm ─ head
 *
 * Easy to get wrong: the table of positions begins two rows before position 0; the norms take no eps of the
 * configuration; the head is called output_projection. Checked on: random checkpoints of the library. */
#include <math.h>

#include "arch/arch_decoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){
               .hidden = 1024, .n_layers = 24, .heads = 16, .vocab = 42384, .position_offset = 2});
    TRY(arch_build_ok(b, err));
    arch_decoder_even(c, d);
    d->norm_unseen = true;
    d->max_positions = cfg_dim(c, "max_position_embeddings", 1024);
    d->embed_scale = cfg_bool(c, "scale_embedding", true) ? sqrtf((float)d->hidden) : 1.0f;
    decoder_plan p = arch_decoder_fairseq_plan(cfg_dim(c, "intermediate_size", 4096),
                                               cfg_act(c, "hidden_act", "gelu"));
    decoder_names names = *p.names;
    names.positions = "embed_positions";
    names.head = "output_projection";
    p.names = &names;
    TRY(arch_decoder_layers(b, d, err));
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_biogpt = {
    .model_types = (const char *const[]){"biogpt", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES("BioGpt"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "biogpt.",
    .load = load,
    .forward = arch_decoder_forward,
};
