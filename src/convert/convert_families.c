/* The families that convert_gguf() knows. Names of tensors are those of llama.cpp's gguf-py/gguf/tensor_mapping.py,
 * settings those of transformers' configuration classes, 4.57; a family is a line of one of these tables. */
#include "convert/convert_gguf.h"

extern const convert_family convert_llama_families[], convert_qwen_families[],
    convert_gemma_families[], convert_gpt_families[], convert_decoder_families[],
    convert_bert_families[], convert_expert_families[], convert_t5_families[],
    convert_recurrent_families[];

static const convert_family *const tables[] = {
    convert_llama_families,  convert_qwen_families,    convert_gemma_families,
    convert_gpt_families,    convert_decoder_families, convert_bert_families,
    convert_expert_families, convert_t5_families,      convert_recurrent_families};

enum { N_TABLES = sizeof tables / sizeof *tables };

const convert_family *convert_family_find(const gguf_file *g)
{
    const mltf_str arch = gguf_string(g, "general.architecture", STR(""));
    for (size_t i = 0; i < N_TABLES; i++)
        for (const convert_family *f = tables[i]; f->name; f++)
            if (str_is(arch, f->name) && (!f->is || f->is(g))) return f;
    return NULL;
}

void convert_family_names(mltf_buf *out)
{
    const char *last = "";
    for (size_t i = 0; i < N_TABLES; i++)
        for (const convert_family *f = tables[i]; f->name; last = f->name, f++)
            if (strcmp(f->name, last) != 0) buf_printf(out, "%s%s", out->n ? ", " : "", f->name);
}
