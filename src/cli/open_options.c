#include "cli/open_options.h"

#include <stdio.h>

void env_flags_report(const env_flags *e)
{
    if (e->env_manager || e->pip_override || e->env_file || e->install_mlflow || e->no_conda ||
        e->mlserver)
        fputs("mltf: no Python environment is needed; environment options have no effect\n",
              stderr);
}
