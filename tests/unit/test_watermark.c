/* Green lists against those of transformers 4.57 with torch 2.13:
 *     w = WatermarkLogitsProcessor(V, "cpu", seeding_scheme=…, context_width=2, greenlist_ratio=0.25)
 *     (w(torch.tensor([[3, 5, 7]]), x) != x).nonzero() */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gen/watermark.h"

static const int32_t ids[] = {3, 5, 7};

static void raises(bool selfhash, size_t vocab, const size_t *green, size_t n_green)
{
    mltf_arena arena = {0};
    const gen_watermark w = {.on = true,
                             .selfhash = selfhash,
                             .greenlist_ratio = 0.25,
                             .bias = 2,
                             .hashing_key = 15485863,
                             .context_width = 2};
    float scores[64];
    uint32_t order[64];
    for (size_t i = 0; i < vocab; i++) scores[i] = (float)(i * 37 % 61);
    const uint32_t *table = selfhash ? gen_watermark_table(&w, &arena) : NULL;
    gen_watermark_apply(&w, table, scores, vocab, ids, 3, order);
    for (size_t i = 0, k = 0; i < vocab; i++) {
        const bool is = k < n_green && green[k] == i;
        assert_true(scores[i] == (float)(i * 37 % 61) + (is ? 2.0f : 0.0f));
        k += is;
    }
    for (size_t i = 0; i < vocab; i++) scores[i] = 0;
    gen_watermark_apply(&w, table, scores, vocab, ids, 1, order); // shorter than the context
    for (size_t i = 0; i < vocab; i++) assert_true(scores[i] == 0);
    arena_release(&arena);
}

static void test_green_lists_are_torchs(void **state)
{
    (void)state;
    static const size_t left[] = {6, 7, 9, 12, 17}, self[] = {19, 34, 36, 37, 51, 52, 55, 59};
    raises(false, 20, left, 5);
    raises(true, 60, self, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_green_lists_are_torchs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
