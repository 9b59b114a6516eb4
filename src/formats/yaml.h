/* YAML into json values and back, as PyYAML's safe_load() and safe_dump() do: what MLmodel, conda.yaml,
 * python_env.yaml and meta.yaml are written in.
 *
 *     json_doc doc = JSON_DOC_INIT;
 *     TRY(yaml_parse_file(&doc, "model/MLmodel", err));
 *     const json *flavors = json_get(doc.root, "flavors");
 *
 * Plain words are typed by YAML 1.1 (yes, 0x1F, 1:30, ~); a quoted one stays a text. Where the json
 * values differ from Python's objects: a date stays the text it is, a key of another type than text is
 * its text. Aliases share what they point to, up to a bound; tags other than the core ones are refused,
 * as is a second document. */
#ifndef MLTF_FORMATS_YAML_H
#define MLTF_FORMATS_YAML_H

#include "formats/json.h"

/* CORRUPT_FILE with line and column, UNSUPPORTED for a tag. Empty text is null. */
mltf_status yaml_parse(json_doc *doc, const char *text, size_t n, mltf_err *err);
mltf_status yaml_parse_file(json_doc *doc, const char *path, mltf_err *err);

typedef struct yaml_write_options {
    bool sort_keys;     /* PyYAML's default; MLflow turns it off for python_env.yaml */
    bool allow_unicode; /* characters beyond ASCII as they are, not as \xNN in quotes */
    bool c_dumper;      /* fold long double-quoted texts as libyaml (CSafeDumper) does: MLflow's write_yaml() */
} yaml_write_options;

/* Block style (default_flow_style=False), byte for byte as PyYAML writes. opts NULL: sorted, ASCII. */
void yaml_write(mltf_buf *out, const json *v, const yaml_write_options *opts);

#endif
