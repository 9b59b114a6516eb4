/* SynthID text watermarks (Dathathri et al. 2024, Nature 634): at each step the probabilities go through a tournament
 * whose rounds are drawn from a hash of the tokens before, the candidate and a key. The draws are those of transformers'
 * SynthIDTextWatermarkLogitsProcessor, so that detectors made for it find them. */
#ifndef MLTF_GEN_SYNTHID_H
#define MLTF_GEN_SYNTHID_H

#include "base/arena.h"
#include "gen/gen_config.h"

/* The table of draws, [table_size]; NULL without memory. */
const uint8_t *gen_synthid_table(const gen_synthid *w, mltf_arena *arena);
/* scores[vocab] of the token behind the generated ids[0..n), the prompt not among them. probs[vocab] is scratch. */
void gen_synthid_apply(const gen_synthid *w, const uint8_t *table, float *scores, size_t vocab,
                       const int32_t *ids, size_t n, float *probs);

#endif
