/* Zip files in memory, read by their central directory alone. The file is hostile: every offset and
 * length is checked against its end before use, names are only compared and never used as paths.
 *
 *   local header, data                     one per entry; only its two lengths are used
 *   central directory: 46 bytes + name     method, sizes, offset; 64-bit ones in extra field 1
 *   [zip64 end record, locator]            where a number did not fit
 *   end record                             the last 22 bytes, or before a comment of up to 64 KiB */
#ifndef MLTF_FORMATS_ZIP_H
#define MLTF_FORMATS_ZIP_H

#include "base/arena.h"
#include "base/buf.h"

typedef struct zip_entry {
    mltf_str name; /* in the file's bytes */
    uint16_t method; /* 0 stored, 8 deflated */
    uint16_t flags;
    uint32_t crc;
    uint64_t packed, size, header; /* header: offset of the local one */
} zip_entry;

typedef struct zip_file {
    const uint8_t *p;
    size_t n;
    zip_entry *entries; /* [n_entries], sorted by name */
    size_t n_entries;
} zip_file;

/* CORRUPT_FILE where there is no sound directory or a name stands in it twice. */
mltf_status zip_open(zip_file *out, mltf_arena *arena, const uint8_t *p, size_t n, mltf_err *err);
const zip_entry *zip_find(const zip_file *z, mltf_str name); /* NULL if absent */
/* The unpacked bytes of an entry: in the file if stored, else in the arena. *budget is how many bytes may still be
 * unpacked and is reduced. A deflated entry's CRC is checked, a stored one's is not (PyTorch neither). */
mltf_status zip_bytes(mltf_str *out, const zip_file *z, const zip_entry *e, mltf_arena *arena, uint64_t *budget,
                      mltf_err *err);

#endif
