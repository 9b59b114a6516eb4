/* A checkpoint of 20 GB is logged with less than 64 MB of memory: its weights are mapped and copied by the kernel, never
 * read. The file is one sparse tensor, so it takes no room and no time; skipped where a file system cannot hold it. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/json.h"
#include "mltf/mltf.h"

#define FIXTURE    "tests/fixtures/models/gpt2-base"
#define HIDDEN     4096
#define VOCABULARY 1200000 /* times 4096 floats: 19.7 GB, and the layer 0.8 GB */
#define LIMIT_KB   65536

static char *tmp;
static mltf_arena arena;

static const char *in_tmp(const char *name)
{
    return arena_printf(&arena, "%s/%s", tmp, name);
}

static void write_all(int fd, const void *p, size_t n)
{
    assert_int_equal(write(fd, p, n), n);
}

static int64_t add_tensor(json *header, int64_t at, const char *name, int64_t rows, int64_t cols)
{
    json *t = json_new_object(&arena), *shape = json_new_array(&arena),
         *offsets = json_new_array(&arena);
    const int64_t end = at + (int64_t)sizeof(float) * (rows ? rows : 1) * cols;
    if (rows) json_push(&arena, shape, json_new_int(&arena, rows));
    json_push(&arena, shape, json_new_int(&arena, cols));
    json_push(&arena, offsets, json_new_int(&arena, at));
    json_push(&arena, offsets, json_new_int(&arena, end));
    json_set(&arena, t, "dtype", json_new_cstr(&arena, "F32"));
    json_set(&arena, t, "shape", shape);
    json_set(&arena, t, "data_offsets", offsets);
    json_set(&arena, header, name, t);
    return end;
}

/* One layer of GPT-2, wide, with a large vocabulary; every weight is zero, that is, a hole in the file. False: no such
 * file can be. */
static bool write_weights(const char *path)
{
    static const struct {
        const char *name;
        int64_t rows, cols; /* rows 0: a vector */
    } tensors[] = {
        {"wte.weight", VOCABULARY, HIDDEN},
        {"wpe.weight", 128, HIDDEN},
        {"h.0.ln_1.weight", 0, HIDDEN},
        {"h.0.ln_1.bias", 0, HIDDEN},
        {"h.0.attn.c_attn.weight", HIDDEN, 3 * HIDDEN},
        {"h.0.attn.c_attn.bias", 0, 3 * HIDDEN},
        {"h.0.attn.c_proj.weight", HIDDEN, HIDDEN},
        {"h.0.attn.c_proj.bias", 0, HIDDEN},
        {"h.0.ln_2.weight", 0, HIDDEN},
        {"h.0.ln_2.bias", 0, HIDDEN},
        {"h.0.mlp.c_fc.weight", HIDDEN, 4 * HIDDEN},
        {"h.0.mlp.c_fc.bias", 0, 4 * HIDDEN},
        {"h.0.mlp.c_proj.weight", 4 * HIDDEN, HIDDEN},
        {"h.0.mlp.c_proj.bias", 0, HIDDEN},
        {"ln_f.weight", 0, HIDDEN},
        {"ln_f.bias", 0, HIDDEN},
    };
    json *header = json_new_object(&arena);
    int64_t n_data = 0;
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        n_data = add_tensor(header, n_data, arena_printf(&arena, "transformer.%s", tensors[i].name),
                            tensors[i].rows, tensors[i].cols);
    assert_true(n_data >= (int64_t)20000000000);
    mltf_buf text = MLTF_BUF_INIT;
    json_write(&text, header, NULL);
    while (text.n % 8) buf_putc(&text, ' ');
    const uint64_t n_header = text.n;
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    write_all(fd, &n_header, 8);
    write_all(fd, text.p, text.n);
    const off_t size = (off_t)(8 + text.n) + n_data;
    struct stat st;
    const bool fits = ftruncate(fd, size) == 0 && fstat(fd, &st) == 0 && st.st_blocks < 1 << 14 &&
                      lseek(fd, size - 1, SEEK_DATA) < 0;
    close(fd);
    mltf_buf_release(&text);
    return fits;
}

static void write_config(const char *path)
{
    json_doc doc = JSON_DOC_INIT;
    mltf_buf b = MLTF_BUF_INIT;
    assert_int_equal(json_parse_file(&doc, FIXTURE "/config.json", NULL, NULL), MLTF_OK);
    json_set(&doc.arena, doc.root, "vocab_size", json_new_int(&doc.arena, VOCABULARY));
    json_set(&doc.arena, doc.root, "n_embd", json_new_int(&doc.arena, HIDDEN));
    json_set(&doc.arena, doc.root, "n_layer", json_new_int(&doc.arena, 1));
    json_set(&doc.arena, doc.root, "n_head", json_new_int(&doc.arena, 32));
    json_write(&b, doc.root, NULL);
    assert_int_equal(file_write(path, b.p, b.n, NULL), MLTF_OK);
    mltf_buf_release(&b);
    json_doc_release(&doc);
}

/* In a process of its own, whose peak memory the kernel tells. */
static int log_it(void)
{
    const mltf_log_options o = {.name = "huge",
                                .tracking_uri = arena_printf(&arena, "sqlite:///%s/mlflow.db", tmp),
                                .save = {.task = "text-generation"}};
    mltf_buf info = MLTF_BUF_INIT;
    mltf_err err = {0};
    if (chdir(tmp) != 0) return 2;
    const mltf_status st = mltf_log_model("checkpoint", &o, &info, &err);
    if (st) fprintf(stderr, "%s\n", err.msg);
    mltf_buf_release(&info);
    return st ? 1 : 0;
}

static void test_a_checkpoint_of_20_gb_is_logged_in_64_mb(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    print_message("a sanitizer's own memory would be measured\n");
    skip();
#endif
    assert_int_equal(dir_make(in_tmp("checkpoint"), NULL), MLTF_OK);
    if (!write_weights(in_tmp("checkpoint/model.safetensors"))) {
        print_message("this file system holds no sparse file of 20 GB\n");
        skip();
    }
    write_config(in_tmp("checkpoint/config.json"));
    static const char *const files[] = {"tokenizer.json", "tokenizer_config.json",
                                        "special_tokens_map.json"};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(file_copy(arena_printf(&arena, FIXTURE "/%s", files[i]),
                                   in_tmp(arena_printf(&arena, "checkpoint/%s", files[i])), NULL,
                                   NULL, NULL),
                         MLTF_OK);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(log_it());
    int status = -1;
    struct rusage used;
    assert_int_equal(wait4(child, &status, 0, &used), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    print_message("peak memory %ld MB\n", used.ru_maxrss / 1024);
    assert_true(used.ru_maxrss < LIMIT_KB);
}

static int make_tmp(void **state)
{
    (void)state;
    tmp = unit_new_folder();
    return !tmp;
}

static int remove_tmp(void **state)
{
    (void)state;
    arena_release(&arena);
    return unit_remove_folder(tmp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_checkpoint_of_20_gb_is_logged_in_64_mb),
    };
    return cmocka_run_group_tests(tests, make_tmp, remove_tmp);
}
