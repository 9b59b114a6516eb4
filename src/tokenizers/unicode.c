#include "tokenizers/unicode.h"

#include "base/utf8.h"

/* Hangul syllables compose and decompose by arithmetic (Unicode 3.12). */
enum {
    S_BASE = 0xAC00,
    L_BASE = 0x1100,
    V_BASE = 0x1161,
    T_BASE = 0x11A7,
    L_COUNT = 19,
    V_COUNT = 21,
    T_COUNT = 28
};
enum { S_COUNT = L_COUNT * V_COUNT * T_COUNT };

uint32_t uc_compose(uint32_t a, uint32_t b)
{
    if (b < 0x300) return 0;
    if (a - L_BASE < L_COUNT && b - V_BASE < V_COUNT)
        return S_BASE + ((a - L_BASE) * V_COUNT + (b - V_BASE)) * T_COUNT;
    if (a - S_BASE < S_COUNT && b > T_BASE && b < T_BASE + T_COUNT && (a - S_BASE) % T_COUNT == 0)
        return a + (b - T_BASE);
    size_t low = 0, high = uc_n_pairs;
    while (low < high) {
        const size_t mid = (low + high) / 2;
        const uc_pair *m = &uc_pairs[mid];
        if (m->a == a && m->b == b) return m->c;
        if (m->a < a || (m->a == a && m->b < b))
            low = mid + 1;
        else
            high = mid;
    }
    return 0;
}

size_t uc_decompose(uint32_t out[UC_DECOMP_MAX], uint32_t cp, bool compat)
{
    out[0] = cp;
    if (cp < 0xA0) return 1;
    if (cp - S_BASE < S_COUNT) {
        const uint32_t s = cp - S_BASE, t = s % T_COUNT;
        out[0] = L_BASE + s / (V_COUNT * T_COUNT);
        out[1] = V_BASE + s % (V_COUNT * T_COUNT) / T_COUNT;
        out[2] = T_BASE + t;
        return t ? 3 : 2;
    }
    const uc_decomp *d = &uc_decomps[uc_decomp2[(size_t)uc_decomp1[cp >> 6] << 6 | (cp & 63)]];
    const size_t n = compat ? d->n_compat : d->n_canon;
    const uint32_t *from = &uc_decomp_pool[compat ? d->compat : d->canon];
    for (size_t i = 0; i < n; i++) out[i] = from[i];
    return n ? n : 1;
}

/* Is there no boundary between two neighbours (UAX #29, GB3 to GB9b)? */
static bool gcb_joined(unsigned a, unsigned b)
{
    if (a == GCB_CR) return b == GCB_LF;
    if (a == GCB_LF || a == GCB_CONTROL || b == GCB_CR || b == GCB_LF || b == GCB_CONTROL)
        return false;
    if (b == GCB_EXTEND || b == GCB_ZWJ || b == GCB_SPACING || a == GCB_PREPEND) return true;
    if (a == GCB_L) return b == GCB_L || b == GCB_V || b == GCB_LV || b == GCB_LVT;
    if (a == GCB_LV || a == GCB_V) return b == GCB_V || b == GCB_T;
    if (a == GCB_LVT || a == GCB_T) return b == GCB_T;
    return false;
}

size_t uc_grapheme(const char *s, size_t n)
{
    const char *p = s, *end = s + n;
    const uc_record *prev = uc_get(utf8_next(&p));
    size_t flags_seen = prev->gcb == GCB_RI;    // regional indicators in the cluster
    bool picto = (prev->flags & UC_PICTO) != 0; // Extended_Pictographic Extend*
    bool picto_zwj = false;                     // ... and a ZWJ
    bool consonant = prev->incb == INCB_CONSONANT, linker = false; // Consonant [Extend Linker]*
    while (p < end) {
        const char *next = p;
        const uc_record *r = uc_get(utf8_next(&next));
        const bool joined = gcb_joined(prev->gcb, r->gcb) || (picto_zwj && (r->flags & UC_PICTO)) ||
                            (prev->gcb == GCB_RI && r->gcb == GCB_RI && flags_seen % 2 == 1) ||
                            (consonant && linker && r->incb == INCB_CONSONANT);
        if (!joined) break;
        flags_seen += r->gcb == GCB_RI;
        picto_zwj = picto && r->gcb == GCB_ZWJ;
        picto = (r->flags & UC_PICTO) != 0 || (picto && r->gcb == GCB_EXTEND);
        if (r->incb == INCB_CONSONANT) {
            consonant = true;
            linker = false;
        } else if (r->incb == INCB_LINKER) {
            linker = consonant;
        } else if (r->incb != INCB_EXTEND) {
            consonant = linker = false;
        }
        prev = r;
        p = next;
    }
    return (size_t)(p - s);
}
