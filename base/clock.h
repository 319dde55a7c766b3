/*
 * clock - wall time in ISO 8601, and the monotonic clock
 */
#ifndef E2EED_BASE_CLOCK_H
#define E2EED_BASE_CLOCK_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

#define CLOCK_ISO_SIZE sizeof("2026-11-23T06:00:00.000Z")

int64_t clock_now_ms(void);  /* Unix time */
int64_t clock_mono_ms(void); /* since some point, never set back */

/** clock_iso - ISO 8601 in UTC with milliseconds, NUL-terminated; years 0 to 9999, clamped */
void clock_iso(int64_t unix_ms, char ret[CLOCK_ISO_SIZE]);

/**
 * clock_parse_iso - a date with optional time, fraction and zone (ISO 8601 as ECMAScript's Date.parse reads it)
 *
 * YYYY, YYYY-MM or YYYY-MM-DD, then optionally THH:MM, :SS, a fraction of any length (cut to milliseconds) and Z or an
 * offset of hours and minutes. 24:00 is the end of the day. Unlike there, a time without a zone is UTC, and years of
 * six digits with a sign are refused.
 *
 * Return: 0 and Unix milliseconds, ERR_INVALID_PARAMS.
 */
int clock_parse_iso(struct bytes text, int64_t *ret_unix_ms) WARN_UNUSED;

#endif
