/* Bounds on what files and requests may ask for, each with its reason. */
#ifndef MLTF_BASE_LIMITS_H
#define MLTF_BASE_LIMITS_H

#define LIMIT_JSON_DEPTH       512u                     /* deeper than any real file; bounds the parser's stack */
#define LIMIT_JSON_BYTES       ((size_t)1 << 30)        /* the largest tokenizer.json known is below 40 MB */
#define LIMIT_YAML_BYTES       ((size_t)16 << 20)       /* MLmodel and conda.yaml have some kilobytes */
#define LIMIT_ST_HEADER_BYTES  ((size_t)100000000)      /* safetensors' own bound on its header */
#define LIMIT_TENSOR_DIMS      16u                      /* models use at most 5 */
#define LIMIT_LAYERS           1024u                    /* config.json: the deepest models have about 130 */
#define LIMIT_EXPERTS          4096u                    /* of a layer: the largest models have 512 */
#define LIMIT_TEXT_BYTES       ((size_t)256 << 20)      /* one text to tokenize */
#define LIMIT_TEMPLATE_OUTPUT  ((size_t)16 << 20)       /* a rendered chat prompt */

#endif
