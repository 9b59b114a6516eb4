#include "formats/zip.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

static uint16_t u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}
static uint32_t u32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static uint64_t u64(const uint8_t *p)
{
    return u32(p) | (uint64_t)u32(p + 4) << 32;
}

enum { END = 22, END64 = 56, LOCATOR64 = 20, CENTRAL = 46, LOCAL = 30 };

static mltf_status corrupt(mltf_err *err, const char *why)
{
    return mltf_fail(err, MLTF_CORRUPT_FILE, "the zip file is damaged: %s", why);
}

static mltf_status find_directory(const uint8_t *p, size_t n, uint64_t *offset, uint64_t *size,
                                  uint64_t *count, mltf_err *err)
{
    size_t end = SIZE_MAX;
    for (size_t back = END; back <= n && back <= END + 65535; back++) {
        const uint8_t *e = p + n - back;
        if (u32(e) == 0x06054b50 && u16(e + 20) == back - END) {
            end = n - back;
            break;
        }
    }
    if (end == SIZE_MAX) return corrupt(err, "it has no central directory (was it cut off?)");
    const uint8_t *e = p + end;
    *count = u16(e + 10);
    *size = u32(e + 12);
    *offset = u32(e + 16);
    if (u16(e + 4) != 0 && u16(e + 4) != 0xFFFF)
        return corrupt(err, "it is one of several volumes");
    if (end >= LOCATOR64 && u32(e - LOCATOR64) == 0x07064b50) {
        const uint64_t at = u64(e - LOCATOR64 + 8);
        if (n < END64 || at > n - END64 || u32(p + at) != 0x06064b50)
            return corrupt(err, "its 64-bit end record is not where it should be");
        *count = u64(p + at + 32);
        *size = u64(p + at + 40);
        *offset = u64(p + at + 48);
    }
    if (*offset > end || *size > end - *offset)
        return corrupt(err, "its directory lies outside of the file");
    if (*count > *size / CENTRAL)
        return corrupt(err, "its directory has fewer entries than it says");
    return MLTF_OK;
}

/* Sizes and offset that did not fit 32 bits stand in extra field 1, in this order, only those. */
static bool read_zip64(zip_entry *e, const uint8_t *extra, size_t n)
{
    while (n >= 4) {
        const uint16_t id = u16(extra), len = u16(extra + 2);
        if (len > n - 4) return false;
        if (id == 1) {
            const uint8_t *v = extra + 4, *end = v + len;
            uint64_t *const fields[] = {&e->size, &e->packed, &e->header};
            for (int i = 0; i < 3; i++) {
                if (*fields[i] != 0xFFFFFFFFu) continue;
                if (end - v < 8) return false;
                *fields[i] = u64(v);
                v += 8;
            }
            return true;
        }
        extra += 4 + len;
        n -= 4 + (size_t)len;
    }
    return true;
}

static int compare(mltf_str a, mltf_str b)
{
    const size_t n = a.n < b.n ? a.n : b.n;
    const int order = n ? memcmp(a.p, b.p, n) : 0;
    return order ? order : a.n < b.n ? -1 : a.n > b.n;
}

static int by_name(const void *a, const void *b)
{
    return compare(((const zip_entry *)a)->name, ((const zip_entry *)b)->name);
}

mltf_status zip_open(zip_file *out, mltf_arena *arena, const uint8_t *p, size_t n, mltf_err *err)
{
    *out = (zip_file){.p = p, .n = n};
    uint64_t offset = 0, size = 0, count = 0;
    TRY(find_directory(p, n, &offset, &size, &count, err));
    out->entries = arena_calloc(arena, (size_t)count + 1, sizeof *out->entries);
    if (!out->entries) return mltf_fail_memory(err);
    const uint8_t *at = p + offset, *end = at + size;
    for (uint64_t i = 0; i < count; i++) {
        if (end - at < CENTRAL || u32(at) != 0x02014b50)
            return corrupt(err, "its directory is not sound");
        const size_t name_n = u16(at + 28), extra_n = u16(at + 30), comment_n = u16(at + 32);
        if (name_n + extra_n + comment_n > (size_t)(end - at) - CENTRAL)
            return corrupt(err, "its directory ends in an entry");
        zip_entry *e = &out->entries[out->n_entries++];
        *e = (zip_entry){
            .name = {(const char *)at + CENTRAL, name_n},
            .flags = u16(at + 8),
            .method = u16(at + 10),
            .crc = u32(at + 16),
            .packed = u32(at + 20),
            .size = u32(at + 24),
            .header = u32(at + 42),
        };
        if (!read_zip64(e, at + CENTRAL + name_n, extra_n))
            return corrupt(err, "an entry has an unsound extra field");
        at += CENTRAL + name_n + extra_n + comment_n;
    }
    qsort(out->entries, out->n_entries, sizeof *out->entries, by_name);
    for (size_t i = 1; i < out->n_entries; i++) {
        if (str_eq(out->entries[i].name, out->entries[i - 1].name))
            return mltf_fail(err, MLTF_CORRUPT_FILE, "the zip file holds \"" STR_FMT "\" twice",
                             STR_ARG(out->entries[i].name));
    }
    return MLTF_OK;
}

const zip_entry *zip_find(const zip_file *z, mltf_str name)
{
    size_t lo = 0, hi = z->n_entries;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const int order = compare(z->entries[mid].name, name);
        if (order == 0) return &z->entries[mid];
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/* The packed bytes of an entry inside the file. */
static mltf_status packed_bytes(const uint8_t **out, const zip_file *z, const zip_entry *e,
                                mltf_err *err)
{
    if (z->n < LOCAL || e->header > z->n - LOCAL || u32(z->p + e->header) != 0x04034b50)
        return corrupt(err, "an entry lies outside of the file");
    const uint8_t *h = z->p + e->header;
    const uint64_t data = e->header + LOCAL + u16(h + 26) + u16(h + 28);
    if (data > z->n || e->packed > z->n - data)
        return corrupt(err, "an entry reaches past the end of the file");
    *out = z->p + data;
    return MLTF_OK;
}

static mltf_status inflate_all(uint8_t *to, size_t size, const uint8_t *from, size_t packed,
                               const zip_entry *e, mltf_err *err)
{
    z_stream s = {0};
    if (inflateInit2(&s, -MAX_WBITS) != Z_OK) return mltf_fail_memory(err);
    size_t in = 0, got = 0;
    int code = Z_OK;
    while (code == Z_OK) {
        const uInt in_now = packed - in > UINT_MAX ? UINT_MAX : (uInt)(packed - in);
        const uInt out_now = size - got > UINT_MAX ? UINT_MAX : (uInt)(size - got);
        s.next_in = (Bytef *)(uintptr_t)(from + in);
        s.avail_in = in_now;
        s.next_out = to + got;
        s.avail_out = out_now;
        code = inflate(&s, Z_NO_FLUSH);
        in += in_now - s.avail_in;
        got += out_now - s.avail_out;
        if (code == Z_OK && in_now == s.avail_in && out_now == s.avail_out) break; // no progress
    }
    inflateEnd(&s);
    if (code != Z_STREAM_END || got != size)
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "the zip file is damaged: \"" STR_FMT "\" does not unpack to %zu bytes",
                         STR_ARG(e->name), size);
    return MLTF_OK;
}

mltf_status zip_bytes(mltf_str *out, const zip_file *z, const zip_entry *e, mltf_arena *arena,
                      uint64_t *budget, mltf_err *err)
{
    const uint8_t *raw = NULL;
    if (e->flags & 1)
        return mltf_fail(err, MLTF_UNSUPPORTED, "\"" STR_FMT "\" in the zip file is encrypted",
                         STR_ARG(e->name));
    TRY(packed_bytes(&raw, z, e, err));
    if (e->method == 0) {
        if (e->size != e->packed) return corrupt(err, "an entry has two sizes");
        *out = (mltf_str){(const char *)raw, (size_t)e->size};
        return MLTF_OK;
    }
    if (e->method != 8)
        return mltf_fail(err, MLTF_UNSUPPORTED,
                         "\"" STR_FMT
                         "\" in the zip file is packed by method %u, known are 0 and 8",
                         STR_ARG(e->name), e->method);
    if (e->size > *budget)
        return mltf_fail(
            err, MLTF_CORRUPT_FILE,
            "\"" STR_FMT
            "\" in the zip file would unpack to %llu bytes, more than a sound file does",
            STR_ARG(e->name), (unsigned long long)e->size);
    *budget -= e->size;
    uint8_t *to = arena_alloc(arena, (size_t)e->size);
    if (!to) return mltf_fail_memory(err);
    TRY(inflate_all(to, (size_t)e->size, raw, (size_t)e->packed, e, err));
    if (crc32_z(crc32_z(0, NULL, 0), to, (size_t)e->size) != e->crc)
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "the zip file is damaged: \"" STR_FMT "\" has another checksum",
                         STR_ARG(e->name));
    *out = (mltf_str){(const char *)to, (size_t)e->size};
    return MLTF_OK;
}
