/* Text as Python's str methods treat it: white space is Unicode's. */
#ifndef MLTF_BASE_PYTEXT_H
#define MLTF_BASE_PYTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

bool pytext_is_space(uint32_t cp); /* str.isspace() of one character */
mltf_str pytext_strip(mltf_str s);
mltf_str pytext_lstrip(mltf_str s);
mltf_str pytext_rstrip(mltf_str s);
void pytext_lower(mltf_buf *out, mltf_str s); /* appends str.lower() */
/* Appends repr(s), or ascii(s); bytes that are no UTF-8 stay as they are. */
void pytext_repr(mltf_buf *out, mltf_str s, bool ascii);
/* The text as Python reads a file opened for text: \r\n and \r are \n. */
mltf_str pytext_newlines(mltf_arena *a, mltf_str s);
/* Appends " ".join(s.split()). */
void pytext_join_words(mltf_buf *out, mltf_str s);
/* The same as a text of the arena; it is re.sub(r"\s+", " ", s).strip() too. */
mltf_str pytext_collapse(mltf_arena *a, mltf_str s);
/* The next word of str.split(), behind which *rest goes on; n 0: there is none. */
mltf_str pytext_word(mltf_str *rest);

#endif
