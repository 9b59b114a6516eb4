/* The thread pool: one job at a time, its pieces handed out by one atomic word.
 *
 *     ticket   next piece (32 bit) | pieces in all (32 bit)
 *
 * A thread takes a piece by advancing `next` with compare-and-swap. As long as one taken piece is
 * unfinished the job cannot end, so whoever has won a piece may read the job's fields without more
 * ado; whoever comes late finds next == all and touches nothing. Nobody waits for a worker that has
 * not started: on a busy machine the caller simply computes everything itself. */
#include "base/pool.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define POOL_MAX_THREADS 1024
#define WORKER_SPIN_NS                                                                             \
    100000 /* a worker stays awake this long: layers follow each other within it */
#define JOIN_SPIN_NS      20000 /* the caller spins this long for the last pieces, then sleeps */
#define PIECES_PER_THREAD 4     /* enough to even out a thread that lost its core for a while */

struct mltf_pool {
    int n_threads;
    atomic_bool busy; /* a caller owns the fields below */

    _Alignas(64) _Atomic uint64_t ticket;
    _Alignas(64) _Atomic uint32_t done; /* finished pieces; futex of the caller */
    atomic_bool caller_sleeps;
    _Alignas(64) _Atomic uint32_t wake; /* number of the job; futex of the workers */
    _Atomic uint32_t sleepers;
    atomic_bool stop;

    pool_fn fn;
    void *arg;
    size_t n, piece;

    int n_started;
    pthread_t thread[];
};

typedef struct worker_start {
    mltf_pool *pool;
    int number;
} worker_start;

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int n)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

static bool has_work(uint64_t ticket)
{
    return (uint32_t)(ticket >> 32) < (uint32_t)ticket;
}

/* Take and run pieces until none is left. */
static void run_pieces(mltf_pool *p, int worker)
{
    uint64_t t = atomic_load_explicit(&p->ticket, memory_order_acquire);
    while (has_work(t)) {
        if (!atomic_compare_exchange_weak_explicit(&p->ticket, &t, t + ((uint64_t)1 << 32),
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        const size_t first = (size_t)(t >> 32) * p->piece;
        const size_t last = first + p->piece < p->n ? first + p->piece : p->n;
        p->fn(p->arg, first, last, worker);
        const uint32_t all = (uint32_t)t;
        if (atomic_fetch_add(&p->done, 1) + 1 == all && atomic_load(&p->caller_sleeps))
            futex_wake(&p->done, 1);
        t = atomic_load_explicit(&p->ticket, memory_order_acquire);
    }
}

static void *worker_main(void *start)
{
    mltf_pool *p = ((worker_start *)start)->pool;
    const int number = ((worker_start *)start)->number;
    free(start);
    int64_t idle_since = now_ns();
    for (unsigned spins = 1;; spins++) {
        if (has_work(atomic_load_explicit(&p->ticket, memory_order_acquire))) {
            run_pieces(p, number);
            idle_since = now_ns();
            continue;
        }
        if (atomic_load_explicit(&p->stop, memory_order_relaxed)) return NULL;
        relax();
        if (spins % 64 || now_ns() - idle_since < WORKER_SPIN_NS) continue;

        const uint32_t seen = atomic_load(&p->wake);
        atomic_fetch_add(&p->sleepers, 1);
        if (!has_work(atomic_load(&p->ticket)) && !atomic_load(&p->stop))
            futex_wait(&p->wake, seen);
        atomic_fetch_sub(&p->sleepers, 1);
        idle_since = now_ns();
    }
}

void pool_for(mltf_pool *p, size_t n, size_t grain, pool_fn fn, void *arg)
{
    if (n == 0) return;
    if (grain == 0) grain = 1;
    const size_t grains = (n - 1) / grain + 1;
    bool expected = false;
    if (!p || p->n_threads == 1 || grains == 1 ||
        !atomic_compare_exchange_strong(&p->busy, &expected, true)) {
        fn(arg, 0, n, 0);
        return;
    }
    const size_t wanted = (size_t)p->n_threads * PIECES_PER_THREAD;
    const size_t per_piece = grains > wanted ? (grains - 1) / wanted + 1 : 1;
    const uint32_t pieces = (uint32_t)((grains - 1) / per_piece + 1);
    p->fn = fn;
    p->arg = arg;
    p->n = n;
    p->piece = per_piece * grain;
    atomic_store_explicit(&p->done, 0, memory_order_relaxed);
    atomic_store(&p->ticket, pieces);
    atomic_fetch_add(&p->wake, 1);
    const uint32_t asleep = atomic_load(&p->sleepers);
    if (asleep) futex_wake(&p->wake, (int)(asleep < pieces - 1 ? asleep : pieces - 1));

    run_pieces(p, 0);

    uint32_t done;
    int64_t waiting_since = 0;
    for (unsigned spins = 1;
         (done = atomic_load_explicit(&p->done, memory_order_acquire)) != pieces; spins++) {
        relax();
        if (spins % 64) continue;
        const int64_t now = now_ns();
        if (!waiting_since) waiting_since = now;
        if (now - waiting_since < JOIN_SPIN_NS) continue;
        atomic_store(&p->caller_sleeps, true);
        if ((done = atomic_load(&p->done)) != pieces) futex_wait(&p->done, done);
        atomic_store(&p->caller_sleeps, false);
    }
    atomic_store_explicit(&p->busy, false, memory_order_release);
}

int pool_threads(const mltf_pool *p)
{
    return p ? p->n_threads : 1;
}

/* ---- how many CPUs ---------------------------------------------------------------------------- */

static bool read_line(const char *path, char *line, size_t size)
{
    FILE *f = fopen(path, "re");
    if (!f) return false;
    const bool ok = fgets(line, (int)size, f) != NULL;
    fclose(f);
    return ok;
}

/* CPUs that the quota of one cgroup directory pays for, rounded up; INT_MAX: no quota. */
static int quota_of(const char *dir)
{
    char path[PATH_MAX], line[128];
    long long quota, period;
    if (snprintf(path, sizeof path, "%s/cpu.max", dir) < (int)sizeof path &&
        read_line(path, line, sizeof line)) {
        if (sscanf(line, "%lld %lld", &quota, &period) != 2 || quota <= 0 || period <= 0)
            return INT_MAX; // "max 100000"
        return (int)((quota + period - 1) / period);
    }
    if (snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", dir) >= (int)sizeof path ||
        !read_line(path, line, sizeof line) || sscanf(line, "%lld", &quota) != 1 || quota <= 0)
        return INT_MAX;
    if (snprintf(path, sizeof path, "%s/cpu.cfs_period_us", dir) >= (int)sizeof path ||
        !read_line(path, line, sizeof line) || sscanf(line, "%lld", &period) != 1 || period <= 0)
        return INT_MAX;
    return (int)((quota + period - 1) / period);
}

/* The smallest quota on the way from this process's cgroup up to the root. */
static int quota_above(const char *mount, const char *group)
{
    char dir[PATH_MAX];
    if (snprintf(dir, sizeof dir, "%s%s", mount, group) >= (int)sizeof dir) return INT_MAX;
    int least = INT_MAX;
    const size_t root = strlen(mount);
    for (;;) {
        const int q = quota_of(dir);
        if (q < least) least = q;
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < root) return least;
        *slash = '\0';
    }
}

static int cgroup_cpus(void)
{
    int least = INT_MAX;
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f) return least;
    char line[PATH_MAX];
    while (fgets(line, sizeof line, f)) { // "0::/user.slice" or "4:cpu,cpuacct:/docker/ab12"
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        *group++ = '\0';
        controllers++;
        if (strcmp(group, "/") == 0) group = "";
        int q = INT_MAX;
        if (*controllers == '\0')
            q = quota_above("/sys/fs/cgroup", group);
        else if (strstr(controllers, "cpu") == controllers && controllers[3] != 's')
            q = quota_above("/sys/fs/cgroup/cpu", group);
        if (q < least) least = q;
    }
    fclose(f);
    return least;
}

/* CPUs of the affinity mask, two hyperthreads of a core counted once: the kernels fill a core's
 * vector units with one thread. */
static int affinity_cpus(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        const long n = sysconf(_SC_NPROCESSORS_ONLN);
        return n > 0 && n < POOL_MAX_THREADS ? (int)n : 1;
    }
    int cores = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &set)) continue;
        char path[96], line[128];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list",
                 cpu);
        int first = cpu;
        if (read_line(path, line, sizeof line)) first = atoi(line);
        // the lowest sibling stands for the core, unless the mask leaves it out
        if (first < 0 || first >= cpu || !CPU_ISSET((size_t)first, &set)) cores++;
    }
    return cores > 0 ? cores : 1;
}

static int default_threads(void)
{
    const char *env = getenv("MLTF_NUM_THREADS");
    if (env && *env) {
        char *end;
        const long n = strtol(env, &end, 10);
        if (*end == '\0' && n > 0) return n < POOL_MAX_THREADS ? (int)n : POOL_MAX_THREADS;
    }
    const int cores = affinity_cpus(), quota = cgroup_cpus();
    return cores < quota ? cores : quota;
}

/* ---- life --------------------------------------------------------------------------------------- */

void pool_free(mltf_pool *p)
{
    if (!p) return;
    atomic_store(&p->stop, true);
    atomic_fetch_add(&p->wake, 1);
    futex_wake(&p->wake, INT_MAX);
    for (int i = 0; i < p->n_started; i++) pthread_join(p->thread[i], NULL);
    free(p);
}

mltf_status pool_new(mltf_pool **out, int threads, mltf_err *err)
{
    *out = NULL;
    if (threads <= 0) threads = default_threads();
    if (threads > POOL_MAX_THREADS) threads = POOL_MAX_THREADS;
    const size_t bytes = sizeof(mltf_pool) + (size_t)threads * sizeof(pthread_t);
    mltf_pool *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) return mltf_fail_memory(err);
    memset(p, 0, bytes);
    p->n_threads = threads;
    for (int i = 1; i < threads; i++) {
        worker_start *start = malloc(sizeof *start);
        if (!start) {
            pool_free(p);
            return mltf_fail_memory(err);
        }
        *start = (worker_start){.pool = p, .number = i};
        const int rc = pthread_create(&p->thread[p->n_started], NULL, worker_main, start);
        if (rc != 0) {
            free(start);
            pool_free(p);
            return mltf_fail(err, MLTF_NO_MEMORY,
                             "could not start thread %d of %d: %s; set MLTF_NUM_THREADS to fewer",
                             i + 1, threads, strerror(rc));
        }
        p->n_started++;
    }
    *out = p;
    return MLTF_OK;
}
