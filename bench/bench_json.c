/* MB/s of reading and writing JSON: build/bench/bench_json FILE.json ... (without one: made-up text). */
#include <stdio.h>
#include <time.h>

#include "base/file.h"
#include "formats/json.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int bench(const char *name, mltf_str text)
{
    double best_read = 1e9, best_write = 1e9;
    size_t written = 0;
    mltf_buf out = MLTF_BUF_INIT;
    json_doc doc = JSON_DOC_INIT; // the arena's blocks are used again
    const mltf_arena_mark mark = arena_save(&doc.arena);
    for (int i = 0; i < 9; i++) {
        mltf_err err = {0};
        arena_restore(&doc.arena, mark);
        const double start = now();
        if (json_parse(&doc, text.p, text.n, NULL, &err)) {
            fprintf(stderr, "%s: %s\n", name, err.msg);
            return 1;
        }
        const double parsed = now();
        buf_clear(&out);
        json_write(&out, doc.root, NULL);
        const double end = now();
        written = out.n;
        if (parsed - start < best_read) best_read = parsed - start;
        if (end - parsed < best_write) best_write = end - parsed;
    }
    printf("%-28s %8.2f MB  read %7.0f MB/s  write %7.0f MB/s\n", name, (double)text.n / 1e6,
           (double)text.n / best_read / 1e6, (double)written / best_write / 1e6);
    mltf_buf_release(&out);
    json_doc_release(&doc);
    return 0;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        mltf_buf text = MLTF_BUF_INIT;
        mltf_err err = {0};
        if (file_read(&text, argv[i], (size_t)1 << 30, &err)) {
            fprintf(stderr, "%s\n", err.msg);
            failed = 1;
        } else {
            failed |= bench(argv[i], buf_str(&text));
        }
        mltf_buf_release(&text);
    }
    if (argc > 1) return failed;

    mltf_buf doubles = MLTF_BUF_INIT, words = MLTF_BUF_INIT;
    uint64_t r = 88172645463325252u;
    buf_putc(&doubles, '[');
    buf_putc(&words, '{');
    for (int i = 0; i < 200000; i++) {
        r ^= r << 13, r ^= r >> 7, r ^= r << 17;
        if (i) buf_puts(&doubles, ", "), buf_puts(&words, ",\n    ");
        json_write_double(&doubles, -20.0 * (double)(r >> 11) / 0x1p53);
        buf_printf(&words, "\"\\u0120tok%llx\": %d", (unsigned long long)(r >> 40), i);
    }
    buf_putc(&doubles, ']');
    buf_putc(&words, '}');
    failed =
        bench("doubles of 17 digits", buf_str(&doubles)) | bench("a vocabulary", buf_str(&words));
    mltf_buf_release(&doubles);
    mltf_buf_release(&words);
    return failed;
}
