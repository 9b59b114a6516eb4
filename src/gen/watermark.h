/* Watermarks (Kirchenbauer et al. 2023, arXiv:2301.10226): at each step the tokens of a green list, chosen by a hash of
 * the last token ("lefthash") or of the candidate itself ("selfhash"), score higher. Lists are those of transformers'
 * WatermarkLogitsProcessor to the last token, so that its WatermarkDetector finds them: torch's generator and randperm. */
#ifndef MLTF_GEN_WATERMARK_H
#define MLTF_GEN_WATERMARK_H

#include "base/arena.h"
#include "gen/gen_config.h"

/* The table that selfhash draws from; NULL without memory. */
const uint32_t *gen_watermark_table(const gen_watermark *w, mltf_arena *arena);
/* Raise the green tokens of scores[vocab] for a sequence ids[0..n). order[vocab] is scratch; table may be NULL for
 * lefthash. */
void gen_watermark_apply(const gen_watermark *w, const uint32_t *table, float *scores, size_t vocab,
                         const int32_t *ids, size_t n, uint32_t *order);

#endif
