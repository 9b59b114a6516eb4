#!/usr/bin/env python3
"""Writes src/gen/gen_class_defaults.c: what the configuration classes of transformers 4.57 set of generation's fields.

    python tools/make_gen_class_defaults.py > src/gen/gen_class_defaults.c
"""
import json

import transformers
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

assert transformers.__version__.startswith("4.57.")
library = transformers.GenerationConfig().to_dict()
rows = []
for name in sorted({*modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES}):
    try:
        config = CONFIG_MAPPING[name]().to_dict()
    except ValueError:  # a composite of two others
        continue
    own = {k: v for k, v in config.items() if k in library and v is not None and v != library[k] and k != "transformers_version"}
    if own:
        rows.append((name, json.dumps(own)))

print("/* Made by tools/make_gen_class_defaults.py from transformers %s. Do not edit. */" % transformers.__version__)
print('// clang-format off\n#include "gen/gen_class_defaults.h"\n\n#include <stddef.h>\n')
print("const gen_class_defaults gen_class_table[] = {")
for name, own in rows:
    print('    {"%s", %s},' % (name, json.dumps(own)))
print("    {NULL, NULL},\n};")
