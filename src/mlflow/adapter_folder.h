/* Where the adapters of a PEFT model lie: PeftModel.save_pretrained() puts the one named "default" into the directory
 * itself and each other one into a folder of its name. */
#ifndef MLTF_MLFLOW_ADAPTER_FOLDER_H
#define MLTF_MLFLOW_ADAPTER_FOLDER_H

#include "base/arena.h"
#include "base/file.h"
#include "base/status.h"

bool adapter_here(const char *dir); /* adapter_config.json lies in the directory itself */

/* Names of the folders of dir that hold adapters; free with dir_list_free(). */
mltf_status adapter_folders(dir_list *out, const char *dir, mltf_err *err);

/* The folder of the adapter that a model of this directory has, in the arena: dir itself, as PeftModel.from_pretrained()
 * does; else the only one below it. *out NULL: there is none. INVALID_INPUT: several, and none of them the default. */
mltf_status adapter_choose(mltf_arena *a, const char **out, const char *dir, mltf_err *err);

#endif
