/*
 * clock.c - days and milliseconds, by arithmetic
 *
 * The proleptic Gregorian calendar needs no time zone files and no lock, so libc's broken-down time is left alone.
 */
#include "base/clock.h"

#include <stdbool.h>
#include <time.h>

#define SECOND_MS  1000
#define MINUTE_MS  (60 * SECOND_MS)
#define HOUR_MS	   (60 * MINUTE_MS)
#define DAY_MS	   ((int64_t)24 * HOUR_MS)
#define EPOCH_DAYS 719528 /* from 0000-01-01 to 1970-01-01 */
#define YEAR_MAX   9999

static int64_t read_clock(clockid_t id)
{
	struct timespec t;

	(void)clock_gettime(id, &t); /* cannot fail for the two clocks asked for */
	return (int64_t)t.tv_sec * SECOND_MS + t.tv_nsec / 1000000;
}

int64_t clock_now_ms(void)
{
	return read_clock(CLOCK_REALTIME);
}

int64_t clock_mono_ms(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

static bool is_leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* from 0000-01-01 to the first day of @year; @year is 0 to YEAR_MAX + 1 */
static int days_before_year(int year)
{
	const int past = year - 1;

	if (year == 0)
		return 0;
	return year * 365 + 1 + past / 4 - past / 100 + past / 400; /* year 0 is a leap year */
}

static int month_days(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[month - 1] + (month == 2 && is_leap(year));
}

/* The lowest digits of @v, @n of them, at @to. */
static void put_digits(char *to, int n, int v)
{
	while (n-- > 0) {
		to[n] = (char)('0' + v % 10);
		v /= 10;
	}
}

void clock_iso(int64_t unix_ms, char ret[CLOCK_ISO_SIZE])
{
	const int64_t min = -EPOCH_DAYS * DAY_MS;
	const int64_t max = (days_before_year(YEAR_MAX + 1) - EPOCH_DAYS) * DAY_MS - 1;
	const int64_t ms = (unix_ms < min ? min : unix_ms > max ? max : unix_ms) - min;
	int day = (int)(ms / DAY_MS), time = (int)(ms % DAY_MS);
	int year = day * 400 / 146097 + 1, month = 1; /* by the mean year, and never too early */

	while (days_before_year(year) > day)
		year--;
	day -= days_before_year(year);
	for (; day >= month_days(year, month); month++)
		day -= month_days(year, month);

	memcpy(ret, "0000-00-00T00:00:00.000Z", CLOCK_ISO_SIZE);
	put_digits(ret, 4, year);
	put_digits(ret + 5, 2, month);
	put_digits(ret + 8, 2, day + 1);
	put_digits(ret + 11, 2, time / HOUR_MS);
	put_digits(ret + 14, 2, time / MINUTE_MS % 60);
	put_digits(ret + 17, 2, time / SECOND_MS % 60);
	put_digits(ret + 20, 3, time % SECOND_MS);
}

/* What is left to read. Once something did not fit, nothing more is taken. */
struct reader {
	struct bytes rest;
	bool bad;
};

static bool skip(struct reader *r, char c)
{
	if (r->bad || r->rest.n == 0 || r->rest.p[0] != (uint8_t)c)
		return false;
	r->rest = bytes_sub(r->rest, 1, SIZE_MAX);
	return true;
}

static void need(struct reader *r, char c)
{
	if (!skip(r, c))
		r->bad = true;
}

/* Return: the next digit, or -1 and nothing is taken. */
static int digit(struct reader *r)
{
	for (int d = 0; d <= 9; d++)
		if (skip(r, (char)('0' + d)))
			return d;
	return -1;
}

/* Return: exactly @n digits as a number in @min..@max; @min when that is not there. */
static int number(struct reader *r, int n, int min, int max)
{
	int v = 0;

	while (n-- > 0) {
		const int d = digit(r);

		if (d < 0)
			r->bad = true;
		v = v * 10 + (d < 0 ? 0 : d);
	}
	if (v < min || v > max)
		r->bad = true;
	return r->bad ? min : v;
}

/* One digit or more; what is finer than a millisecond is cut off. */
static int fraction_ms(struct reader *r)
{
	int ms = 0, unit = 100, d = digit(r);

	if (d < 0)
		r->bad = true;
	for (; d >= 0; d = digit(r), unit /= 10)
		ms += d * unit;
	return ms;
}

/* THH:MM[:SS[.fff]][Z|+HH:MM|-HH:MM] behind the T. Return: milliseconds since midnight UTC. */
static int64_t time_of_day(struct reader *r)
{
	int64_t ms, offset;
	int sign;

	ms = (int64_t)number(r, 2, 0, 24) * HOUR_MS;
	need(r, ':');
	ms += number(r, 2, 0, 59) * MINUTE_MS;
	if (skip(r, ':')) {
		ms += number(r, 2, 0, 59) * SECOND_MS;
		if (skip(r, '.'))
			ms += fraction_ms(r);
	}
	if (ms > DAY_MS)
		r->bad = true; /* 24:00 is the end of the day, and nothing is later */

	if (skip(r, 'Z'))
		return ms;
	sign = skip(r, '+') ? 1 : skip(r, '-') ? -1 : 0;
	if (!sign)
		return ms;
	offset = (int64_t)number(r, 2, 0, 23) * HOUR_MS;
	need(r, ':');
	offset += number(r, 2, 0, 59) * MINUTE_MS;
	return ms - sign * offset;
}

int clock_parse_iso(struct bytes text, int64_t *ret_unix_ms)
{
	struct reader r = { .rest = text };
	int year, month = 1, day = 1;
	int64_t ms = 0;

	year = number(&r, 4, 0, YEAR_MAX);
	if (skip(&r, '-')) {
		month = number(&r, 2, 1, 12);
		if (skip(&r, '-'))
			day = number(&r, 2, 1, month_days(year, month));
	}
	if (skip(&r, 'T'))
		ms = time_of_day(&r);
	if (r.bad || r.rest.n)
		return ERR_INVALID_PARAMS;
	for (int m = 1; m < month; m++)
		day += month_days(year, m);
	*ret_unix_ms = (days_before_year(year) + day - 1 - EPOCH_DAYS) * DAY_MS + ms;
	return 0;
}
