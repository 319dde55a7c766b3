/*
 * log.c - formats one line, makes it harmless, writes it with one call
 *
 * One write(2) a line keeps the lines of several threads apart without a lock.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_BYTES 2048 /* a longer line is cut, and ends in CUT */
#define CUT	   "..."

static const struct {
	const char *name;
	int priority; /* of syslog(3) */
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", 3 },
	[LOG_LEVEL_WARNING] = { "warning", 4 },
	[LOG_LEVEL_INFO] = { "info", 6 },
	[LOG_LEVEL_DEBUG] = { "debug", 7 },
};

static _Atomic enum log_level limit = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&limit, level, memory_order_relaxed);
}

bool log_level_parse(const char *name, enum log_level *ret)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcmp(levels[i].name, name) == 0) {
			*ret = (enum log_level)i;
			return true;
		}
	}
	return false;
}

/*
 * JOURNAL_STREAM holds device:inode of the stream that systemd gave us (systemd.exec(5)); stderr may have been
 * redirected since, so the two are compared, each time anew.
 */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;
	char *end;

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	device = strtoull(stream, &end, 10);
	if (end == stream || *end != ':')
		return false;
	stream = end + 1;
	inode = strtoull(stream, &end, 10);
	return end != stream && *end == '\0' && device == st.st_dev && inode == st.st_ino;
}

/* Length of the well-formed UTF-8 sequence (Unicode, table 3-7) that @p begins with, 0 if there is none. */
static size_t utf8_sequence(const uint8_t *p, size_t n, uint32_t *ret)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf8 ? 4 : 0;
	uint32_t c = len == 1 ? p[0] : p[0] & (0x7fu >> len);

	if (len == 0 || len > n)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret = c;
	return len;
}

/* Control characters, C1 among them, and what ends a line or reverses its direction in a terminal or viewer. */
static bool is_harmful(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* Replaces in place, byte by byte, so that the length stays. */
static void defuse(char *text, size_t n)
{
	size_t i = 0;

	while (i < n) {
		uint32_t c = 0;
		size_t len = utf8_sequence((const uint8_t *)text + i, n - i, &c);

		if (len == 0 || is_harmful(c)) {
			len = len ? len : 1;
			memset(text + i, '?', len);
		}
		i += len;
	}
}

__attribute__((format(printf, 2, 0))) static void write_line(enum log_level level, const char *format, va_list ap)
{
	const int saved_errno = errno;
	char line[LINE_BYTES], time[CLOCK_ISO_SIZE];
	size_t n, room;
	int r;

	if (stderr_is_journal()) { /* which keeps the time and the level itself */
		n = (size_t)snprintf(line, sizeof(line), "<%d>", levels[level].priority);
	} else {
		clock_iso(clock_now_ms(), time);
		n = (size_t)snprintf(line, sizeof(line), "%s %s: ", time, levels[level].name);
	}

	room = sizeof(line) - n;
	errno = saved_errno; /* %m */
	r = vsnprintf(line + n, room, format, ap);
	if (r < 0)
		r = 0; /* a format that libc refuses: the line at least tells that there was one */
	if ((size_t)r < room) {
		defuse(line + n, (size_t)r);
		n += (size_t)r;
	} else {
		defuse(line + n, room - sizeof(CUT));
		n = sizeof(line) - sizeof(CUT);
		memcpy(line + n, CUT, sizeof(CUT) - 1);
		n += sizeof(CUT) - 1;
	}
	line[n++] = '\n'; /* where the NUL stood at the latest */

	while (write(STDERR_FILENO, line, n) < 0 && errno == EINTR)
		; /* any other failure: a log that cannot be written stops nothing */
	errno = saved_errno;
}

#define DEFINE_LOG(function_, level_)                                            \
	void function_(const char *format, ...)                                  \
	{                                                                        \
		va_list ap;                                                      \
                                                                                 \
		if (level_ > atomic_load_explicit(&limit, memory_order_relaxed)) \
			return;                                                  \
		va_start(ap, format);                                            \
		write_line(level_, format, ap);                                  \
		va_end(ap);                                                      \
	}

DEFINE_LOG(log_error, LOG_LEVEL_ERROR)
DEFINE_LOG(log_warning, LOG_LEVEL_WARNING)
DEFINE_LOG(log_info, LOG_LEVEL_INFO)
DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG)
