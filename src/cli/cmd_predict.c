/* mltf models predict: score one file, offline. Same payloads and same answer bytes as POST /invocations. */
#include <string.h>

#include "base/buf.h"
#include "cli/open_options.h"

int cmd_predict(int argc, char **argv, const cli_command *self)
{
    const char *uri = NULL, *in_path = "-", *out_path = "-", *type = "json", *params = NULL;
    mltf_open_options o = {.log = cli_warn};
    env_flags env = {0};
    const cli_opt opts[] = {
        OPEN_OPTIONS(uri, o),
        CLI_STR('i', "input-path", "FILE", &in_path, NULL, "request; \"-\" is standard input"),
        CLI_STR('o', "output-path", "FILE", &out_path, NULL,
                "where the answer goes; \"-\" is standard output"),
        CLI_STR('t', "content-type", "TYPE", &type, NULL, "json or csv"),
        CLI_STR(0, "params", "JSON", &params, NULL, "params beside those in the request"),
        CLI_STR('r', "pip-requirements-override", "REQ", &env.pip_override, NULL,
                "accepted as in MLflow; there is no environment"),
        CLI_STR(0, "env", "FILE", &env.env_file, NULL,
                "accepted as in MLflow; there is no environment"),
        ENV_OPTIONS(env),
        CLI_END,
    };
    char **rest;
    int n_rest;
    const int code = cli_parse(argc, argv, self, opts, &rest, &n_rest);
    if (code >= 0) return code;
    if (!uri || n_rest) return cli_mistake(self, "give the model with -m");
    const bool csv = strcmp(type, "csv") == 0;
    if (!csv && strcmp(type, "json") != 0)
        return cli_mistake(self, "--content-type must be json or csv, not \"%s\"", type);
    env_flags_report(&env);

    mltf_err err = {0};
    mltf_model *model = NULL;
    mltf_buf request = MLTF_BUF_INIT, answer = MLTF_BUF_INIT;
    const mltf_predict_options run = {.params_json = params, .cancel = &cli_cancel};
    cli_progress progress;
    cli_progress_init(&progress);
    cli_catch_interrupt();
    o.progress = cli_progress_step;
    o.progress_user = &progress;

    if (cli_read_all(&request, in_path, &err)) goto done;
    if (mltf_model_open(&model, uri, &o, &err)) goto done;
    cli_progress_done(&progress);
    const char *text = request.p ? request.p : "";
    if (csv ? mltf_predict_csv(model, text, request.n, &run, &answer, &err)
            : mltf_predict_json(model, text, request.n, &run, &answer, &err))
        goto done;
    buf_putc(&answer, '\n');
    cli_write_all(out_path, &answer, &err); // err says how it went
done:
    cli_progress_done(&progress);
    mltf_buf_release(&answer);
    mltf_buf_release(&request);
    mltf_model_free(model);
    return cli_report(&err);
}
