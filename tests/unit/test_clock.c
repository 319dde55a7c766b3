/* Every day of the calendar there and back, the forms of ISO 8601 that are taken, and those that are not. */
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "tests/unit/tap.h"

#define DAY_MS INT64_C(86400000)

static void reads(const char *text, int64_t want)
{
	int64_t ms = 1;

	CHECK_INT(clock_parse_iso(bytes_str(text), &ms), 0);
	CHECK_INT(ms, want);
}

static void refuses_bytes(struct bytes text)
{
	int64_t ms = 12345;

	CHECK_INT(clock_parse_iso(text, &ms), ERR_INVALID_PARAMS);
	CHECK_INT(ms, 12345);
}

static void writes(int64_t ms, const char *want)
{
	char text[CLOCK_ISO_SIZE];

	clock_iso(ms, text);
	CHECK_BYTES(BYTES(text, sizeof(text)), BYTES(want, strlen(want) + 1));
}

/* The numbers are what Date.parse gives. */
static void test_taken(void)
{
	reads("1970-01-01T00:00:00.000Z", 0);
	reads("2026-11-23T06:00:00.000Z", 1795413600000);
	reads("2026-11-23T06:00:00Z", 1795413600000);
	reads("2026-11-23T06:00Z", 1795413600000);
	reads("2026-11-23T06:00", 1795413600000);
	reads("2026-11-23T06:00:00.5Z", 1795413600500);
	reads("2026-11-23T06:00:00.05Z", 1795413600050);
	reads("2026-11-23T06:00:00.123999999999999999999Z", 1795413600123);
	reads("2026-11-23T08:30:00+02:30", 1795413600000);
	reads("2026-11-22T18:00:00.000-12:00", 1795413600000);
	reads("2026-11-23T06:00:00-00:00", 1795413600000);
	reads("2026-11-23", 1795392000000);
	reads("2026-11", 1793491200000);
	reads("2026", 1767225600000);
	reads("2026-11T06:00Z", 1793512800000);
	reads("2026-11-22T24:00:00.000Z", 1795392000000);
	reads("2024-02-29", 1709164800000);
	reads("2000-02-29", 951782400000);
	reads("0000-01-01", -62167219200000);
	reads("9999-12-31T23:59:59.999Z", 253402300799999);
	reads("1969-12-31T23:59:59.999Z", -1);
}

static void test_refused(void)
{
	static const char *const texts[] = {
		"",
		"20",
		"202",
		"20261",
		"2026-",
		"2026-1",
		"2026-00",
		"2026-13",
		"2026-11-",
		"2026-11-00",
		"2026-11-31",
		"2026-02-29",
		"2100-02-29",
		"2024-02-30",
		"2026-13-01",
		"2026-11-2",
		"2026-11-231",
		"2026-11-23T",
		"2026-11-23T06",
		"2026-11-23T06Z",
		"2026-11-23T6:00Z",
		"2026-11-23T06:0Z",
		"2026-11-23T06:60Z",
		"2026-11-23T25:00Z",
		"2026-11-23T24:00:00.001Z",
		"2026-11-23T24:00:01Z",
		"2026-11-23T24:01Z",
		"2026-11-23T06:00:60Z",
		"2026-11-23T06:00:00.Z",
		"2026-11-23T06:00:00,5Z",
		"2026-11-23T06:00:00+2:30",
		"2026-11-23T06:00:00+24:00",
		"2026-11-23T06:00:00+02:60",
		"2026-11-23T06:00:00+0230",
		"2026-11-23T06:00:00+02",
		"2026-11-23T06:00:00ZZ",
		"2026-11-23T06:00:00Z ",
		" 2026-11-23",
		"2026-11-23 06:00:00Z",
		"2026-11-23t06:00:00z",
		"2026/11/23",
		"+002026-11-23",
		"-000001-01-01",
		"20261123",
		"Mon, 23 Nov 2026 06:00:00 GMT",
		"1795413600000",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		refuses_bytes(bytes_str(texts[i]));
	refuses_bytes(BYTES_LIT("2026-11-23\0"));
	refuses_bytes(BYTES_NONE);
}

static void test_written(void)
{
	writes(0, "1970-01-01T00:00:00.000Z");
	writes(-1, "1969-12-31T23:59:59.999Z");
	writes(1795413600007, "2026-11-23T06:00:00.007Z");
	writes(951782399999, "2000-02-28T23:59:59.999Z");
	writes(951782400000, "2000-02-29T00:00:00.000Z");
	writes(-62167219200000, "0000-01-01T00:00:00.000Z");
	writes(-62167219200001, "0000-01-01T00:00:00.000Z"); /* clamped */
	writes(INT64_MIN, "0000-01-01T00:00:00.000Z");
	writes(253402300799999, "9999-12-31T23:59:59.999Z");
	writes(253402300800000, "9999-12-31T23:59:59.999Z");
	writes(INT64_MAX, "9999-12-31T23:59:59.999Z");
}

/* From 1800 to 2420, against libc's calendar. */
static void test_every_day(void)
{
	int64_t wrong = 0;

	for (int64_t ms = -5364662400000; ms < 14200704000000; ms += DAY_MS) {
		const int64_t at = ms + (ms / DAY_MS * 7919 % DAY_MS + DAY_MS) % DAY_MS;
		const time_t seconds = (time_t)((at - (at % 1000 + 1000) % 1000) / 1000);
		char text[CLOCK_ISO_SIZE], want[32];
		int64_t back = 0;
		struct tm tm;

		clock_iso(at, text);
		(void)gmtime_r(&seconds, &tm);
		if (strftime(want, sizeof(want), "-%m-%dT%H:%M:%S.", &tm) != 16 || memcmp(text + 4, want, 16) != 0 ||
		    clock_parse_iso(BYTES(text, strlen(text)), &back) < 0 || back != at)
			wrong++;
	}
	CHECK_INT(wrong, 0);
}

static void test_clocks(void)
{
	const int64_t before = clock_mono_ms(), now = clock_now_ms();

	CHECK(clock_mono_ms() >= before);
	CHECK(now > INT64_C(1704067200000)); /* 2024: milliseconds, not seconds */
}

int main(void)
{
	test_start();
	test_taken();
	test_refused();
	test_written();
	test_every_day();
	test_clocks();
	return test_end();
}
