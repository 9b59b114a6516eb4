/* Green lists against those of transformers 4.57 with torch 2.13:
 *     w = WatermarkLogitsProcessor(V, "cpu", seeding_scheme=…, context_width=2, greenlist_ratio=0.25)
 *     (w(torch.tensor([[3, 5, 7]]), x) != x).nonzero() */
#include "unit.h"

#include <math.h>

#include "gen/synthid.h"
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

/* p = SynthIDTextWatermarkLogitsProcessor(ngram_len=3, keys=[654, 400, 836], sampling_table_size=1000,
 *     sampling_table_seed=7, context_history_size=16, device="cpu"), one call for each token. */
static void test_synthid_draws_are_the_librarys(void **state)
{
    (void)state;
    static const int32_t generated[] = {9, 4, 9, 4, 9};
    static const float expected[4][8] = {
        {-6.14978f, -1.725595f, -5.672973f, -3.02478f, -4.427554f, -5.088171f, -1.600595f,
         -3.939978f},
        {-6.361265f, -4.847707f, -4.408397f, -2.792751f, -4.394839f, -7.035207f, -4.722707f,
         -3.839883f},
        {-5.244992f, -2.647193f, -5.393884f, -1.83331f, -5.541393f, -5.794703f, -2.807492f,
         -4.982203f},
        {-6.193199f, -3.716063f, -4.322561f, -2.903563f, -4.300284f, -6.961702f, -3.755699f,
         -4.987784f},
    };
    static const int64_t keys[] = {654, 400, 836};
    gen_synthid w = {.ngram_len = 3,
                     .keys = keys,
                     .n_keys = 3,
                     .table_size = 1000,
                     .table_seed = 7,
                     .history = 16};
    mltf_arena arena = {0};
    float scores[20], probs[20];
    const uint8_t *table = gen_synthid_table(&w, &arena);
    for (size_t n = 0; n <= 5; n++) {
        for (size_t i = 0; i < 20; i++) scores[i] = (float)(i * 37 % 61) / 16;
        gen_synthid_apply(&w, table, scores, 20, generated, n, probs);
        for (size_t i = 0; i < 8; i++) // contexts that were there before get no watermark
            assert_true(fabsf(scores[i] - (n < 4 ? expected[n][i] : (float)(i * 37 % 61) / 16)) <
                        2e-6f);
    }
    w.skip_first = true;
    for (size_t i = 0; i < 20; i++) scores[i] = 3;
    gen_synthid_apply(&w, table, scores, 20, generated, 1, probs);
    for (size_t i = 0; i < 20; i++) assert_true(scores[i] == 3);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_green_lists_are_torchs),
                                       cmocka_unit_test(test_synthid_draws_are_the_librarys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
