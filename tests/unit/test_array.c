/* Arrays that grow, of the heap and of an arena. */
#include "unit.h"

#include "base/arena.h"
#include "base/array.h"

static void growing_keeps_what_was_there(void **state)
{
    (void)state;
    uint32_t *v = NULL;
    size_t cap = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        assert_true(ARRAY_RESERVE(v, cap, i + 1));
        v[i] = i * 7;
    }
    assert_true(cap >= 1000);
    for (uint32_t i = 0; i < 1000; i++) assert_int_equal(v[i], i * 7);
    free(v);
}

static void room_that_is_there_is_left_alone(void **state)
{
    (void)state;
    char *v = NULL;
    size_t cap = 0;
    assert_true(ARRAY_RESERVE(v, cap, 100));
    const char *before = v;
    const size_t had = cap;
    assert_true(array_reserve(&v, &cap, had, 1));
    assert_ptr_equal(v, before);
    assert_int_equal(cap, had);
    free(v);
}

static void sizes_past_the_memory_change_nothing(void **state)
{
    (void)state;
    uint64_t *v = NULL;
    size_t cap = 0;
    assert_true(ARRAY_RESERVE(v, cap, 3));
    v[2] = 42;
    const uint64_t *before = v;
    const size_t had = cap;
    assert_false(ARRAY_RESERVE(v, cap, SIZE_MAX / 4));
    assert_false(array_resize(&v, SIZE_MAX, sizeof *v));
    assert_ptr_equal(v, before);
    assert_int_equal(cap, had);
    assert_int_equal(v[2], 42);
    free(v);
}

static void new_elements_of_an_arena_are_zero(void **state)
{
    (void)state;
    mltf_arena a = MLTF_ARENA_INIT;
    uint16_t *v = NULL;
    size_t cap = 0;
    for (size_t n = 1; n < 5000; n = n * 2 + 1) {
        const size_t had = cap;
        assert_true(ARENA_RESERVE(&a, v, cap, n));
        for (size_t i = 0; i < had; i++) assert_int_equal(v[i], 1 + i % 60000);
        for (size_t i = had; i < cap; i++) {
            assert_int_equal(v[i], 0);
            v[i] = (uint16_t)(1 + i % 60000);
        }
    }
    arena_release(&a);
}

static void an_arena_s_bound_holds_for_its_arrays(void **state)
{
    (void)state;
    mltf_arena a = {.max = 1 << 16};
    double *v = NULL;
    size_t cap = 0;
    assert_true(ARENA_RESERVE(&a, v, cap, 10));
    v[9] = 0.5;
    assert_false(ARENA_RESERVE(&a, v, cap, 1 << 20));
    assert_true(a.failed);
    assert_true(cap >= 10 && v[9] == 0.5);
    assert_false(ARENA_RESERVE(&a, v, cap, SIZE_MAX / 4));
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(growing_keeps_what_was_there),
        cmocka_unit_test(room_that_is_there_is_left_alone),
        cmocka_unit_test(sizes_past_the_memory_change_nothing),
        cmocka_unit_test(new_elements_of_an_arena_are_zero),
        cmocka_unit_test(an_arena_s_bound_holds_for_its_arrays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
