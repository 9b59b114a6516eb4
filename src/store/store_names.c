#include "store/store_names.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/pytext.h"
#include "base/python_unicode.h"
#include "base/utf8.h"

enum {
    MAX_KEY = 250,
    MAX_EXPERIMENT_NAME = 500,
    MAX_ALIAS = 255,
    MAX_REGISTERED_NAME = 256
}; // characters, as MLflow's columns

static void random_bytes(unsigned char *p, size_t n)
{
    size_t have = 0;
    while (have < n) {
        const ssize_t got = getrandom(p + have, n - have, 0);
        if (got > 0)
            have += (size_t)got;
        else if (errno != EINTR)
            break;
    }
    // without the system call: still distinct between processes and calls
    for (; have < n; have++) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        p[have] =
            (unsigned char)((unsigned long)t.tv_nsec >> (have % 3 * 8)) ^ (unsigned char)getpid();
    }
}

char *store_new_id(mltf_arena *a, const char *prefix)
{
    unsigned char u[16];
    random_bytes(u, sizeof u);
    u[6] = (unsigned char)(0x40 | (u[6] & 0x0F));
    u[8] = (unsigned char)(0x80 | (u[8] & 0x3F));
    char hex[33];
    for (int i = 0; i < 16; i++) snprintf(hex + 2 * i, 3, "%02x", u[i]);
    return arena_printf(a, "%s%s", prefix, hex);
}

char *store_random_name(mltf_arena *a)
{
    static const char *const adjectives[] = {
        "amber",  "brisk", "calm",  "clever", "cosmic", "eager", "fine",  "gentle",
        "golden", "happy", "ivory", "jolly",  "keen",   "lucid", "merry", "noble",
        "proud",  "quick", "quiet", "rapid",  "shiny",  "sunny", "swift", "vivid"};
    static const char *const nouns[] = {"bear",  "birch", "crane", "cod",   "deer",  "dove",
                                        "elk",   "finch", "fox",   "gull",  "hare",  "heron",
                                        "ibis",  "koi",   "lark",  "lynx",  "mole",  "newt",
                                        "otter", "owl",   "perch", "quail", "robin", "seal"};
    unsigned char r[4];
    random_bytes(r, sizeof r);
    return arena_printf(a, "%s-%s-%d", adjectives[r[0] % (sizeof adjectives / sizeof *adjectives)],
                        nouns[r[1] % (sizeof nouns / sizeof *nouns)], (r[2] << 8 | r[3]) % 1000);
}

int64_t store_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

const char *store_user(mltf_arena *a)
{
    static const char *const variables[] = {"LOGNAME", "USER", "LNAME",
                                            "USERNAME"}; // getpass.getuser()'s order
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *v = getenv(variables[i]);
        if (v && *v) return arena_strdup(a, v, strlen(v));
    }
    struct passwd pw, *found = NULL;
    char room[4096];
    if (getpwuid_r(getuid(), &pw, room, sizeof room, &found) == 0 && found)
        return arena_strdup(a, found->pw_name, strlen(found->pw_name));
    return arena_printf(a, "%u", (unsigned)getuid());
}

/* posixpath.normpath(name) == name, and neither "." nor absolute nor leading out. */
static bool is_normal_path(const char *name)
{
    if (name[0] == '/' || strcmp(name, ".") == 0) return false;
    for (const char *p = name;;) {
        const char *end = strchr(p, '/');
        const size_t n = end ? (size_t)(end - p) : strlen(p);
        if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        if (!end) return strncmp(name, "..", 2) != 0;
        p = end + 1;
    }
}

/* [\w…]* of Python's re, where `also` are ASCII's. */
static bool only_word_characters(const char *s, const char *also)
{
    for (size_t n = strlen(s), len; n > 0; s += len, n -= len) {
        const uint32_t cp = utf8_decode(s, n, &len);
        if (cp == UTF8_BAD || (!pyu_alnum(cp) && (cp >= 0x80 || !strchr(also, (int)cp))))
            return false;
    }
    return true;
}

mltf_status store_check_logged_model_name(const char *name, mltf_err *err)
{
    if (!name || !*name || strpbrk(name, "/:.%\"'"))
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Invalid model name ('%s') provided. Model name must be a non-empty "
                         "string and cannot contain the "
                         "following characters: ('/', ':', '.', '%%', '\"', \"'\")",
                         name ? name : "");
    return MLTF_OK;
}

mltf_status store_check_registered_name(const char *name, mltf_err *err)
{
    if (!name || pytext_strip(str_from(name)).n == 0)
        return mltf_fail(err, MLTF_INVALID_INPUT, "Registered model name cannot be empty.");
    if (strpbrk(name, "/:") || !is_normal_path(name) ||
        utf8_count(name, strlen(name)) > MAX_REGISTERED_NAME)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Invalid name: '%s'. Registered model name cannot contain '/' or ':' and "
                         "has at most %d characters.",
                         name, MAX_REGISTERED_NAME);
    return MLTF_OK;
}

mltf_status store_check_experiment_name(const char *name, mltf_err *err)
{
    if (!name || !*name)
        return mltf_fail(err, MLTF_INVALID_INPUT, "Invalid experiment name: ''. Expects a string.");
    if (utf8_count(name, strlen(name)) > MAX_EXPERIMENT_NAME)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "'name' exceeds the maximum length of %d characters", MAX_EXPERIMENT_NAME);
    return MLTF_OK;
}

mltf_status store_check_alias(const char *alias, mltf_err *err)
{
    if (!alias || !*alias)
        return mltf_fail(err, MLTF_INVALID_INPUT, "Registered model alias name cannot be empty.");
    if (!only_word_characters(alias, "_-") || utf8_count(alias, strlen(alias)) > MAX_ALIAS)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Invalid alias name: '%s'. Names may only contain alphanumerics, "
                         "underscores (_), and dashes (-), "
                         "and have at most %d characters.",
                         alias, MAX_ALIAS);
    const char *digits = alias + 1;
    if (ascii_same(str_from(alias), "latest") || ((alias[0] == 'v' || alias[0] == 'V') && *digits &&
                                                  strspn(digits, "0123456789") == strlen(digits)))
        return mltf_fail(err, MLTF_INVALID_INPUT, "'%s' alias name is reserved.", alias);
    return MLTF_OK;
}

mltf_status store_check_key(const char *key, const char *what, mltf_err *err)
{
    if (!key || !*key)
        return mltf_fail(err, MLTF_INVALID_INPUT, "Missing value for required parameter '%s name'.",
                         what);
    if (!only_word_characters(key, "_/.- :") || !is_normal_path(key))
        return mltf_fail(
            err, MLTF_INVALID_INPUT,
            "Invalid value \"%s\" for parameter '%s name' supplied: Names may only contain "
            "alphanumerics, "
            "underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/).",
            key, what);
    if (utf8_count(key, strlen(key)) > MAX_KEY)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "'%s name' exceeds the maximum length of %d characters", what, MAX_KEY);
    return MLTF_OK;
}
