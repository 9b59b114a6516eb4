/* From the tensors of a checkpoint to the weight structs of nn.h, each line naming field, shape and tensor.
 *
 *     nn_scope(ld, "%sencoder.layer.%zu.", ld->base, il);
 *     nn_load_linear(ld, &l->q, "attention.self.query", H, H, NN_BIAS);
 *     nn_load_norm(ld, &l->norm, "attention.output.LayerNorm", NN_NORM_LAYER, H, eps, 0);
 *     ...
 *     TRY(nn_load_finish(ld, "BertModel", ignorable, err));
 *
 * Sticky: tensors that are missing are collected and reported together by nn_load_finish(), a wrong
 * shape at once; what no line asked for ends up in the warnings. Weights stay where the file map has
 * them and in their stored type; an own copy is made only where torch_dtype asks for another type,
 * where Python transposes (Conv1D), for types that no kernel reads, and for vectors that are not f32.
 *
 * A name may hold alternatives, "lm_head|embed_out": the first one present counts. The old spellings
 * gamma and beta for weight and bias are understood everywhere, and weight norm (weight_g with
 * weight_v, parametrizations.weight.original0 with original1) is folded when the weight is asked for. */
#ifndef MLTF_NN_NN_LOAD_H
#define MLTF_NN_NN_LOAD_H

#include "formats/checkpoint.h"
#include "formats/json.h"
#include "nn/nn.h"

enum {
    NN_NO_BIAS = 0,
    NN_BIAS = 1,          /* must have a bias */
    NN_BIAS_IF_THERE = 2, /* takes one if the checkpoint has it */
    NN_CONV1D = 4,        /* stored [in, out]: transposed into an own copy */
    NN_OPTIONAL = 8,      /* an absent layer is fine and stays empty */
    NN_KEEP_FLOAT = 16,   /* never quantized, never computed in bf16 (routers) */
};

typedef struct nn_adapter nn_adapter;

/* How a quantization library packed the weights; see nn_packed.h. */
typedef enum {
    PACKED_NONE,
    PACKED_GPTQ,
    PACKED_AWQ,
    PACKED_BNB,
    PACKED_COMPRESSED,
    PACKED_FP8,
    PACKED_MXFP4,
} packed_scheme;

typedef struct nn_packed {
    packed_scheme scheme;
    unsigned bits;    /* gptq, awq; the usual number of compressed-tensors */
    size_t group;     /* gptq, awq: where there is no g_idx; 0: one group */
    bool zero_as_is;  /* gptq_v2 */
    bool own_sizes;   /* gptq: a layer may have other bits and groups */
    size_t block[2];  /* fp8, compressed-tensors: rows and columns of one scale; 0: not by blocks */
    mltf_dtype dtype; /* of the model, for schemes whose scales are f32 */
    mltf_dtype exact; /* DT_Q8, DT_Q4: written by mltf convert, kept in that form; else DT_COUNT */
    bool unrounded;   /* f32 whatever the type of the scales */
} nn_packed;

typedef struct nn_loader {
    checkpoint *ck;
    nn_adapter *adapter; /* PEFT's LoRA on top, or NULL */
    mltf_arena *own;     /* the model's: copies, names, warnings */
    mltf_pool *pool;
    /* other models share the checkpoint: what lies outside of root and base is no surplus */
    bool part;
    const char *root;    /* before every name: a submodel of a composite checkpoint; "" */
    const char *base;    /* prefix of the base model as this checkpoint writes it: "bert." or "" */
    mltf_dtype target;   /* F32, BF16, F16, or DT_COUNT: as stored */
    mltf_dtype quantize; /* DT_Q8, DT_Q4, or DT_COUNT: no */
    k_compute compute;
    bool check_only; /* names and shapes alone: what would be copied stays as the file has it */
    nn_packed packed;
    size_t unpacked;  /* weights that came out of packed tensors, for the count of parameters */
    mltf_err err;     /* first failure */
    mltf_buf missing; /* quoted names */
    size_t n_missing;
    /* [checkpoint_count] 1: read as it is, 2: part of packed weights, 3: a linear layer that quantize reaches */
    uint8_t *used;
    char scope[192];
} nn_loader;

/* base_prefix: "bert.", "model.|transformer." or NULL; ld->base is set by what the checkpoint holds. */
mltf_status nn_loader_init(nn_loader *ld, checkpoint *ck, mltf_arena *own, mltf_pool *pool,
                           const char *root, const char *base_prefix, mltf_err *err);
void nn_loader_release(nn_loader *ld);

/* Low-rank adapters (PEFT: adapter_config.json and its tensors in `dir`): every linear layer loaded from now
 * on takes its lora_A and lora_B along, and tensors that the adapter holds whole (biases, modules_to_save)
 * replace the checkpoint's. UNSUPPORTED for kinds other than LoRA (also DoRA and rsLoRA) and IA3. nn_load_finish() fails if a tensor of the
 * adapter fits nothing in the model. */
mltf_status nn_load_adapter(nn_loader *ld, const char *dir, const char *base_prefix, mltf_err *err);

/* The adapter's checkpoint, which whole modules are mapped from: to be closed when the model is freed. NULL: none. */
checkpoint *nn_load_adapter_take(nn_loader *ld);
/* Does the adapter hold the weight of this layer (in scope) itself? */
bool nn_load_is_replaced(nn_loader *ld, const char *name);

void nn_scope(nn_loader *ld, const char *fmt, ...) MLTF_PRINTF(2, 3);
/* Into the scope's submodule `name` ("mixer"), and back to where nn_scope_enter() said it was. */
size_t nn_scope_enter(nn_loader *ld, const char *name);
void nn_scope_leave(nn_loader *ld, size_t back);

/* Is there a tensor of this name (in scope)? */
bool nn_load_has(nn_loader *ld, const char *name);
/* The tensor of this full name, marked as part of packed weights; NULL if absent. */
const ck_tensor *nn_load_mark_packed(nn_loader *ld, const char *full);

/* name without ".weight"; shape [N, K]. N or K 0: any (then taken from the tensor). */
void nn_load_linear(nn_loader *ld, nn_linear_w *w, const char *name, size_t N, size_t K,
                    unsigned flags);
/* The gated half of an mlp in one matrix [2 F, K], gate above up: m->gate and m->up. */
void nn_load_gate_up(nn_loader *ld, nn_mlp_w *m, const char *name, size_t F, size_t K,
                     unsigned flags);
/* nn_load_linear() for a full tensor name ("w1", "experts.gate_up_proj"), whose columns may be stored head by head [rows,
 * heads, dim], and slice i of a stacked [E, ...] tensor, whose first two dimensions may be one;
 * transposed: the slice is stored [K, N]. bias: full name or NULL. */
void nn_load_matrix(nn_loader *ld, nn_linear_w *w, const char *name, const char *bias, size_t N,
                    size_t K, unsigned flags);
void nn_load_stacked(nn_loader *ld, nn_linear_w *w, const char *name, const char *bias, size_t i,
                     size_t E, size_t N, size_t K, unsigned flags);
void nn_load_embed(nn_loader *ld, nn_embed_w *w, const char *name, const char *what, size_t rows,
                   size_t width, unsigned flags);
/* kind LAYER takes a bias if there is one unless flags say NN_BIAS (must); NN_OPTIONAL as above. */
void nn_load_norm(nn_loader *ld, nn_norm_w *w, const char *name, nn_norm_kind kind, size_t n,
                  float eps, unsigned flags);
/* A tensor of `count` values in f32, whatever its shape; full name. NULL if absent. */
const float *nn_load_vector(nn_loader *ld, const char *name, size_t count, unsigned flags);
/* The same of a tensor [rows, …] of rows * cols values, turned: an own copy [cols, rows]. */
float *nn_load_columns(nn_loader *ld, const char *name, size_t rows, size_t cols);
/* A Conv1d of `width` rows of K, "<name>weight" [N, K, width] and "<name>bias" [N], as a layer on those rows side by side:
 * an own copy [N, width * K]. */
void nn_load_convolution(nn_loader *ld, nn_linear_w *w, const char *name, size_t N, size_t K,
                         size_t width);

/* Row n of w becomes row row_of[n] of what was loaded: an own copy, for layouts that no stride describes. */
void nn_load_reorder(nn_loader *ld, nn_linear_w *w, const size_t *row_of);

/* y = w x + bias becomes out (w (in x) + bias); out [N]. */
void nn_load_scaled(nn_loader *ld, nn_linear_w *w, float in, const float *out);

/* OK if nothing is missing or misshaped. `what` is the class for the message. Tensors that nothing
 * asked for, and whose names end in none of `ignorable` (ends with NULL; may be NULL itself), are
 * listed in *warning (one text in `own`, NULL if there are none). */
mltf_status nn_load_finish(nn_loader *ld, const char *what, const char *const *ignorable,
                           const char **warning, mltf_err *err);

#endif
