/* PEFT's LoRA inside of the loader; see nn_load_adapter(). */
#ifndef MLTF_NN_NN_ADAPTER_H
#define MLTF_NN_NN_ADAPTER_H

#include "nn/nn_load.h"

/* A tensor that the adapter holds in place of scope + name + suffix, or NULL. */
const ck_tensor *nn_adapter_replaces(nn_loader *ld, mltf_str name, const char *suffix);
/* lora_A and lora_B of the layer scope + name, if there are any, into w. */
void nn_adapter_attach(nn_loader *ld, nn_linear_w *w, mltf_str name);
/* lora_embedding_A and lora_embedding_B of the table scope + name, if there are any, into w. */
void nn_adapter_attach_embed(nn_loader *ld, nn_embed_w *w, mltf_str name);
/* CORRUPT_FILE if a tensor fitted nothing in the class `what`. */
mltf_status nn_adapter_finish(const nn_adapter *a, const char *what, mltf_err *err);
void nn_adapter_free(nn_adapter *a); /* NULL is a no-op */

#endif
