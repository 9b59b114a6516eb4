/* Two models of other families side by side: the encoder's states are what the decoder's cross attention reads
 * (bert2bert, roberta2roberta, bert2gpt2). Rothe et al. 2019, arXiv:1907.12461; transformers 4.57
 * models/encoder_decoder/modeling_encoder_decoder.py.
 *
 *   input ids ─ encoder (base class) ─ (enc_to_dec_proj) ─┐
 *   decoder ids ─ decoder (language model) ───────────────┴─ logits
 *
 * Each side's config lies in config.json under "encoder" and "decoder", its tensors under "encoder." and "decoder.".
 * The decoder is of a family that has `remember`. Easy to get wrong: the projection is there where the widths differ;
 * a roberta decoder counts its positions from padding_idx + 1 in generation too. Checked on: random checkpoints of the
 * library. */
#include "arch/arch_internal.h"

#include <string.h>

typedef struct {
    arch_model encoder, decoder; // as each family left the model: read while running, never freed
    nn_linear_w project;         // [decoder H, encoder H]; absent: none
} pair_model;

static const char *language_model_of(const arch_family *f)
{
    for (const char *const *c = f->classes; *c; c++)
        if (arch_head_of(str_from(*c)) == ARCH_HEAD_LM) return *c;
    return NULL;
}

static mltf_status find_side(arch_build *b, const char *side, bool decoder, const json **config,
                             const arch_family **family, mltf_err *err)
{
    *config = json_get(b->cfg.root, side);
    const json *type = json_get(*config, "model_type");
    *family = json_is(type, JSON_STRING) ? arch_family_find(type->s) : NULL;
    const bool fits = *family && (decoder ? (*family)->remember && language_model_of(*family)
                                          : (*family)->kind != ARCH_ENCODER_DECODER);
    if (fits) return MLTF_OK;
    return mltf_fail(err, MLTF_UNSUPPORTED,
                     "model_type \"" STR_FMT "\" is not supported as the %s of an encoder-decoder",
                     STR_ARG(json_string(type, STR("?"))), side);
}

/* One side, loaded by its own family into b->m; what that left is copied to *out. */
static mltf_status load_side(arch_build *b, arch_model *out, const char *side, bool decoder,
                             mltf_err *err)
{
    arch_model *m = b->m;
    const json *config;
    const arch_family *family;
    TRY(find_side(b, side, decoder, &config, &family, err));
    const char *root = decoder ? "decoder." : "encoder.", *surplus = NULL;
    arch_build part = {.m = m, .cfg = {.root = config}};
    TRY(nn_loader_init(&part.ld, m->ck, &m->own, b->ld.pool, root, family->base_prefix, err));
    part.ld.part = true;
    part.ld.target = b->ld.target;
    part.ld.quantize = b->ld.quantize;
    part.ld.compute = b->ld.compute;
    part.ld.check_only = b->ld.check_only;
    part.ld.packed = b->ld.packed;
    const mltf_str type = json_get(config, "model_type")->s;
    m->info.model_type = arena_strdup(&m->own, type.p, type.n);
    m->info.architecture = decoder ? language_model_of(family) : family->classes[0];
    m->info.head = decoder ? ARCH_HEAD_LM : ARCH_HEAD_NONE;
    m->cache_shape = (nn_cache_shape){0};
    mltf_status st = m->info.model_type ? family->load(&part, err) : mltf_fail_memory(err);
    if (!st) st = arch_build_ok(&part, err);
    if (!st) st = nn_load_finish(&part.ld, m->info.architecture, family->ignorable, &surplus, err);
    for (size_t i = 0; !st && i < checkpoint_count(m->ck); i++)
        if (part.ld.used[i]) b->ld.used[i] = part.ld.used[i];
    nn_loader_release(&part.ld);
    *out = *m;
    out->family = family;
    return st;
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_model *m = b->m;
    const arch_info own = m->info;
    pair_model *p = arch_new(b, 1, sizeof *p);
    TRY(arch_build_ok(b, err));
    TRY(load_side(b, &p->encoder, "encoder", false, err));
    TRY(load_side(b, &p->decoder, "decoder", true, err));
    const arch_info *e = &p->encoder.info, *d = &p->decoder.info;
    m->info = own;
    m->cross_shape = m->cache_shape; // the decoder's
    m->recompute_past = 0;
    m->info.max_target_positions = d->max_positions;
    nn_scope(&b->ld, "%s", "");
    if (e->hidden != d->hidden)
        nn_load_linear(&b->ld, &p->project, "enc_to_dec_proj", d->hidden, e->hidden, NN_BIAS);
    return arch_done(b, p, d->hidden, d->vocab, e->n_layers, e->max_positions, err);
}

static arch_run run_as(const arch_run *r, const arch_model *side)
{
    arch_run run = *r;
    run.m = side;
    run.impl = side->impl;
    return run;
}

static void encode(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const pair_model *p = r->impl;
    arch_run encoder = run_as(r, &p->encoder), decoder = run_as(r, &p->decoder);
    encoder.want |= ARCH_WANT_HIDDEN;
    encoder.seqs.memory = NULL;
    p->encoder.family->forward(&encoder);
    const float *x = r->out->hidden;
    if (nn_has(&p->project)) {
        float *y = nn_f32(cx, r->seqs.rows, p->project.w.N);
        nn_linear(cx, y, x, &p->project, r->seqs.rows);
        x = y;
    }
    if (nn_ok(cx)) p->decoder.family->remember(&decoder, x);
}

static void forward(arch_run *r)
{
    const pair_model *p = r->impl;
    if (!r->seqs.memory) {
        nn_fail(r->cx, MLTF_INVALID_INPUT, "the encoder has to run before the decoder");
        return;
    }
    arch_run decoder = run_as(r, &p->decoder);
    p->decoder.family->forward(&decoder);
}

const arch_family arch_encoder_decoder = {
    .model_types = (const char *const[]){"encoder-decoder", NULL},
    .classes = (const char *const[]){"EncoderDecoderModel", NULL},
    .heads = (const arch_class_head[]){{"EncoderDecoderModel", ARCH_HEAD_LM}, {0}},
    .kind = ARCH_ENCODER_DECODER,
    .load = load,
    .forward = forward,
    .encode = encode,
};
