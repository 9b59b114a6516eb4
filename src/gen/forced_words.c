/* Progress through forced words (transformers 4.57, generation/beam_constraints.py). */
#include "gen/forced_words.h"

#include <string.h>

static size_t height(const gen_words *w)
{
    size_t max = 0;
    for (size_t i = 0; i < w->n; i++)
        if (w->p[i].n > max) max = w->p[i].n;
    return max;
}

static bool begins_with(gen_ids word, const int32_t *path, size_t n)
{
    return word.n >= n && (n == 0 || memcmp(word.p, path, n * sizeof *path) == 0);
}

mltf_status forced_state_init(forced_state *s, const gen_force *force, mltf_arena *arena,
                              mltf_err *err)
{
    *s = (forced_state){.force = force, .current = SIZE_MAX};
    for (size_t i = 0; i < force->n; i++) {
        const gen_words *w = &force->p[i];
        if (height(w) > s->longest) s->longest = height(w);
        for (size_t a = 0; a < w->n; a++)
            for (size_t b = 0; b < w->n; b++)
                if (a != b && begins_with(w->p[b], w->p[a].p, w->p[a].n))
                    return mltf_fail(err, MLTF_INVALID_INPUT,
                                     "Each list in `nested_token_ids` can't be a complete subset "
                                     "of another list "
                                     "(`force_words_ids`, entry %zu)",
                                     i);
    }
    s->pending = arena_calloc(arena, force->n + 1, sizeof *s->pending);
    s->path = arena_calloc(arena, s->longest + 1, sizeof *s->path);
    if (!s->pending || !s->path) return mltf_fail_memory(err);
    forced_state_reset(s, NULL, 0);
    return MLTF_OK;
}

void forced_state_reset(forced_state *s, const int32_t *ids, size_t n)
{
    s->n_pending = s->force->n;
    for (size_t i = 0; i < s->n_pending; i++) s->pending[i] = i;
    s->n_complete = s->n_path = 0;
    s->current = SIZE_MAX;
    s->completed = false;
    for (size_t i = 0; i < n && !s->completed; i++) forced_state_add(s, ids[i]);
}

void forced_state_copy(forced_state *to, const forced_state *from)
{
    memcpy(to->pending, from->pending, from->n_pending * sizeof *from->pending);
    memcpy(to->path, from->path, from->n_path * sizeof *from->path);
    to->n_pending = from->n_pending;
    to->n_complete = from->n_complete;
    to->n_path = from->n_path;
    to->current = from->current;
    to->completed = from->completed;
}

/* May `id` follow the path in some word of w? *leaf: it then ends the word. */
static bool steps(const gen_words *w, const int32_t *path, size_t n, int32_t id, bool *leaf)
{
    for (size_t i = 0; i < w->n; i++) {
        if (!begins_with(w->p[i], path, n) || w->p[i].n <= n || w->p[i].p[n] != id) continue;
        *leaf = w->p[i].n == n + 1; // no word is the beginning of another
        return true;
    }
    return false;
}

void forced_state_add(forced_state *s, int32_t id)
{
    bool leaf = false;
    if (s->completed) return;
    if (s->current != SIZE_MAX) {
        if (!steps(&s->force->p[s->current], s->path, s->n_path, id, &leaf)) {
            s->pending[s->n_pending++] = s->current; // begin again, later
            s->current = SIZE_MAX;
            s->n_path = 0;
            return;
        }
        s->path[s->n_path++] = id;
        if (!leaf) return;
    } else {
        size_t k = 0;
        while (k < s->n_pending && !steps(&s->force->p[s->pending[k]], NULL, 0, id, &leaf)) k++;
        if (k == s->n_pending) return;
        s->current = s->pending[k];
        memmove(s->pending + k, s->pending + k + 1, (s->n_pending - k - 1) * sizeof *s->pending);
        s->n_pending--;
        s->path[0] = id;
        s->n_path = 1;
        if (!leaf) return;
    }
    s->n_complete++;
    s->current = SIZE_MAX;
    s->n_path = 0;
    s->completed = s->n_pending == 0;
}

/* The different next tokens of one constraint, in the order of its words. */
static size_t next_tokens(const gen_words *w, const int32_t *path, size_t n, int32_t *out,
                          size_t count, size_t max)
{
    const size_t first = count;
    for (size_t i = 0; i < w->n; i++) {
        if (!begins_with(w->p[i], path, n) || w->p[i].n <= n) continue;
        bool known = false;
        for (size_t k = first; k < count; k++) known |= out[k] == w->p[i].p[n];
        if (!known && count < max) out[count++] = w->p[i].p[n];
    }
    return count;
}

size_t forced_state_advance(const forced_state *s, int32_t *out, size_t max)
{
    if (s->completed) return 0;
    if (s->current != SIZE_MAX)
        return next_tokens(&s->force->p[s->current], s->path, s->n_path, out, 0, max);
    size_t count = 0;
    for (size_t k = 0; k < s->n_pending; k++)
        count = next_tokens(&s->force->p[s->pending[k]], NULL, 0, out, count, max);
    return count;
}

size_t forced_state_bank(const forced_state *s)
{
    size_t bank = s->n_complete * s->longest;
    if (s->current != SIZE_MAX) bank += s->longest - (height(&s->force->p[s->current]) - s->n_path);
    return bank;
}
