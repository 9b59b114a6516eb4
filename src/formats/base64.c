#include "formats/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(mltf_buf *out, mltf_str bytes)
{
    const unsigned char *p = (const unsigned char *)bytes.p;
    for (size_t i = 0; i < bytes.n; i += 3) {
        const size_t left = bytes.n - i;
        const uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                           (left > 2 ? (uint32_t)p[i + 2] : 0);
        const char four[4] = {alphabet[v >> 18], alphabet[v >> 12 & 63],
                              left > 1 ? alphabet[v >> 6 & 63] : '=',
                              left > 2 ? alphabet[v & 63] : '='};
        buf_append(out, four, 4);
    }
}

void base64_encode_lines(mltf_buf *out, mltf_str bytes)
{
    for (size_t i = 0; i < bytes.n; i += 57) { // 57 bytes fill 76 columns
        base64_encode(out, str_slice(bytes, i, i + 57 < bytes.n ? i + 57 : bytes.n));
        buf_putc(out, '\n');
    }
}

static int value_of(unsigned char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_is_strict(mltf_str text)
{
    size_t n = text.n;
    while (n && text.n - n < 2 && text.p[n - 1] == '=') n--;
    for (size_t i = 0; i < n; i++)
        if (value_of((unsigned char)text.p[i]) < 0) return false;
    return text.n % 4 == 0;
}

bool base64_decode(mltf_buf *out, mltf_str text)
{
    uint32_t v = 0;
    int have = 0, padding = 0;
    for (size_t i = 0; i < text.n; i++) {
        const unsigned char c = (unsigned char)text.p[i];
        if (c == '=') {
            if (have >= 2 && have + ++padding >= 4) break; // complete: what follows is ignored
            continue;
        }
        const int d = value_of(c);
        if (d < 0) continue;
        padding = 0;
        v = v << 6 | (uint32_t)d;
        if (++have == 4) {
            buf_putc(out, (char)(v >> 16));
            buf_putc(out, (char)(v >> 8));
            buf_putc(out, (char)v);
            have = 0;
            v = 0;
        }
    }
    if (have == 0) return true;
    if (have == 1 || have + padding != 4) return false;
    buf_putc(out, (char)(v >> (have == 2 ? 4 : 10)));
    if (have == 3) buf_putc(out, (char)(v >> 2));
    return true;
}
