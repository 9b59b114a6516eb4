#include "base/utf8.h"

uint32_t utf8_decode(const char *text, size_t n, size_t *len)
{
    const unsigned char *s = (const unsigned char *)text;
    const unsigned char b = s[0];
    *len = 1;
    if (b < 0x80) return b;
    if (b < 0xC2 || b > 0xF4) return UTF8_BAD;
    const size_t want = b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
    // the second byte's range shuts out overlong forms, surrogates and what lies past U+10FFFF
    const unsigned char low = b == 0xE0 ? 0xA0 : b == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = b == 0xED ? 0x9F : b == 0xF4 ? 0x8F : 0xBF;
    uint32_t cp = b & (0xFFu >> (want + 1));
    for (size_t i = 1; i < want; i++) {
        if (i >= n || s[i] < (i == 1 ? low : 0x80) || s[i] > (i == 1 ? high : 0xBF)) {
            *len = i;
            return UTF8_BAD;
        }
        cp = cp << 6 | (s[i] & 0x3F);
    }
    *len = want;
    return cp;
}

size_t utf8_encode(char out[4], uint32_t cp)
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xC0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xE0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        out[2] = (char)(0x80 | (cp & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3F));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3F));
    out[3] = (char)(0x80 | (cp & 0x3F));
    return 4;
}

bool utf8_valid(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n) {
        uint64_t word;
        while (i + 8 <= n && (memcpy(&word, s + i, 8), (word & 0x8080808080808080u) == 0)) i += 8;
        if (i >= n) break;
        size_t len;
        if (utf8_decode(s + i, n - i, &len) == UTF8_BAD) return false;
        i += len;
    }
    return true;
}

size_t utf8_count(const char *s, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += ((unsigned char)s[i] & 0xC0) != 0x80;
    return count;
}

size_t utf8_incomplete_tail(const char *s, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        const unsigned char b = (unsigned char)s[n - back];
        if ((b & 0xC0) == 0x80) continue;
        const size_t want = b >= 0xF0 ? 4 : b >= 0xE0 ? 3 : b >= 0xC2 ? 2 : 1;
        if (want <= back) return 0;
        size_t len;
        // a lead whose present followers are already wrong will never become a character
        return utf8_decode(s + n - back, back, &len) == UTF8_BAD && len == back ? back : 0;
    }
    return 0;
}
