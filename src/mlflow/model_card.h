/* Model card and licence: model_card.md, model_card_data.yaml, LICENSE.txt or the repository's own file. */
#ifndef MLTF_MLFLOW_MODEL_CARD_H
#define MLTF_MLFLOW_MODEL_CARD_H

#include <stdbool.h>

#include "base/status.h"

typedef struct model_card_options {
    const char *card_path;    /* a given card (README.md form), or NULL */
    const char *snapshot_dir; /* files of a repository in the cache, or NULL: a local checkpoint */
    const char *name;         /* source_model_name, for the notice */
} model_card_options;

/* Write what there is into dir. *licensed: a licence file was found, or the card names the licence. */
mltf_status model_card_write(const char *dir, const model_card_options *o, bool *licensed, mltf_err *err);

#endif
