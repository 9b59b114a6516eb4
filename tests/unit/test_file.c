/* Files and directories on a real file system, in a directory of their own below $TMPDIR. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *place; // fresh for each test, the working directory

static int enter(void **state)
{
    (void)state;
    place = unit_new_folder();
    return !place || chdir(place) != 0;
}

static int leave(void **state)
{
    (void)state;
    return chdir("/") != 0 || unit_remove_folder(place);
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void holds(const char *path, const char *text)
{
    mltf_buf b = MLTF_BUF_INIT;
    mltf_err err = {0};
    if (file_read(&b, path, 1 << 20, &err)) fail_msg("%s", err.msg);
    assert_string_equal(b.p, text);
    mltf_buf_release(&b);
}

static void test_map_shows_the_bytes_of_a_file(void **state)
{
    (void)state;
    put("a", "hello");
    put("empty", "");
    mltf_map m;
    assert_int_equal(map_open(&m, "a", NULL), MLTF_OK);
    assert_int_equal(m.n, 5);
    assert_memory_equal(m.p, "hello", 5);
    map_close(&m);
    map_close(&m);
    assert_int_equal(map_open(&m, "empty", NULL), MLTF_OK);
    assert_null(m.p);
    mltf_err err = {0};
    assert_int_equal(map_open(&m, "missing", &err), MLTF_NOT_FOUND);
    assert_string_equal(err.msg, "could not open \"missing\": no such file or directory");
    assert_int_equal(map_open(&m, ".", &err), MLTF_IO);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    assert_int_equal(map_open(&m, "fifo", &err), MLTF_UNSUPPORTED); // and does not hang
}

static void test_read_appends_and_keeps_to_its_limit(void **state)
{
    (void)state;
    put("a", "12345");
    mltf_buf b = MLTF_BUF_INIT;
    buf_puts(&b, "x");
    assert_int_equal(file_read(&b, "a", 5, NULL), MLTF_OK);
    assert_string_equal(b.p, "x12345");
    assert_int_equal(file_read(&b, "a", 4, NULL), MLTF_CORRUPT_FILE);
    assert_string_equal(b.p, "x12345");
    assert_int_equal(file_read(&b, "/proc/self/cmdline", 1 << 20, NULL), MLTF_OK); // says size 0
    assert_true(b.n > 6);
    mltf_buf_release(&b);
}

static void test_write_replaces_the_whole_file_and_leaves_nothing_else(void **state)
{
    (void)state;
    assert_int_equal(file_write("a", "one", 3, NULL), MLTF_OK);
    assert_int_equal(chmod("a", 0640), 0);
    assert_int_equal(file_write("a", "two!", 4, NULL), MLTF_OK);
    holds("a", "two!");
    struct stat st;
    assert_int_equal(stat("a", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(mkdir("d", 0700), 0);
    assert_int_not_equal(file_write("d", "x", 1, NULL), MLTF_OK);
    assert_int_equal(file_write("no/such", "x", 1, NULL), MLTF_NOT_FOUND);
    dir_list l;
    assert_int_equal(dir_read(&l, ".", NULL), MLTF_OK);
    assert_int_equal(l.n, 2);
    dir_list_free(&l);
}

static void test_streams_are_read_to_their_end_and_written_in_place(void **state)
{
    (void)state;
    int ends[2];
    char path[32];
    struct stat st;
    mltf_buf b = MLTF_BUF_INIT;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "12345", 5), 5);
    close(ends[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    assert_int_equal(stream_read(&b, path, 5, NULL), MLTF_OK);
    assert_string_equal(b.p, "12345");
    close(ends[0]);
    assert_int_equal(stream_read(&b, "/dev/zero", 5, NULL), MLTF_CORRUPT_FILE);
    assert_string_equal(b.p, "12345");
    assert_int_equal(stream_read(&b, ".", 5, NULL), MLTF_IO);
    assert_int_equal(stream_read(&b, "missing", 5, NULL), MLTF_NOT_FOUND);
    mltf_buf_release(&b);

    assert_int_equal(stream_write("a", "one", 3, NULL), MLTF_OK);
    assert_int_equal(symlink("a", "link"), 0);
    assert_int_equal(stream_write("link", "of", 2, NULL), MLTF_OK);
    holds("a", "of");
    assert_int_equal(lstat("link", &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(mkfifo("fifo", 0600), 0);
    const int reader = open("fifo", O_RDONLY | O_NONBLOCK);
    assert_int_equal(stream_write("fifo", "xyz", 3, NULL), MLTF_OK);
    char got[4] = {0};
    assert_int_equal(read(reader, got, 3), 3);
    assert_string_equal(got, "xyz");
    close(reader);
}

static int cancel_at_once(void *user, const char *what, const char *unit, uint64_t done,
                          uint64_t total)
{
    (void)user, (void)what, (void)unit, (void)done, (void)total;
    return 1;
}

static int note_total(void *user, const char *what, const char *unit, uint64_t done, uint64_t total)
{
    (void)what, (void)unit;
    ((uint64_t *)user)[0] = done;
    ((uint64_t *)user)[1] = total;
    return 0;
}

static void test_copy_keeps_bytes_mode_and_holes(void **state)
{
    (void)state;
    const int fd = open("sparse", O_WRONLY | O_CREAT, 0640);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "begin", 5, 0), 5);
    assert_int_equal(pwrite(fd, "end", 3, 64 << 20), 3);
    assert_int_equal(ftruncate(fd, 80 << 20), 0);
    close(fd);
    uint64_t seen[2] = {0};
    assert_int_equal(file_copy("sparse", "copy", note_total, seen, NULL), MLTF_OK);
    assert_int_equal(seen[1], 80 << 20);
    struct stat a, b;
    assert_int_equal(stat("sparse", &a), 0);
    assert_int_equal(stat("copy", &b), 0);
    assert_int_equal(a.st_size, b.st_size);
    assert_int_equal(b.st_mode & 0777, 0640);
    assert_true(b.st_blocks <= a.st_blocks + 64);
    mltf_map x, y;
    assert_int_equal(map_open(&x, "sparse", NULL), MLTF_OK);
    assert_int_equal(map_open(&y, "copy", NULL), MLTF_OK);
    assert_memory_equal(x.p, y.p, x.n);
    map_close(&x);
    map_close(&y);
    assert_int_equal(file_copy("sparse", "copy", NULL, NULL, NULL), MLTF_ALREADY_EXISTS);
    assert_int_equal(file_copy("sparse", "cancelled", cancel_at_once, NULL, NULL), MLTF_CANCELLED);
    assert_false(file_exists("cancelled"));
    put("empty", "");
    assert_int_equal(file_copy("empty", "empty2", NULL, NULL, NULL), MLTF_OK);
    holds("empty2", "");
}

static int skip_git(const char *rel)
{
    return strcmp(rel, "sub/.git") == 0;
}

static void test_copy_of_a_tree(void **state)
{
    (void)state;
    assert_int_equal(dir_make("t/sub/.git/x", NULL), MLTF_OK);
    assert_int_equal(dir_make("t/sub/.git/x", NULL), MLTF_OK);
    put("t/a", "A");
    put("t/sub/b", "BB");
    put("t/sub/.git/config", "no");
    assert_int_equal(symlink("../a", "t/sub/link"), 0);
    uint64_t seen[2], size;
    mltf_err err = {0};
    if (dir_copy("t", "new/copy", skip_git, note_total, seen, &err)) fail_msg("%s", err.msg);
    holds("new/copy/a", "A");
    holds("new/copy/sub/b", "BB");
    holds("new/copy/sub/link", "A");
    assert_false(dir_exists("new/copy/sub/.git"));
    assert_int_equal(seen[0], 4);
    assert_int_equal(seen[1], 4);
    assert_int_equal(dir_size(&size, "new/copy", NULL), MLTF_OK);
    assert_int_equal(size, 4);
}

static void test_copy_refuses_links_that_lead_out(void **state)
{
    (void)state;
    assert_int_equal(mkdir("t", 0700), 0);
    put("secret", "s");
    assert_int_equal(symlink("../secret", "t/x"), 0);
    mltf_err err = {0};
    assert_int_equal(dir_copy("t", "c", NULL, NULL, NULL, &err), MLTF_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "leads out of the directory"));
    assert_int_equal(unlink("t/x"), 0);
    assert_int_equal(symlink(".", "t/self"), 0);
    assert_int_equal(dir_copy("t", "c2", NULL, NULL, NULL, &err), MLTF_UNSUPPORTED);
    assert_int_equal(unlink("t/self"), 0);
    assert_int_equal(symlink("nowhere", "t/dangling"), 0);
    assert_int_equal(dir_copy("t", "c3", NULL, NULL, NULL, &err), MLTF_NOT_FOUND);
}

static void test_copy_follows_the_links_of_a_hub_cache(void **state)
{
    (void)state;
    assert_int_equal(dir_make("models--x/blobs", NULL), MLTF_OK);
    assert_int_equal(dir_make("models--x/snapshots/abc/onnx", NULL), MLTF_OK);
    put("models--x/blobs/h1", "{}");
    assert_int_equal(symlink("../../blobs/h1", "models--x/snapshots/abc/config.json"), 0);
    assert_int_equal(symlink("../../../blobs/h1", "models--x/snapshots/abc/onnx/c.json"), 0);
    mltf_err err = {0};
    if (dir_copy("models--x/snapshots/abc", "c", NULL, NULL, NULL, &err)) fail_msg("%s", err.msg);
    holds("c/config.json", "{}");
    struct stat st;
    assert_int_equal(lstat("c/onnx/c.json", &st), 0);
    assert_true(S_ISREG(st.st_mode));
    // the blobs of another repository are not this one's
    assert_int_equal(dir_make("models--y/blobs", NULL), MLTF_OK);
    put("models--y/blobs/h2", "x");
    assert_int_equal(symlink("../../../models--y/blobs/h2", "models--x/snapshots/abc/y"), 0);
    assert_int_equal(dir_copy("models--x/snapshots/abc", "c2", NULL, NULL, NULL, &err),
                     MLTF_UNSUPPORTED);
}

static void test_remove_does_not_follow_links(void **state)
{
    (void)state;
    assert_int_equal(dir_make("keep", NULL), MLTF_OK);
    put("keep/a", "A");
    assert_int_equal(dir_make("t/x/y", NULL), MLTF_OK);
    assert_int_equal(symlink("../../keep", "t/x/link"), 0);
    assert_int_equal(dir_remove("t", NULL), MLTF_OK);
    assert_false(dir_exists("t"));
    holds("keep/a", "A");
    assert_int_equal(dir_remove("t", NULL), MLTF_OK);
}

static void test_transaction_appears_whole_or_not_at_all(void **state)
{
    (void)state;
    dir_txn t;
    mltf_err err = {0};
    assert_int_equal(dir_txn_begin(&t, "deep/model/", &err), MLTF_OK);
    assert_false(dir_exists("deep/model"));
    char *file = path_join(t.path, "MLmodel");
    put(file, "x");
    free(file);
    assert_int_equal(dir_txn_commit(&t, &err), MLTF_OK);
    dir_txn_abort(&t);
    holds("deep/model/MLmodel", "x");
    dir_list l;
    assert_int_equal(dir_read(&l, "deep", NULL), MLTF_OK);
    assert_int_equal(l.n, 1);
    dir_list_free(&l);
    assert_int_equal(dir_txn_begin(&t, "deep/model", &err), MLTF_ALREADY_EXISTS);
    assert_string_equal(err.msg, "Path 'deep/model' already exists and is not empty");
    dir_txn_abort(&t);
    // an empty target is fine, an abort leaves nothing
    assert_int_equal(dir_make("empty", NULL), MLTF_OK);
    assert_int_equal(dir_txn_begin(&t, "empty", &err), MLTF_OK);
    assert_int_equal(dir_txn_commit(&t, &err), MLTF_OK);
    assert_int_equal(dir_txn_begin(&t, "other", &err), MLTF_OK);
    dir_txn_abort(&t);
    dir_txn_abort(&t);
    assert_int_equal(dir_read(&l, ".", NULL), MLTF_OK);
    assert_int_equal(l.n, 2);
    dir_list_free(&l);
    // whoever was first wins
    assert_int_equal(dir_txn_begin(&t, "race", &err), MLTF_OK);
    assert_int_equal(dir_make("race", NULL), MLTF_OK);
    put("race/a", "A");
    assert_int_equal(dir_txn_commit(&t, &err), MLTF_ALREADY_EXISTS);
    dir_txn_abort(&t);
    holds("race/a", "A");
}

static void test_transaction_sweeps_what_a_crash_left(void **state)
{
    (void)state;
    const pid_t child = fork();
    if (child == 0) {
        dir_txn t;
        if (dir_txn_begin(&t, "model", NULL)) _exit(1);
        _exit(0); // a crash, as far as the directory can tell
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    dir_txn alive, next;
    assert_int_equal(dir_txn_begin(&alive, "model", NULL), MLTF_OK); // sweeps the child's
    assert_int_equal(dir_txn_begin(&next, "model", NULL), MLTF_OK);  // leaves this one
    assert_true(dir_exists(alive.path));
    dir_list l;
    assert_int_equal(dir_read(&l, ".", NULL), MLTF_OK);
    assert_int_equal(l.n, 2);
    dir_list_free(&l);
    dir_txn_abort(&next);
    dir_txn_abort(&alive);
}

static void test_paths(void **state)
{
    (void)state;
    static const char *const inside[] = {
        "a", "a/b", "a//b", "./a", "a..b", "..a", "a../b", "model-00001-of-00002.safetensors"};
    static const char *const outside[] = {"",       "/a", "..",   "../a", "a/..",
                                          "a/../b", "a/", "a\\b", "..\\a"};
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
        assert_true(path_is_inside(str_from(inside[i])));
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        assert_false(path_is_inside(str_from(outside[i])));
    assert_false(path_is_inside((mltf_str){"a\0b", 3}));
    static const char *const rows[][3] = {{"a/b", "a", "b"},  {"a/b/", "a", "b"},
                                          {"b", ".", "b"},    {"/b", "/", "b"},
                                          {"a//b", "a", "b"}, {"/a/b", "/a", "b"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *parent = path_parent(rows[i][0]), *name = path_name(rows[i][0]);
        assert_string_equal(parent, rows[i][1]);
        assert_string_equal(name, rows[i][2]);
        free(parent);
        free(name);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, enter, leave)
    const struct CMUnitTest tests[] = {
        T(test_map_shows_the_bytes_of_a_file),
        T(test_read_appends_and_keeps_to_its_limit),
        T(test_write_replaces_the_whole_file_and_leaves_nothing_else),
        T(test_streams_are_read_to_their_end_and_written_in_place),
        T(test_copy_keeps_bytes_mode_and_holes),
        T(test_copy_of_a_tree),
        T(test_copy_refuses_links_that_lead_out),
        T(test_copy_follows_the_links_of_a_hub_cache),
        T(test_remove_does_not_follow_links),
        T(test_transaction_appears_whole_or_not_at_all),
        T(test_transaction_sweeps_what_a_crash_left),
        cmocka_unit_test(test_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
