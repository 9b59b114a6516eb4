/* A JSON object for people: "key  value" lines, nested objects indented. */
#ifndef MLTF_CLI_SHOW_JSON_H
#define MLTF_CLI_SHOW_JSON_H

#include "formats/json.h"

void show_json(mltf_buf *out, const json *object, int indent);
/* An answer that is one JSON object, on stdout: as it is, or for people. */
mltf_status show_answer(mltf_buf *text, bool as_json, mltf_err *err);

#endif
