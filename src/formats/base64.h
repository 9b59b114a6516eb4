/* Base64 as Python's base64 module writes and reads it. */
#ifndef MLTF_FORMATS_BASE64_H
#define MLTF_FORMATS_BASE64_H

#include "base/buf.h"

void base64_encode(mltf_buf *out, mltf_str bytes);       /* b64encode(): one line, no newline */
void base64_encode_lines(mltf_buf *out, mltf_str bytes); /* encodebytes(): 76 columns, newline after every line */
/* decodebytes() and b64decode(): characters outside the alphabet are skipped. False: wrong padding. */
bool base64_decode(mltf_buf *out, mltf_str text);
bool base64_is_strict(mltf_str text); /* nothing outside the alphabet, padded to a multiple of four */

#endif
