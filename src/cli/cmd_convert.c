/* mltf convert: GGUF or a checkpoint in, Hugging Face checkpoint out. */
#include "cli/cli.h"

int cmd_convert(int argc, char **argv, const cli_command *self)
{
    mltf_convert_options o = {0};
    const cli_opt opts[] = {
        CLI_STR(0, "torch-dtype", "DTYPE", &o.torch_dtype, NULL,
                "of the weights written: bfloat16 (default), float32, float16"),
        CLI_STR(0, "quantize", "KIND", &o.quantize, NULL,
                "int8 or int4: write the linear layers in this width"),
        CLI_END,
    };
    char **rest;
    int n_rest;
    const int code = cli_parse(argc, argv, self, opts, &rest, &n_rest);
    if (code >= 0) return code;
    if (n_rest != 2) return cli_mistake(self, "give a GGUF file or a checkpoint, and a directory");
    mltf_err err = {0};
    cli_progress progress;
    cli_progress_init(&progress);
    cli_catch_end();
    o.progress = cli_progress_step;
    o.progress_user = &progress;
    mltf_convert(rest[0], rest[1], &o, &err);
    cli_progress_done(&progress);
    return cli_report(&err);
}
