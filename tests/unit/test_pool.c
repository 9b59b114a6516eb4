/* The thread pool: every item once, pieces of whole grains, any number of callers. */
#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/pool.h"

#define MAX_ITEMS 5000

typedef struct job {
    atomic_int count[MAX_ITEMS];
    atomic_int bad_piece, bad_worker;
    size_t n, grain;
    int threads;
    mltf_pool *pool;
} job;

static void count_items(void *arg, size_t first, size_t last, int worker)
{
    job *j = arg;
    if (first % j->grain != 0 || last <= first || last > j->n) atomic_fetch_add(&j->bad_piece, 1);
    if (worker < 0 || worker >= j->threads) atomic_fetch_add(&j->bad_worker, 1);
    for (size_t i = first; i < last; i++) atomic_fetch_add(&j->count[i], 1);
}

static void run_and_check(mltf_pool *p, size_t n, size_t grain)
{
    job *j = calloc(1, sizeof *j);
    assert_non_null(j);
    j->n = n;
    j->grain = grain ? grain : 1;
    j->threads = pool_threads(p);
    pool_for(p, n, grain, count_items, j);
    for (size_t i = 0; i < MAX_ITEMS; i++) assert_int_equal(j->count[i], i < n ? 1 : 0);
    assert_int_equal(j->bad_piece, 0);
    assert_int_equal(j->bad_worker, 0);
    free(j);
}

static void every_item_is_done_once_at_any_size_and_grain(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 1000, 4999};
    static const size_t grains[] = {0, 1, 2, 8, 64, 10000};
    for (int threads = 1; threads <= 5; threads += 2) {
        mltf_pool *p;
        assert_int_equal(pool_new(&p, threads, NULL), MLTF_OK);
        assert_int_equal(pool_threads(p), threads);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (size_t g = 0; g < sizeof grains / sizeof *grains; g++)
                run_and_check(p, sizes[i], grains[g]);
        pool_free(p);
    }
    run_and_check(NULL, 100, 3); // no pool: the caller alone
}

static void many_small_jobs_in_a_row(void **state)
{
    (void)state;
    mltf_pool *p;
    assert_int_equal(pool_new(&p, 4, NULL), MLTF_OK);
    for (int i = 0; i < 3000; i++) run_and_check(p, (size_t)(i % 17), 1);
    pool_free(p);
}

static void *call_repeatedly(void *pool)
{
    for (int i = 0; i < 300; i++) run_and_check(pool, 200 + (size_t)(i % 50), 3);
    return NULL;
}

static void several_threads_may_call_at_once(void **state)
{
    (void)state;
    mltf_pool *p;
    assert_int_equal(pool_new(&p, 3, NULL), MLTF_OK);
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, call_repeatedly, p), 0);
    for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
    pool_free(p);
}

static void call_inside(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    job *j = arg;
    for (size_t i = first; i < last; i++) run_and_check(j->pool, 10, 1);
}

static void a_job_may_start_a_job(void **state)
{
    (void)state;
    job *j = calloc(1, sizeof *j);
    assert_int_equal(pool_new(&j->pool, 3, NULL), MLTF_OK);
    pool_for(j->pool, 50, 1, call_inside, j);
    pool_free(j->pool);
    free(j);
}

static void the_environment_sets_the_default(void **state)
{
    (void)state;
    mltf_pool *p;
    setenv("MLTF_NUM_THREADS", "3", 1);
    assert_int_equal(pool_new(&p, 0, NULL), MLTF_OK);
    assert_int_equal(pool_threads(p), 3);
    pool_free(p);
    setenv("MLTF_NUM_THREADS", "many", 1); // not a number: as if unset
    assert_int_equal(pool_new(&p, 0, NULL), MLTF_OK);
    assert_true(pool_threads(p) >= 1);
    pool_free(p);
    unsetenv("MLTF_NUM_THREADS");
    assert_int_equal(pool_threads(NULL), 1);
    pool_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_is_done_once_at_any_size_and_grain),
        cmocka_unit_test(many_small_jobs_in_a_row),
        cmocka_unit_test(several_threads_may_call_at_once),
        cmocka_unit_test(a_job_may_start_a_job),
        cmocka_unit_test(the_environment_sets_the_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
