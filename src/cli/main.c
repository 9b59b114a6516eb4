/* mltf: the command. One table of subcommands, one cmd_*.c each. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static int cmd_version(int argc, char **argv, const cli_command *self)
{
    char **rest;
    int n_rest;
    const cli_opt opts[] = {CLI_END};
    const int code = cli_parse(argc, argv, self, opts, &rest, &n_rest);
    if (code >= 0) return code;
    printf("mltf %s (formats of MLflow %s and transformers %s)\n", MLTF_VERSION,
           MLTF_MLFLOW_VERSION, MLTF_TRANSFORMERS_VERSION);
    return 0;
}

// clang-format off
const cli_command cli_commands[] = {
    {"models log", "log a checkpoint to an MLflow store, and register it", cmd_log,
     "-m CHECKPOINT --name NAME --task TASK [--registered-model-name NAME] [options]",
     "Saves a Hugging Face checkpoint as an MLflow model in a run of the tracking store. Prints one JSON object:\n"
     "model_id, model_uri, run_id and, when registered, name and version."},
    {"models save", "save a checkpoint as an MLflow model directory", cmd_save,
     "-m CHECKPOINT -o DIR --task TASK [options]",
     "The directory appears whole or not at all, and loads in Python MLflow."},
    {"models predict", "score a JSON or CSV file", cmd_predict,
     "-m URI [-i FILE] [-o FILE] [-t json|csv]",
     "Takes and prints what POST /invocations takes and answers."},
    {"models serve", "answer over HTTP: /invocations and the OpenAI API", cmd_serve,
     "-m URI [-h HOST] [-p PORT] [options]",
     "Serves /invocations, /ping, /health and /version as MLflow's scoring server does, and /v1/models,\n"
     "/v1/chat/completions, /v1/completions and /v1/embeddings as OpenAI clients expect."},
    {"models describe", "say what a model is", cmd_describe,
     "-m URI [--json]", NULL},
    {"models evaluate", "measure a model on labelled rows, or on a text", cmd_evaluate,
     "-m URI (--data FILE [--target COLUMN] | --text FILE) [options]",
     "Classification: accuracy, precision, recall, F1. Generation and answers: exact match, ROUGE, BLEU.\n"
     "Embeddings: Spearman's rank correlation. A text: perplexity. The metrics are logged to a run."},
    {"models compare", "measure two models on the same rows or text", cmd_compare,
     "A B (--data FILE [--target COLUMN] | --text FILE)", NULL},
    {"models persist", "fetch the weights that a model only refers to", cmd_persist,
     "-m URI",
     "Weights and components come from the Hugging Face cache into the model's directory."},
    {"try", "ask a model something, or chat with it on a terminal", cmd_try,
     "-m CHECKPOINT-OR-URI [--task TASK] [PROMPT]",
     "Without PROMPT: reads lines from the terminal and streams the answers. Ctrl-C stops an answer, Ctrl-D ends."},
    {"convert", "write a Hugging Face checkpoint from a GGUF file, or a quantized one", cmd_convert,
     "FILE.gguf|CHECKPOINT DIR [--torch-dtype DTYPE] [--quantize KIND]", NULL},
    {"doctor", "show CPU tier, threads, store and versions", cmd_doctor,
     "[--json]", NULL},
    {"version", "show the version", cmd_version, "", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
// clang-format on

static void list_commands(FILE *to, const char *group)
{
    if (group)
        fprintf(to, "usage: mltf %s COMMAND [options]\n\n", group);
    else
        fputs("mltf: MLflow's transformers models, native\n\nusage: mltf COMMAND [options]\n\n",
              to);
    for (const cli_command *c = cli_commands; c->name; c++)
        if (!group || strncmp(c->name, group, strlen(group)) == 0)
            fprintf(to, "  %-16s  %s\n", c->name, c->brief);
    fputs("\nmltf COMMAND --help tells more.\n", to);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        list_commands(stderr, NULL);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        list_commands(stdout, NULL);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) argv[1] = "version";
    const bool group = strcmp(argv[1], "models") == 0;
    if (group && (argc < 3 || strcmp(argv[2], "--help") == 0)) {
        list_commands(argc < 3 ? stderr : stdout, "models");
        return argc < 3 ? 2 : 0;
    }
    char name[64];
    snprintf(name, sizeof name, group ? "models %s" : "%s", argv[group ? 2 : 1]);
    const int words = group ? 2 : 1;
    for (const cli_command *c = cli_commands; c->name; c++)
        if (strcmp(c->name, name) == 0) return c->run(argc - words, argv + words, c);
    fprintf(stderr, "mltf: there is no command \"%s\"; `mltf --help` lists them\n", name);
    return 2;
}
