/* The values of a tensor that is written: rows of one or two tensors of the GGUF file, put in order, turned or taken as they are. */
#include "convert/convert_job.h"

#include <math.h>
#include <stdlib.h>

#include "base/checked.h"

/* n floats in the type of the checkpoint; out may be x itself. */
static void narrow(void *out, const float *x, size_t n, mltf_dtype dtype)
{
    if (dtype == DT_F32) {
        memmove(out, x, 4 * n);
        return;
    }
    uint8_t *p = out;
    for (size_t i = 0; i < n; i++) {
        const uint16_t h = dtype == DT_BF16 ? f32_to_bf16(x[i]) : f32_to_f16(x[i]);
        memcpy(p + 2 * i, &h, 2);
    }
}

static mltf_status put_row(const convert_piece *p, st_sink *to, float *row, size_t n, mltf_err *err)
{
    narrow(row, row, n, p->dtype);
    return st_put(to, row, n * dtype_size(p->dtype), err);
}

static mltf_status new_floats(float **out, size_t n, mltf_err *err)
{
    size_t bytes;
    *out = checked_mul(&bytes, n ? n : 1, sizeof(float)) ? malloc(bytes) : NULL;
    return *out ? MLTF_OK : mltf_fail_memory(err);
}

/* The row, and of which tensor, that comes r-th. */
static size_t source_row(const convert_job *j, const convert_piece *p, size_t r,
                         const gguf_tensor **of)
{
    const size_t H = (size_t)j->heads, kv = (size_t)j->kv_heads;
    *of = p->t;
    switch (p->op) {
    case CONVERT_ROWS_Q:
    case CONVERT_ROWS_K: {
        // llama.cpp stores row 2 i + half of a head where transformers has row half * (D / 2) + i
        const size_t D = p->rows / (p->op == CONVERT_ROWS_Q ? H : kv), in_head = r % D;
        return r - in_head + 2 * (in_head % (D / 2)) + in_head / (D / 2);
    }
    case CONVERT_QKV: {
        // a group is a key head: its queries, its key, its value
        const size_t D = p->rows / (H + 2 * kv), per = H / kv, group = r / (D * (per + 2)),
                     in_group = r % (D * (per + 2)), head = in_group / D;
        if (head < per) return group * per * D + in_group;
        return (head == per ? H + group : H + kv + group) * D + in_group % D;
    }
    case CONVERT_JOIN: {
        const size_t mine = p->t->shape[1], theirs = p->joined->shape[1], all = mine + theirs;
        if (r % all < mine) return r / all * mine + r % all;
        *of = p->joined;
        return r / all * theirs + r % all - mine;
    }
    case CONVERT_WEAVE:
    case CONVERT_WEAVE_MXFP4:
        if (r % 2) *of = p->joined;
        return r / 2;
    default:
        return p->first_row + r;
    }
}

/* What llama.cpp's converter did to each value. */
static void undo(convert_op op, float *x, size_t n)
{
    for (size_t i = 0; i < n && op == CONVERT_MINUS_ONE; i++) x[i] -= 1.0f;
    for (size_t i = 0; i < n && op == CONVERT_LOG_MINUS; i++) x[i] = logf(-x[i]);
}

static mltf_status put_rows(const convert_job *j, const convert_piece *p, st_sink *to,
                            mltf_err *err)
{
    float *x = NULL;
    mltf_status st = new_floats(&x, p->cols, err);
    if (!st && p->op == CONVERT_FROM_TWO) {
        memset(x, 0, p->cols * sizeof *x);
        for (int i = 0; i < 2 && !st; i++) st = put_row(p, to, x, p->cols, err);
    }
    for (size_t r = 0; r < p->rows && !st; r++) {
        const gguf_tensor *of;
        const size_t row = source_row(j, p, r, &of);
        gguf_dequantize(x, of, row * p->cols, p->cols);
        undo(p->op, x, p->cols);
        st = put_row(p, to, x, p->cols, err);
    }
    free(x);
    return st;
}

/* Values that change places one by one: quantized blocks are not taken apart. */
static mltf_status put_values(const convert_job *j, const convert_piece *p, st_sink *to,
                              mltf_err *err)
{
    const size_t n = p->t->count;
    float *x = NULL, *y = NULL;
    mltf_status st = new_floats(&x, n, err);
    if (!st) st = new_floats(&y, p->joined ? n : 1, err);
    if (!st) {
        gguf_dequantize(x, p->t, 0, n);
        if (p->joined) gguf_dequantize(y, p->joined, 0, n);
    }
    for (size_t r = 0; r < p->rows && !st; r++) {
        const gguf_tensor *of;
        const size_t at = source_row(j, p, r, &of);
        float one = (of == p->t ? x : y)[at];
        undo(p->op, &one, 1);
        st = put_row(p, to, &one, 1, err);
    }
    free(x);
    free(y);
    return st;
}

/* The columns of each matrix of a stack; between their values those of the joined one (WEAVE_TURNED), or behind them its
 * rows (KV_B). */
static mltf_status put_turned(const convert_piece *p, st_sink *to, mltf_err *err)
{
    const gguf_tensor *t = p->t, *o = p->joined;
    const size_t cols = t->shape[0], rows = t->shape[1], n = cols * rows;
    const size_t other = o ? o->shape[0] * o->shape[1] : 0;
    const size_t by = p->op == CONVERT_WEAVE_TURNED ? 2 : 1;
    float *x = NULL, *y = NULL, *column = NULL;
    mltf_status st = new_floats(&x, n, err);
    if (!st) st = new_floats(&y, other, err);
    if (!st) st = new_floats(&column, by * rows, err);
    for (size_t i = 0; i < t->count / n && !st; i++) {
        gguf_dequantize(x, t, i * n, n);
        if (o) gguf_dequantize(y, o, i * other, other);
        for (size_t c = 0; c < cols && !st; c++) {
            for (size_t r = 0; r < rows; r++) column[by * r] = x[r * cols + c];
            for (size_t r = 0; r < rows && by == 2; r++) column[2 * r + 1] = y[r * cols + c];
            st = put_row(p, to, column, by * rows, err);
        }
        for (size_t r = 0; p->op == CONVERT_KV_B && r < o->shape[1] && !st; r++)
            st = put_row(p, to, y + r * o->shape[0], o->shape[0], err);
    }
    free(x);
    free(y);
    free(column);
    return st;
}

/* GGUF has value i of a block in the low half of byte i, value i + 16 in the high one; checkpoints have neighbours together. */
static mltf_status put_mxfp4(const convert_job *j, const convert_piece *p, st_sink *to,
                             mltf_err *err)
{
    const size_t blocks = p->cols / 32, width = p->scales ? 1 : 16;
    uint8_t *row = malloc(blocks * 16 + 1);
    mltf_status st = row ? MLTF_OK : mltf_fail_memory(err);
    for (size_t r = 0; r < p->rows && !st; r++) {
        const gguf_tensor *of;
        const uint8_t *b = NULL;
        const size_t at = source_row(j, p, r, &of);
        for (size_t g = 0; g < blocks; g++) {
            b = of->data + (at * blocks + g) * 17;
            if (p->scales) row[g] = b[0];
            for (size_t k = 0; k < 16 && !p->scales; k++) {
                const uint8_t *q = b + 1 + k % 8 * 2;
                row[g * 16 + k] = (uint8_t)(k < 8 ? (q[0] & 15) | (q[1] & 15) << 4
                                                  : q[0] >> 4 | (q[1] >> 4) << 4);
            }
        }
        st = st_put(to, row, blocks * width, err);
    }
    free(row);
    return st;
}

mltf_status convert_put_tensor(void *job, size_t index, st_sink *to, mltf_err *err)
{
    const convert_job *j = job;
    const convert_piece *p = &j->pieces[index];
    switch (p->op) {
    case CONVERT_TRANSPOSE:
    case CONVERT_WEAVE_TURNED:
    case CONVERT_KV_B:
        return put_turned(p, to, err);
    case CONVERT_MXFP4:
    case CONVERT_WEAVE_MXFP4:
        return put_mxfp4(j, p, to, err);
    default:
        return p->cols == 1 ? put_values(j, p, to, err) : put_rows(j, p, to, err);
    }
}
