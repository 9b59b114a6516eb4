#include "cli/save_options.h"

#include "base/status.h"

mltf_status save_args_complete(save_args *a, mltf_err *err)
{
    const char **const texts[] = {&a->model_config,         &a->metadata,  &a->input_example,
                                  &a->input_example_params, &a->signature, &a->prompt_template};
    _Static_assert(sizeof texts / sizeof *texts == sizeof a->files / sizeof *a->files,
                   "one buffer a text");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        TRY(cli_text_or_file(texts[i], &a->files[i], err));
    a->o.model_config_json = a->model_config;
    a->o.metadata_json = a->metadata;
    a->o.input_example_json = a->input_example;
    a->o.input_example_params_json = a->input_example_params;
    a->o.signature_json = a->signature;
    a->o.prompt_template = a->prompt_template;
    a->o.code_paths = a->code_paths.n ? a->code_paths.items : NULL;
    a->o.pip_requirements = a->pip.n ? a->pip.items : NULL;
    a->o.extra_pip_requirements = a->extra_pip.n ? a->extra_pip.items : NULL;
    a->o.reference_only = a->reference_only;
    a->o.example_no_conversion = a->no_conversion;
    a->o.log = cli_warn;
    cli_progress_init(&a->progress);
    cli_catch_end();
    a->o.progress = cli_progress_step;
    a->o.progress_user = &a->progress;
    return MLTF_OK;
}

void save_args_release(save_args *a)
{
    cli_progress_done(&a->progress);
    for (size_t i = 0; i < sizeof a->files / sizeof *a->files; i++) mltf_buf_release(&a->files[i]);
}
