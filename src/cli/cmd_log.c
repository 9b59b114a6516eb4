/* mltf models log: save into a tracking store, register, set aliases. */
#include <stdio.h>

#include "cli/save_options.h"

int cmd_log(int argc, char **argv, const cli_command *self)
{
    save_args a = {0};
    mltf_log_options o = {0};
    cli_list aliases = {0};
    const cli_opt opts[] = {
        CLI_STR(0, "name", "NAME", &o.name, NULL, "name of the logged model"),
        CLI_STR(0, "artifact-path", "NAME", &o.name, NULL, "old spelling of --name"),
        CLI_STR(0, "registered-model-name", "NAME", &o.registered_model_name, NULL,
                "register a new version under this name"),
        CLI_LIST(0, "alias", "ALIAS", &aliases, NULL, "alias of the new version (repeatable)"),
        CLI_STR(0, "experiment-name", "NAME", &o.experiment_name, "MLFLOW_EXPERIMENT_NAME",
                "experiment, made if new"),
        CLI_STR(0, "experiment-id", "ID", &o.experiment_id, NULL, "experiment"),
        CLI_STR(0, "run-id", "ID", &o.run_id, "MLFLOW_RUN_ID",
                "log into this run instead of a new one"),
        CLI_STR(0, "run-name", "NAME", &o.run_name, NULL, "name of the new run"),
        CLI_STR(0, "params", "JSON", &o.params_json, NULL, "params of the logged model"),
        CLI_STR(0, "tags", "JSON", &o.tags_json, NULL, "tags of the logged model"),
        CLI_STR(0, "model-type", "TYPE", &o.model_type, NULL, "type of the logged model"),
        CLI_STR(0, "tracking-uri", "URI", &o.tracking_uri, "MLFLOW_TRACKING_URI",
                "store, sqlite:///mlflow.db by default"),
        SAVE_OPTIONS(a),
        CLI_END,
    };
    char **rest;
    int n_rest;
    const int code = cli_parse(argc, argv, self, opts, &rest, &n_rest);
    if (code >= 0) return code;
    if (!a.checkpoint || !o.name || n_rest)
        return cli_mistake(self, "give the checkpoint with -m and a name with --name");

    mltf_err err = {0};
    mltf_buf info = MLTF_BUF_INIT;
    if (save_args_complete(&a, &err) == MLTF_OK) {
        o.save = a.o;
        o.aliases = aliases.n ? aliases.items : NULL;
        if (mltf_log_model(a.checkpoint, &o, &info, &err) == MLTF_OK) printf("%s\n", info.p);
    }
    mltf_buf_release(&info);
    save_args_release(&a);
    return cli_report(&err);
}
