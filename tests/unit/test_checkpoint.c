/* Weights of every storage form, sound and broken; safetensors written and read again. */
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "formats/checkpoint.h"
#include "formats/safetensors_write.h"

#define FIXTURES "tests/fixtures/checkpoints/"
#define VIEWS    FIXTURES "ok-bin-views-and-shared-storage" /* its final norm has values of its own */

static checkpoint *open_ok(const char *dir)
{
    checkpoint *ck;
    mltf_err err = {0};
    if (checkpoint_open(&ck, dir, NULL, &err)) fail_msg("%s", err.msg);
    return ck;
}

static void refuses(const char *dir, mltf_status want, const char *words)
{
    checkpoint *ck;
    mltf_err err = {0};
    const mltf_status st = checkpoint_open(&ck, dir, NULL, &err);
    if (st != want)
        fail_msg("%s: %s (%s) instead of %s", dir, mltf_status_name(st), err.msg,
                 mltf_status_name(want));
    if (!strstr(err.msg, words)) fail_msg("%s: \"%s\" does not say \"%s\"", dir, err.msg, words);
    assert_null(ck);
}

static void test_all_forms_of_storage_give_the_same_tensors(void **state)
{
    (void)state;
    static const char *const dirs[] = {
        FIXTURES "ok-sharded", FIXTURES "ok-bin", FIXTURES "ok-bin-legacy",
        FIXTURES "ok-bin-views-and-shared-storage", FIXTURES "bin-deflated"};
    checkpoint *want = open_ok(FIXTURES "ok-safetensors");
    assert_int_equal(checkpoint_count(want), 16);
    assert_int_equal(checkpoint_bytes(want), 4576);
    for (size_t d = 0; d < sizeof dirs / sizeof *dirs; d++) {
        checkpoint *ck = open_ok(dirs[d]);
        assert_int_equal(checkpoint_count(ck), 16);
        for (size_t i = 0; i < 16; i++) {
            const ck_tensor *a = checkpoint_at(want, i), *b = checkpoint_find(ck, a->name);
            if (!b) fail_msg("%s lacks %s", dirs[d], a->name);
            assert_int_equal(a->dtype, b->dtype);
            assert_int_equal(a->ndim, b->ndim);
            assert_memory_equal(a->shape, b->shape, a->ndim * sizeof a->shape[0]);
            assert_int_equal(a->bytes, b->bytes);
            if (strcmp(dirs[d], VIEWS) == 0 && strncmp(a->name, "transformer.ln_f.", 17) == 0) {
                // elements 10, 11, … and 100, 102, … of one storage that holds i / 4000
                const bool bias = strcmp(a->name + 17, "bias") == 0;
                for (int k = 0; k < 8; k++) {
                    float x;
                    memcpy(&x, (const char *)b->data + 4 * k, 4);
                    assert_true(x == (float)(bias ? 100 + 2 * k : 10 + k) / 4000.0f);
                }
                continue;
            }
            if (memcmp(a->data, b->data, a->bytes) != 0)
                fail_msg("%s: %s differs", dirs[d], a->name);
        }
        assert_null(checkpoint_find(ck, "no.such.tensor"));
        assert_null(checkpoint_at(ck, 16));
        checkpoint_close(ck);
    }
    checkpoint *half = open_ok(FIXTURES "ok-bin-parameters-half");
    for (size_t i = 0; i < 16; i++) {
        const ck_tensor *a = checkpoint_at(want, i), *b = checkpoint_find(half, a->name);
        assert_non_null(b);
        assert_int_equal(b->dtype, DT_F16);
        for (size_t k = 0; k < a->count; k++) {
            float x;
            uint16_t y;
            memcpy(&x, (const char *)a->data + 4 * k, 4);
            memcpy(&y, (const char *)b->data + 2 * k, 2);
            assert_int_equal(f32_to_f16(x), y);
        }
    }
    checkpoint_close(half);
    checkpoint_close(want);
    checkpoint_close(NULL);
}

static void test_a_tensor_in_two_shards_comes_from_the_one_that_the_index_names(void **state)
{
    (void)state;
    checkpoint *both = open_ok(FIXTURES "shard-tensor-in-both"), *shard;
    assert_int_equal(checkpoint_open(&shard, FIXTURES "shard-tensor-in-both",
                                     "model-00002-of-00002.safetensors", NULL),
                     MLTF_OK);
    for (size_t i = 0; i < checkpoint_count(shard); i++) {
        const ck_tensor *a = checkpoint_at(shard, i), *b = checkpoint_find(both, a->name);
        assert_non_null(b);
        assert_memory_equal(a->data, b->data, a->bytes);
    }
    checkpoint_close(shard);
    checkpoint_close(both);
}

static void test_broken_and_hostile_files_are_refused_in_words(void **state)
{
    (void)state;
    refuses(FIXTURES "bin-os-system", MLTF_UNSUPPORTED, "wants to use posix.system");
    refuses(FIXTURES "bin-legacy-os-system", MLTF_UNSUPPORTED, "wants to use posix.system");
    refuses(FIXTURES "bin-stride-zero-huge", MLTF_CORRUPT_FILE, "far more than the file holds");
    refuses(FIXTURES "bin-view-past-storage", MLTF_CORRUPT_FILE, "past the end of its storage");
    refuses(FIXTURES "bin-memo-bomb", MLTF_CORRUPT_FILE, "no dict of tensors");
    refuses(FIXTURES "shard-path-traversal", MLTF_CORRUPT_FILE, "a file outside of the directory");
    refuses(FIXTURES "shard-tensor-elsewhere", MLTF_CORRUPT_FILE, "where the index looks for it");
    refuses(FIXTURES "st-is-lfs-pointer", MLTF_UNSUPPORTED, "git lfs pull");
    refuses(FIXTURES, MLTF_NOT_FOUND, "no file named model.safetensors");
    refuses(FIXTURES "missing", MLTF_NOT_FOUND, "no such file");
}

/* ---- headers made here --------------------------------------------------------------------- */

static char *dir;

static int enter(void **state)
{
    (void)state;
    dir = unit_new_folder();
    return !dir;
}

static int leave(void **state)
{
    (void)state;
    return unit_remove_folder(dir);
}

static void put_file(const char *header, size_t data_bytes)
{
    mltf_buf b = MLTF_BUF_INIT;
    uint64_t n = strlen(header);
    for (int i = 0; i < 8; i++) buf_putc(&b, (char)(n >> (8 * i)));
    buf_puts(&b, header);
    for (size_t i = 0; i < data_bytes; i++) buf_putc(&b, (char)i);
    char *path = path_join(dir, "model.safetensors");
    assert_int_equal(file_write(path, b.p, b.n, NULL), MLTF_OK);
    free(path);
    mltf_buf_release(&b);
}

static void test_safetensors_headers_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *words; // NULL: sound
    } rows[] = {
        {"{}", 0, NULL},
        {"{}   ", 0, NULL},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, NULL},
        {"{\"b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[3,3]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}",
         3, NULL},
        {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[],\"data_offsets\":[0,1],\"more\":{}}}", 1,
         NULL},
        {"[]", 0, "not a JSON object"},
        {"{} x", 0, "Extra data"},
        {"{", 0, "not sound"},
        {"{\"a\":1}", 0, "not described by an object"},
        {"{\"a\":{}}", 0, "has no dtype"},
        {"{\"a\":{\"dtype\":7}}", 0, "has no dtype"},
        {"{\"a\":{\"dtype\":\"F4\"}}", 0, "unknown dtype \"F4\""},
        {"{\"a\":{\"dtype\":\"U8\"}}", 0, "has no shape"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[]}}", 0, "has no data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0]}}", 0, "has no data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1.0]}}", 1,
         "has no data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}", 1, "dimension"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[true],\"data_offsets\":[0,1]}}", 1, "dimension"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,2]}}", 1, "lies at bytes"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,0]}}", 1, "lies at bytes"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[-1,0]}}", 1, "lies at bytes"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,1]}}", 1, "shape and dtype"},
        {"{\"a\":{\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", 0,
         "shape and dtype"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
         "more elements"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 2,
         "behind the last tensor"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2,
         "there is a hole before it"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
         3, "tensors overlap"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
         2, "duplicate key \"a\""},
        {"{\"__metadata__\":[]}", 0, "__metadata__"},
        {"{\"__metadata__\":{\"x\":1}}", 0, "__metadata__"},
        {"{\"__metadata__\":{\"format\":\"tf\"}}", 0, "saved by \"tf\""},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],\"data_offsets\":["
         "0,1]}}",
         1, "17 dimensions"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_file(rows[i].header, rows[i].data);
        checkpoint *ck;
        mltf_err err = {0};
        const mltf_status st = checkpoint_open(&ck, dir, NULL, &err);
        if (rows[i].words) {
            if (st == MLTF_OK || !strstr(err.msg, rows[i].words))
                fail_msg("%s: \"%s\" does not say \"%s\"", rows[i].header, err.msg, rows[i].words);
        } else if (st) {
            fail_msg("%s: %s", rows[i].header, err.msg);
        }
        checkpoint_close(ck);
    }
}

/* ---- written and read again ---------------------------------------------------------------- */

static mltf_status copy_tensor(void *user, size_t i, st_sink *to, mltf_err *err)
{
    const ck_tensor *t = checkpoint_at(user, i);
    const size_t half = t->bytes / 2;
    TRY(st_put(to, t->data, half, err));
    return st_put(to, (const char *)t->data + half, t->bytes - half, err);
}

static mltf_status too_little(void *user, size_t i, st_sink *to, mltf_err *err)
{
    (void)user, (void)i;
    return st_put(to, "x", 1, err);
}

static void test_safetensors_written_are_the_same_bytes_as_the_library_writes(void **state)
{
    (void)state;
    checkpoint *ck = open_ok(FIXTURES "by-library");
    st_spec specs[30];
    for (size_t i = 0; i < 30; i++) {
        const ck_tensor *t = checkpoint_at(ck, i);
        specs[i] = (st_spec){.name = t->name, .dtype = t->dtype, .ndim = t->ndim};
        memcpy(specs[i].shape, t->shape, sizeof specs[i].shape);
    }
    char *one = path_join(dir, "one"), *many = path_join(dir, "many"), *bad = path_join(dir, "bad");
    assert_int_equal(dir_make(one, NULL), MLTF_OK);
    assert_int_equal(dir_make(many, NULL), MLTF_OK);
    assert_int_equal(dir_make(bad, NULL), MLTF_OK);
    mltf_err err = {0};
    if (st_write(one, specs, 30, 0, copy_tensor, ck, NULL, NULL, &err)) fail_msg("%s", err.msg);
    assert_int_equal(st_write(one, specs, 30, 0, copy_tensor, ck, NULL, NULL, &err),
                     MLTF_ALREADY_EXISTS);
    char *path = path_join(one, "model.safetensors");
    mltf_buf a = MLTF_BUF_INIT, b = MLTF_BUF_INIT;
    assert_int_equal(file_read(&a, path, 1 << 20, NULL), MLTF_OK);
    assert_int_equal(file_read(&b, FIXTURES "by-library/model.safetensors", 1 << 20, NULL),
                     MLTF_OK);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.p, b.p, a.n);
    mltf_buf_release(&a);
    mltf_buf_release(&b);
    free(path);

    if (st_write(many, specs, 30, 60, copy_tensor, ck, NULL, NULL, &err)) fail_msg("%s", err.msg);
    path = path_join(many, "model.safetensors.index.json");
    assert_true(file_exists(path));
    free(path);
    checkpoint *back = open_ok(many);
    assert_int_equal(checkpoint_count(back), 30);
    for (size_t i = 0; i < 30; i++) {
        const ck_tensor *x = checkpoint_at(ck, i), *y = checkpoint_at(back, i);
        assert_string_equal(x->name, y->name);
        assert_memory_equal(x->data, y->data, x->bytes);
    }
    checkpoint_close(back);

    assert_int_equal(st_write(bad, specs, 30, 0, too_little, NULL, NULL, NULL, &err),
                     MLTF_INTERNAL);
    dir_list left;
    assert_int_equal(dir_read(&left, bad, NULL), MLTF_OK);
    assert_int_equal(left.n, 0);
    dir_list_free(&left);
    free(one);
    free(many);
    free(bad);
    checkpoint_close(ck);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_forms_of_storage_give_the_same_tensors),
        cmocka_unit_test(test_a_tensor_in_two_shards_comes_from_the_one_that_the_index_names),
        cmocka_unit_test(test_broken_and_hostile_files_are_refused_in_words),
        cmocka_unit_test(test_safetensors_headers_are_checked),
        cmocka_unit_test(test_safetensors_written_are_the_same_bytes_as_the_library_writes),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
