/* What the unit tests share: cmocka with the headers that it wants before its own, and a folder to write in. */
#ifndef MLTF_TESTS_UNIT_H
#define MLTF_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/file.h"

/* A new folder under TMPDIR, or /tmp; NULL if there can be none. For unit_remove_folder(). */
static inline char *unit_new_folder(void)
{
    const char *tmp = getenv("TMPDIR");
    char *path = path_join(tmp ? tmp : "/tmp", "mltf-test-XXXXXX");
    if (path && mkdtemp(path)) return path;
    free(path);
    return NULL;
}

/* With all that is in it; frees the path. 0 if it is gone, as cmocka's fixtures want it. */
static inline int unit_remove_folder(char *path)
{
    const int failed = dir_remove(path, NULL) != MLTF_OK || dir_exists(path);
    free(path);
    return failed;
}

#endif
