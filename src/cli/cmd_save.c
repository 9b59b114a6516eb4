/* mltf models save: a checkpoint becomes an MLflow model directory. */
#include "cli/save_options.h"

int cmd_save(int argc, char **argv, const cli_command *self)
{
    save_args a = {0};
    const char *dir = NULL;
    const cli_opt opts[] = {
        CLI_STR('o', "output", "DIR", &dir, NULL, "directory to make; must be missing or empty"),
        SAVE_OPTIONS(a),
        CLI_END,
    };
    char **rest;
    int n_rest;
    const int code = cli_parse(argc, argv, self, opts, &rest, &n_rest);
    if (code >= 0) return code;
    if (!a.checkpoint || !dir || n_rest)
        return cli_mistake(self, "give the checkpoint with -m and the directory with -o");

    mltf_err err = {0};
    if (save_args_complete(&a, &err) == MLTF_OK) mltf_save(a.checkpoint, dir, &a.o, &err);
    save_args_release(&a);
    return cli_report(&err);
}
