/* mltf models serve: a model behind HTTP, until SIGTERM or Ctrl-C. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/open_options.h"

static void on_ready(void *user, const char *host, int port)
{
    fprintf(stderr, "mltf: serving %s on http://%s:%d (Ctrl-C stops)\n", (const char *)user, host,
            port);
}

static void on_log(void *user, const char *line)
{
    (void)user;
    fprintf(stderr, "%s\n", line);
}

int cmd_serve(int argc, char **argv, const cli_command *self)
{
    const char *uri = NULL;
    mltf_open_options o = {.log = cli_warn};
    mltf_serve_options s = {.port = 5000};
    env_flags env = {0};
    bool quiet = false;
    int max_body_mb = 0;
    const cli_opt opts[] = {
        OPEN_OPTIONS(uri, o),
        CLI_STR('h', "host", "HOST", &s.host, "MLFLOW_HOST",
                "address to listen on; 127.0.0.1 by default"),
        CLI_INT('p', "port", "PORT", &s.port, "MLFLOW_PORT",
                "port to listen on; 5000 by default, 0 for any"),
        CLI_DOUBLE('t', "timeout", "SECONDS", &s.timeout_s, "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT",
                   "of one request; 60 by default"),
        CLI_INT('w', "workers", "N", &s.workers, "MLFLOW_MODELS_WORKERS",
                "requests computed at the same time"),
        CLI_INT(0, "queue", "N", &s.queue, NULL, "requests that may wait; 256 by default"),
        CLI_INT(0, "connections", "N", &s.connections, NULL,
                "connections open at a time; 1024 by default"),
        CLI_INT(0, "max-body-mb", "N", &max_body_mb, NULL, "largest request in MiB; 64 by default"),
        CLI_STR(0, "served-model-name", "NAME", &s.model_name, NULL, "name in /v1/models"),
        CLI_FLAG('q', "quiet", &quiet, NULL, "no line a request"),
        ENV_OPTIONS(env),
        CLI_END,
    };
    char **rest;
    int n_rest;
    const int code = cli_parse(argc, argv, self, opts, &rest, &n_rest);
    if (code >= 0) return code;
    if (!uri || n_rest) return cli_mistake(self, "give the model with -m");
    if (s.port < 0 || s.port > 65535)
        return cli_mistake(self, "--port must be 0 to 65535, not %d", s.port);
    if (max_body_mb < 0 || s.queue < 0 || s.connections < 0 || s.workers < 0 || s.timeout_s < 0)
        return cli_mistake(self, "limits cannot be negative");
    fputs("mltf: there is no Python environment to prepare; environment options are accepted and "
          "have no effect\n",
          stderr);

    const char *serving_config = getenv("SERVING_MODEL_CONFIG"); // MLflow's variable for servers
    if (serving_config && *serving_config && !o.model_config_json)
        o.model_config_json = serving_config;
    s.max_body_bytes = (size_t)max_body_mb << 20;
    s.on_ready = on_ready;
    s.on_log = quiet ? NULL : on_log;
    s.user = (void *)(uintptr_t)uri;

    mltf_err err = {0};
    mltf_model *model = NULL;
    cli_progress progress;
    cli_progress_init(&progress);
    cli_catch_interrupt();
    o.progress = cli_progress_step;
    o.progress_user = &progress;
    if (mltf_model_open(&model, uri, &o, &err) == MLTF_OK) {
        cli_progress_done(&progress);
        mltf_serve(model, &s, &err);
    }
    cli_progress_done(&progress);
    mltf_model_free(model);
    return cli_report(&err);
}
