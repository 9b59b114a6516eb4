#include "kernels/cpu_features.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define XCR0_YMM   0x6u     /* XMM and YMM */
#define XCR0_ZMM   0xE6u    /* and opmask, upper ZMM halves, ZMM16-31 */
#define XCR0_TILES 0x60000u /* TILECFG and TILEDATA */

#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_TILEDATA   18

static uint64_t xgetbv0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static bool bit(uint32_t word, int n)
{
    return word >> n & 1;
}

static bool made_by_amd(void)
{
    uint32_t a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(0, &a, &b, &c, &d) && b == signature_AMD_ebx && c == signature_AMD_ecx &&
           d == signature_AMD_edx;
}

cpu_features cpu_features_detect(void)
{
    cpu_features f = {0};
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return f;
    const bool fma = bit(c, 12), osxsave = bit(c, 27), avx = bit(c, 28), f16c = bit(c, 29);
    if (!osxsave || !avx) return f;
    const uint64_t xcr0 = xgetbv0();
    if ((xcr0 & XCR0_YMM) != XCR0_YMM) return f;

    uint32_t b7, c7, d7, a7_1 = 0; // leaf 7
    if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7)) return f;
    if (a >= 1) __get_cpuid_count(7, 1, &a7_1, &b, &c, &d);
    f.avx2 = fma && f16c && bit(b7, 5) && bit(b7, 8);
    if (!f.avx2 || (xcr0 & XCR0_ZMM) != XCR0_ZMM) return f;
    f.avx512 = bit(b7, 16) && bit(b7, 17) && bit(b7, 30) && bit(b7, 31);
    if (!f.avx512) return f;
    f.avx512bf16 = bit(a7_1, 5);
    f.avx512bf16_fast = f.avx512bf16 && made_by_amd();
    if (f.avx512bf16 && bit(d7, 22) && bit(d7, 24) && (xcr0 & XCR0_TILES) == XCR0_TILES)
        f.amx_bf16 = syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_TILEDATA) == 0;
    return f;
}

#else

cpu_features cpu_features_detect(void)
{
    return (cpu_features){0};
}

#endif
