/* Hashes for tables whose keys come from outside. */
#ifndef MLTF_BASE_HASH_H
#define MLTF_BASE_HASH_H

#include <stdint.h>

#include "base/str.h"

/* SipHash-1-3 under a key drawn once a process: who chooses the keys cannot choose where they collide. The
 * value differs from run to run, so nothing that is written down may depend on it. */
uint64_t hash_str(mltf_str s);

#endif
