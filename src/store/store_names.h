/* Identifiers and names as MLflow makes and checks them. */
#ifndef MLTF_STORE_STORE_NAMES_H
#define MLTF_STORE_STORE_NAMES_H

#include "base/arena.h"
#include "base/status.h"

char *store_new_id(mltf_arena *a,
                   const char *prefix); /* prefix + 32 random hex digits of a version 4 UUID */
char *store_random_name(mltf_arena *a); /* "dashing-koi-920" */
int64_t store_now_ms(void);
const char *
store_user(mltf_arena *a); /* the user who runs this: LOGNAME, USER, the password file */

mltf_status store_check_logged_model_name(const char *name, mltf_err *err);
mltf_status store_check_registered_name(const char *name, mltf_err *err);
mltf_status store_check_experiment_name(const char *name, mltf_err *err);
mltf_status store_check_alias(const char *alias, mltf_err *err);
/* what: "metric", "param" or "tag", for the message */
mltf_status store_check_key(const char *key, const char *what, mltf_err *err);

#endif
