/*
 * b64_avx2 - the middle of long texts of standard base64, 32 characters a step
 *
 * For base/b64.c alone, which deals with what is left over and with processors that do not have it. No look-up depends on the data.
 */
#ifndef E2EED_BASE_B64_AVX2_H
#define E2EED_BASE_B64_AVX2_H

#include "base/bytes.h"

/** b64_avx2_encode - Return: how many bytes of @in have been encoded into @ret: a multiple of 3, 0 where it cannot be done here */
size_t b64_avx2_encode(struct bytes in, char *ret);

/**
 * b64_avx2_decode - up to the step that holds a foreign character, if one does
 * @ret: as for b64_decode(); what stands behind the decoded bytes may be overwritten
 *
 * Return: how many characters of @text have been decoded: a multiple of 4, 0 where it cannot be done here.
 */
size_t b64_avx2_decode(struct bytes text, uint8_t *ret);

#endif
