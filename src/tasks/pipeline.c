/* Loading a pipeline and calling it: the class of the model that a task wants, the tokenizer, the
 * generation settings, and a pool of sessions. Mirrors pipeline() and Pipeline.__init__ of
 * transformers/pipelines (4.57.6). */
#include "tasks/task.h"

#include <stdlib.h>
#include <stdio.h>

#include "base/array.h"
#include "base/file.h"

/* "BertForMaskedLM" -> "Bert": what stands before the part that names the head. */
static size_t class_stem(const char *architecture)
{
    static const char *const heads[] = {"ForMaskedLM",
                                        "ForCausalLM",
                                        "ForSequenceClassification",
                                        "ForTokenClassification",
                                        "ForQuestionAnswering",
                                        "ForQuestionAnsweringSimple",
                                        "ForConditionalGeneration",
                                        "ForPreTraining",
                                        "ForMultipleChoice",
                                        "ForNextSentencePrediction",
                                        "DoubleHeadsModel",
                                        "WithLMHeadModel",
                                        "LMHeadModel",
                                        "EncoderModel",
                                        "MTModel",
                                        "Model",
                                        NULL};
    const mltf_str s = str_from(architecture);
    for (size_t i = 0; heads[i]; i++) {
        const size_t n = strlen(heads[i]);
        if (s.n > n && str_ends(s, heads[i])) return s.n - n;
    }
    return 0;
}

/* What config.json says before the model is loaded. In the pipeline's arena. */
typedef struct {
    mltf_str model_type;
    const char *architecture; /* the class that it names, or NULL */
    const char *base; /* the class without a head of its model_type; NULL: the type is not known */
    bool sentences;   /* the folder is sentence-transformers' */
} model_names;

static mltf_status read_names(model_names *out, const pipeline *p, const char *dir,
                              const json *overrides, mltf_arena *arena, mltf_err *err)
{
    char *path = path_join(dir, "config.json"), *modules = path_join(p->folder, "modules.json");
    out->sentences = modules && file_exists(modules);
    free(modules);
    if (!path) return mltf_fail_memory(err);
    json_doc doc = JSON_DOC_INIT;
    const mltf_status st = json_parse_file(&doc, path, NULL, err);
    free(path);
    const json *list = json_get(overrides, "architectures");
    if (!list) list = json_get(doc.root, "architectures");
    const mltf_str name = json_string(json_at(list, 0), (mltf_str){0});
    out->architecture = name.p ? arena_strdup(arena, name.p, name.n) : NULL;
    const mltf_str type = json_string(json_get(doc.root, "model_type"), STR(""));
    out->model_type = (mltf_str){arena_strdup(arena, type.p, type.n), type.n};
    out->base = arch_base_class(type);
    json_doc_release(&doc);
    return st;
}

/* The class of the family that is `stem` and the task's ending, or another one that some families have for it; NULL:
 * there is none. */
static const char *class_with_head(const char *suffix, const model_names *names, mltf_str stem,
                                   mltf_arena *arena)
{
    static const struct {
        const char *suffix, *ending;
    } endings[] = {{"ForCausalLM", "LMHeadModel"},              // gpt2
                   {"ForMaskedLM", "WithLMHeadModel"},          // xlm
                   {"ForMaskedLM", "ForConditionalGeneration"}, // bart
                   {"ForConditionalGeneration", "MTModel"}};    // marian
    const char *name = arena_printf(arena, STR_FMT "%s", STR_ARG(stem), suffix);
    if (name && arch_has_class(names->model_type, name)) return name;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if (strcmp(suffix, endings[i].suffix) != 0) continue;
        name = arena_printf(arena, STR_FMT "%s", STR_ARG(stem), endings[i].ending);
        if (name && arch_has_class(names->model_type, name)) return name;
    }
    return NULL;
}

/* The class that the task's AutoModel makes of the checkpoint; NULL: that of the checkpoint itself. As there, the
 * model_type counts: where config.json names no class, or one that is not of that type (an old name, a trainer's own
 * class), the task's class of the type is meant. */
static const char *class_for_task(const task_def *def, const model_names *names, mltf_arena *arena)
{
    const bool own = names->architecture &&
                     (!names->base || arch_has_class(names->model_type, names->architecture));
    const char *given = own ? names->architecture : names->base;
    if (!def->class_suffix || !given) return NULL;
    const mltf_str s = str_from(given), stem = str_slice(s, 0, class_stem(given));
    const bool base = strcmp(def->class_suffix, "Model") == 0;
    // sentence-transformers takes the encoder of T5 and its kin alone
    const bool sentences =
        names->sentences || strcmp(def->info.pipeline_class, "SentenceTransformer") == 0;
    const char *alone =
        base && sentences ? arena_printf(arena, STR_FMT "EncoderModel", STR_ARG(stem)) : NULL;
    if (alone && arch_has_class(names->model_type, alone)) return alone;
    const bool with_head =
        str_ends(s, "LMHeadModel") || str_ends(s, "MTModel") || str_ends(s, "DoubleHeadsModel");
    if (base ? str_ends(s, "Model") && !with_head : str_ends(s, def->class_suffix)) return given;
    if (base && names->base) return names->base;
    const char *name = stem.n ? class_with_head(def->class_suffix, names, stem, arena) : NULL;
    if (name) return name;
    for (size_t i = 0; own && def->class_also && def->class_also[i]; i++)
        if (str_ends(s, def->class_also[i])) return given;
    // a type that AutoModelForSeq2SeqLM does not know is made as config.json says
    if (!stem.n || strcmp(def->class_suffix, "ForConditionalGeneration") == 0) return NULL;
    return arena_printf(arena, STR_FMT "%s", STR_ARG(stem), def->class_suffix);
}

/* "translation" alone takes the first translation_… of the model's task_specific_params. */
static mltf_status settle_translation(pipeline *p, mltf_err *err)
{
    if (strcmp(p->task, "translation") != 0) return MLTF_OK;
    const json *params = json_get(p->info->config, "task_specific_params");
    for (size_t i = 0; params && params->type == JSON_OBJECT && i < params->o.n; i++) {
        const mltf_str key = params->o.members[i].key;
        if (!str_starts(key, "translation")) continue;
        char *task = strndup(key.p, key.n);
        if (!task) return mltf_fail_memory(err);
        free(p->task);
        p->task = task;
        break;
    }
    return MLTF_OK;
}

const char *pipeline_model_root(const char *dir, mltf_arena *arena)
{
    const char *root = dir;
    char *config = path_join(dir, "config.json"), *modules = path_join(dir, "modules.json");
    json_doc doc = JSON_DOC_INIT;
    if (config && modules && !file_exists(config) &&
        json_parse_file(&doc, modules, NULL, NULL) == MLTF_OK)
        for (size_t i = 0; i < json_len(doc.root); i++) {
            const json *module = json_at(doc.root, i);
            const mltf_str path = json_string(json_get(module, "path"), STR(""));
            if (!str_ends(json_string(json_get(module, "type"), STR("")), "Transformer")) continue;
            if (path.n && path_is_inside(path))
                root = arena_printf(arena, "%s/" STR_FMT, dir, STR_ARG(path));
        }
    json_doc_release(&doc);
    free(config);
    free(modules);
    return root;
}

/* p->def and p->task: the task asked for, or the one that the checkpoint's class is made for. */
static mltf_status find_task(pipeline *p, const char *task, const char *architecture, mltf_err *err)
{
    if (!task && architecture) task = task_from_architecture(architecture);
    if (!task)
        return mltf_fail(
            err, MLTF_INVALID_INPUT,
            "the task of the model in \"%s\" is not known from its architecture %s; name the task",
            p->model_dir, architecture ? architecture : "(none in config.json)");
    p->def = task_def_find(task);
    if (!p->def)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "unknown task \"%s\"; a task is named as in transformers, such as %s",
                         task, "\"text-generation\" or \"text-classification\"");
    if (!p->def->call)
        return mltf_fail(err, MLTF_UNSUPPORTED, "the task \"%s\" is not served by this version",
                         p->def->info.name);
    p->task = strdup(strncmp(task, "translation_", 12) == 0 ? task : p->def->info.name);
    return p->task ? MLTF_OK : mltf_fail_memory(err);
}

/* Some tasks do without, but not with a broken one. */
static mltf_status load_tokenizer(pipeline *p, const char *dir, mltf_err *err)
{
    mltf_err why = {0};
    const mltf_status st = tokenizer_load(&p->tk, dir, &why);
    if (!st || (p->def->no_tokenizer && st == MLTF_NOT_FOUND)) return MLTF_OK;
    if (err) *err = why;
    return st;
}

static mltf_status load_parts(pipeline *p, const pipeline_options *given, mltf_err *err)
{
    const char *dir = pipeline_model_root(given->model_dir, &p->arena);
    if (!dir) return mltf_fail_memory(err);
    p->model_dir = strdup(dir);
    p->folder = strdup(given->model_dir);
    if (!p->model_dir || !p->folder) return mltf_fail_memory(err);

    arch_load_options arch = given->arch;
    model_names names = {0};
    TRY(read_names(&names, p, dir, arch.config_overrides, &p->arena, err));
    TRY(find_task(p, given->task, names.architecture, err));
    if (!arch.architecture) arch.architecture = class_for_task(p->def, &names, &p->arena);
    TRY(arch_model_load(&p->model, dir, &arch, err));
    p->info = arch_model_info(p->model);
    TRY(load_tokenizer(p, given->tokenizer_dir ? given->tokenizer_dir : dir, err));
    TRY(task_forwards_new(&p->forwards, err));
    TRY(settle_translation(p, err));
    if (p->def->info.generates) TRY(task_generation_init(p, err));
    return p->def->init ? p->def->init(p, err) : MLTF_OK;
}

mltf_status pipeline_load(pipeline **out, const pipeline_options *given, mltf_err *err)
{
    *out = NULL;
    pipeline *p = calloc(1, sizeof *p);
    if (!p || pthread_mutex_init(&p->lock, NULL) != 0) {
        free(p);
        return mltf_fail_memory(err);
    }
    const mltf_status st = load_parts(p, given, err);
    if (st)
        pipeline_free(p);
    else
        *out = p;
    return st;
}

void pipeline_free(pipeline *p)
{
    if (!p) return;
    if (p->def && p->def->release) p->def->release(p);
    task_schedule_free(p->schedule);
    task_forwards_free(p->forwards);
    for (size_t i = 0; i < p->n_idle; i++) arch_session_free(p->idle[i]);
    free(p->idle);
    gen_trie_free(p->trie);
    tokenizer_free(p->tk);
    arch_model_free(p->model);
    arena_release(&p->arena);
    pthread_mutex_destroy(&p->lock);
    free(p->task);
    free(p->model_dir);
    free(p->folder);
    free(p);
}

/* Keywords that every pipeline takes and that change nothing here: workers and batch size. */
static const json *common_kwargs(const json *kwargs, size_t *batch_size, mltf_arena *arena)
{
    static const char *const common[] = {"batch_size", "num_workers"};
    *batch_size = 0;
    if (!kwargs) return NULL;
    const int64_t batch = json_int(json_get(kwargs, "batch_size"), 0);
    if (batch > 0) *batch_size = (size_t)batch;
    if (!json_get(kwargs, common[0]) && !json_get(kwargs, common[1])) return kwargs;
    json *own = json_new_object(arena);
    for (size_t i = 0; i < kwargs->o.n; i++) {
        const json_member *m = &kwargs->o.members[i];
        if (!str_is(m->key, common[0]) && !str_is(m->key, common[1]))
            json_add_str(arena, own, m->key, &m->value);
    }
    return own;
}

mltf_status pipeline_call(const pipeline *p, const json *input, const json *kwargs,
                          const call_control *ctl, mltf_arena *arena, json **out, mltf_err *err)
{
    *out = NULL;
    if (kwargs && kwargs->type == JSON_NULL) kwargs = NULL;
    if (kwargs && kwargs->type != JSON_OBJECT)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "the keywords of a pipeline call must be an object, not %s",
                         json_type_name(kwargs));
    static const call_control none = {0};
    task_call c = {.p = p, .input = input, .ctl = ctl ? ctl : &none, .arena = arena};
    c.kwargs = common_kwargs(kwargs, &c.batch_size, arena);
    TRY(task_check(&c, err));
    TRY(p->def->call(&c, out, err));
    if (arena->failed || !*out) return mltf_fail_memory(err);
    return MLTF_OK;
}

const char *pipeline_task(const pipeline *p)
{
    return p->task;
}
const char *pipeline_class(const pipeline *p)
{
    return p->def->info.pipeline_class;
}
const arch_model *pipeline_model(const pipeline *p)
{
    return p->model;
}
const tokenizer *pipeline_tokenizer(const pipeline *p)
{
    return p->tk;
}
const json *pipeline_generation_config(const pipeline *p)
{
    return p->generation;
}
const gen_config *pipeline_gen(const pipeline *p)
{
    return p->def->info.generates ? &p->gen : NULL;
}

mltf_status pipeline_trie(const pipeline *cp, const gen_trie **out, mltf_err *err)
{
    pipeline *p = (pipeline *)cp;
    mltf_status st = MLTF_OK;
    pthread_mutex_lock(&p->lock);
    if (!p->trie) st = gen_trie_new(&p->trie, p->tk, p->info->vocab, err);
    *out = p->trie;
    pthread_mutex_unlock(&p->lock);
    return st;
}

/* Sessions are kept when given back: their scratch has grown to the size that calls need. The pool is
 * the one part of a pipeline that changes, so it hides behind the lock. */
mltf_status pipeline_session_take(const pipeline *cp, arch_session **out, mltf_err *err)
{
    pipeline *p = (pipeline *)cp;
    arch_session *s = NULL;
    pthread_mutex_lock(&p->lock);
    if (p->n_idle > 0) s = p->idle[--p->n_idle];
    pthread_mutex_unlock(&p->lock);
    if (s) {
        *out = s;
        return MLTF_OK;
    }
    return arch_session_new(out, p->model, err);
}

void pipeline_session_give(const pipeline *cp, arch_session *s)
{
    if (!s) return;
    pipeline *p = (pipeline *)cp;
    pthread_mutex_lock(&p->lock);
    const bool kept = ARRAY_RESERVE(p->idle, p->cap_idle, p->n_idle + 1);
    if (kept) p->idle[p->n_idle++] = s;
    pthread_mutex_unlock(&p->lock);
    if (!kept) arch_session_free(s);
}
