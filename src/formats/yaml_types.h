/* The implicit types of YAML 1.1 as PyYAML's resolver knows them: what a plain word is. */
#ifndef MLTF_FORMATS_YAML_TYPES_H
#define MLTF_FORMATS_YAML_TYPES_H

#include "base/str.h"

typedef enum {
    YAML_T_STR,
    YAML_T_NULL,
    YAML_T_BOOL,
    YAML_T_INT,
    YAML_T_FLOAT,
    YAML_T_MERGE,
    YAML_T_VALUE,
    YAML_T_TIMESTAMP,
} yaml_type;

yaml_type yaml_type_of(mltf_str word);

#endif
