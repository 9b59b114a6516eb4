/* Prompt templates: Python's str.format with one field named `prompt`. */
#ifndef MLTF_MLFLOW_PROMPT_TEMPLATE_H
#define MLTF_MLFLOW_PROMPT_TEMPLATE_H

#include "base/buf.h"

/* INVALID_INPUT unless the template has exactly one field and it is `{prompt}`, with an optional
 * conversion and format spec ({prompt!r}, {prompt:>10}). */
mltf_status prompt_template_check(const char *tpl, mltf_err *err);
/* Appends tpl.format(prompt=prompt). Braces in the prompt are text. */
mltf_status prompt_template_apply(mltf_buf *out, const char *tpl, mltf_str prompt, mltf_err *err);
/* May templates be saved for this native task? */
bool prompt_template_task(const char *task);

#endif
