/* exp, tanh, erf and the activation functions on vectors; included behind a kavx*_vec.h.
 *
 * Polynomials are minimax fits (Remez exchange in 40 digits) rounded to f32. Largest errors against the
 * exact value as seen by tests/kernels/check_math.c: tanh 2.5 ulp, sigmoid 2.3, gelu 1.1, gelu_tanh 2.8. */
#ifndef MLTF_KERNELS_KX86_MATH_H
#define MLTF_KERNELS_KX86_MATH_H

/* x = n ln 2 + r with |r| <= ln 2 / 2; returns e^r - 1. */
VEC_INLINE vecf f_reduced_expm1(vecf x, vecf *n)
{
    *n = f_round(f_mul(x, f_set(1.44269504f)));
    vecf r = f_fma(*n, f_set(-0.693147182f), x);
    r = f_fma(*n, f_set(1.90465421e-9f), r); // what f32 leaves of ln 2
    vecf q = f_fma(f_set(0.00139506033f), r, f_set(0.00836895313f));
    q = f_fma(q, r, f_set(0.041666206f));
    q = f_fma(q, r, f_set(0.166665182f));
    q = f_fma(q, r, f_set(0.5f));
    return f_fma(q, f_mul(r, r), r);
}

VEC_INLINE vecf f_exp(vecf x)
{
    x = f_min(f_set(89.0f), f_max(f_set(-104.0f), x)); // past them: infinity, zero; NaN stays
    vecf n;
    const vecf p = f_reduced_expm1(x, &n);
    return f_scale2(f_add(p, f_set(1.0f)), n);
}

VEC_INLINE vecf f_tanh(vecf x)
{
    // with t = e^(2|x|) - 1: t / (t + 2); 1 in f32 from 9.02 on
    vecf n;
    const vecf p = f_reduced_expm1(f_min(f_set(20.0f), f_add(f_abs(x), f_abs(x))), &n);
    const vecf t = f_add(f_scale2(p, n), f_sub(f_scale2(f_set(1.0f), n), f_set(1.0f)));
    return f_sign_of(f_div(t, f_add(t, f_set(2.0f))), x);
}

VEC_INLINE vecf f_erf(vecf x)
{
    const vecf a = f_abs(x), z = f_mul(x, x);
    // up to 1: x + x P(x^2)
    vecf p = f_fma(f_set(7.88912294e-05f), z, f_set(-0.000802084222f));
    p = f_fma(p, z, f_set(0.00518953567f));
    p = f_fma(p, z, f_set(-0.0268544443f));
    p = f_fma(p, z, f_set(0.112836003f));
    p = f_fma(p, z, f_set(-0.37612626f));
    p = f_fma(p, z, f_set(0.128379166f));
    const vecf small = f_fma(a, p, a);
    // up to 4: 1 - exp(Q(x)); 1 in f32 from there on
    const vecf t = f_min(f_set(4.0f), a);
    vecf q = f_fma(f_set(0.000186378937f), t, f_set(-0.00294765574f));
    q = f_fma(q, t, f_set(0.0218380541f));
    q = f_fma(q, t, f_set(-0.10310673f));
    q = f_fma(q, t, f_set(-0.638144851f));
    q = f_fma(q, t, f_set(-1.12708914f));
    q = f_fma(q, t, f_set(-0.000341526757f));
    const vecf large = f_sub(f_set(1.0f), f_exp(q));
    return f_sign_of(f_select(f_less(a, f_set(1.0f)), small, large), x);
}

VEC_INLINE vecf f_sigmoid(vecf x)
{
    return f_div(f_set(1.0f), f_add(f_set(1.0f), f_exp(f_sub(f_zero(), x))));
}

VEC_INLINE vecf f_gelu(vecf x)
{
    const vecf half = f_mul(f_set(0.5f), x);
    return f_fma(half, f_erf(f_mul(x, f_set(0.70710678f))), half);
}

VEC_INLINE vecf f_relu(vecf x)
{
    return f_max(f_zero(), x);
} // NaN stays

/* act is a constant: the switch is gone after compiling. */
VEC_INLINE vecf f_act(vecf x, const k_act act)
{
    vecf t;
    switch (act) {
    case K_ACT_RELU:
        return f_relu(x);
    case K_ACT_GELU:
        return f_gelu(x);
    case K_ACT_GELU_TANH: // 0.5 (1 + tanh u) is sigmoid(2 u)
        t = f_fma(f_mul(f_set(0.044715f), f_mul(x, x)), x, x);
        return f_mul(x, f_sigmoid(f_mul(f_set(1.59576912f), t)));
    case K_ACT_GELU_QUICK:
        return f_mul(x, f_sigmoid(f_mul(f_set(1.702f), x)));
    case K_ACT_SILU:
        return f_mul(x, f_sigmoid(x));
    case K_ACT_TANH:
        return f_tanh(x);
    case K_ACT_SIGMOID:
        return f_sigmoid(x);
    case K_ACT_RELU2:
        t = f_relu(x);
        return f_mul(t, t);
    case K_ACT_GELU_10:
        return f_min(f_set(10.0f), f_max(f_set(-10.0f), f_gelu(x)));
    case K_ACT_MISH: // tanh(log(1 + e^x)) = (w^2 + 2 w) / (w^2 + 2 w + 2) with w = e^x
        t = f_exp(f_min(f_set(20.0f), x));
        t = f_mul(t, f_add(t, f_set(2.0f)));
        return f_mul(x, f_div(t, f_add(t, f_set(2.0f))));
    case K_ACT_NONE:
    case K_ACT_COUNT:
        break;
    }
    return x;
}

#endif
