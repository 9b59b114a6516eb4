/* What the configuration classes of transformers fill in where config.json does not name the key. */
#ifndef MLTF_GEN_CLASS_DEFAULTS_H
#define MLTF_GEN_CLASS_DEFAULTS_H

typedef struct gen_class_defaults {
    const char *model_type;
    const char *fields; /* a JSON object of GenerationConfig's keys */
} gen_class_defaults;

extern const gen_class_defaults gen_class_table[]; /* the last row's model_type is NULL */

#endif
