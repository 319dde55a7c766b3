/* The exact bytes that reach stderr: prefixes, levels, what is replaced, what is cut. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "tests/unit/tap.h"

static int fd = -1; /* what stderr is while logging */
static int real_stderr;

static void begin(void)
{
	(void)fflush(stderr);
	if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0 || dup2(fd, STDERR_FILENO) < 0) {
		printf("Bail out! cannot redirect stderr\n");
		exit(1);
	}
}

/* What was written since begin(). */
static struct bytes end(void)
{
	static char text[8192];
	const ssize_t n = pread(fd, text, sizeof(text), 0);

	(void)dup2(real_stderr, STDERR_FILENO);
	return BYTES(text, n < 0 ? 0 : (size_t)n);
}

/* Points JOURNAL_STREAM at the file that stderr will be, or beside it. */
static void pretend_journal(unsigned off)
{
	char stream[64];
	struct stat st = { 0 };

	(void)fstat(fd, &st);
	(void)snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		       (unsigned long long)st.st_ino + off);
	(void)setenv("JOURNAL_STREAM", stream, 1);
}

static void test_journal(void)
{
	pretend_journal(0);
	begin();
	log_error("e %d", 1);
	log_warning("w");
	log_info("i");
	log_debug("d");
	CHECK_BYTES(end(), bytes_str("<3>e 1\n<4>w\n<6>i\n"));
	log_set_level(LOG_LEVEL_DEBUG);
	begin();
	log_debug("d");
	CHECK_BYTES(end(), bytes_str("<7>d\n"));
	log_set_level(LOG_LEVEL_ERROR);
	begin();
	log_error("e");
	log_warning("w");
	CHECK_BYTES(end(), bytes_str("<3>e\n"));
	log_set_level(LOG_LEVEL_INFO);
}

static void timed(const char *stream)
{
	const size_t time_n = CLOCK_ISO_SIZE - 1;
	struct bytes said;
	int64_t ms;

	if (stream)
		(void)setenv("JOURNAL_STREAM", stream, 1);
	begin();
	log_warning("text");
	said = end();
	CHECK_INT(clock_parse_iso(bytes_sub(said, 0, time_n), &ms), 0);
	CHECK_BYTES(bytes_sub(said, time_n, SIZE_MAX), bytes_str(" warning: text\n"));
}

static void test_elsewhere(void)
{
	(void)unsetenv("JOURNAL_STREAM");
	timed(NULL);
	timed("");
	timed("1");
	timed("1:");
	timed(":2");
	timed("8:1x");
	pretend_journal(1); /* somebody else's stream, inherited with the environment */
	timed(NULL);
}

static void says(const char *argument, const char *want)
{
	char line[128];

	begin();
	log_info("[%s]", argument);
	(void)snprintf(line, sizeof(line), "<6>[%s]\n", want);
	CHECK_BYTES(end(), bytes_str(line));
}

static void test_defused(void)
{
	pretend_journal(0);
	says("a\n<3>forged", "a?<3>forged");
	says("a\r\t\x1b[31m\x7f"
	     "b",
	     "a???[31m?b");
	says("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x94\x91", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x94\x91");
	says("\xc2\x9b"
	     "31m",
	     "??31m");					   /* C1: CSI */
	says("\xe2\x80\xa8|\xe2\x80\xae", "???|???");	   /* line separator, right-to-left override */
	says("\xe9t\xe9", "?t?");			   /* Latin-1 */
	says("\xc0\x8a|\xe0\x80\x8a", "??|???");	   /* overlong newlines */
	says("\xed\xa0\x80|\xf4\x90\x80\x80", "???|????"); /* a surrogate; beyond Unicode */
	says("\xe2\x82", "??");				   /* cut short */
	says("\xff", "?");
}

static void test_long(void)
{
	char argument[5000];
	struct bytes said;

	memset(argument, 'x', sizeof(argument) - 1);
	argument[sizeof(argument) - 1] = '\0';
	begin();
	log_info("%s", argument);
	said = end();
	CHECK_INT(said.n, 2048);
	CHECK_BYTES(bytes_sub(said, 2040, 8), bytes_str("xxxx...\n"));

	argument[2043] = '\0'; /* "<6>", 2043, "\n": over by nothing */
	argument[2042] = 'y';
	begin();
	log_info("%s", argument);
	said = end();
	CHECK_INT(said.n, 2047);
	CHECK_BYTES(bytes_sub(said, 2044, 3), bytes_str("xy\n"));

	memcpy(argument + 2041, "\xe2\x82\xac\xe2\x82\xac", 7); /* the cut goes through a character */
	begin();
	log_info("%s", argument);
	said = end();
	CHECK_INT(said.n, 2048);
	CHECK_BYTES(bytes_sub(said, 2043, 5), bytes_str("x...\n"));
	memcpy(argument + 2039, "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", 10);
	begin();
	log_info("%s", argument);
	said = end();
	CHECK_BYTES(bytes_sub(said, 2041, 7), bytes_str("x??...\n"));
}

static void test_errno(void)
{
	begin();
	errno = ENOENT;
	log_info("%s: %m", "file");
	CHECK_INT(errno, ENOENT);
	CHECK_BYTES(end(), bytes_str("<6>file: No such file or directory\n"));
	(void)close(STDERR_FILENO); /* nobody listens: no failure */
	log_error("lost");
	CHECK(dup2(real_stderr, STDERR_FILENO) == STDERR_FILENO);
}

static void test_levels(void)
{
	enum log_level level = LOG_LEVEL_ERROR;

	CHECK(log_level_parse("debug", &level) && level == LOG_LEVEL_DEBUG);
	CHECK(log_level_parse("info", &level) && level == LOG_LEVEL_INFO);
	CHECK(log_level_parse("warning", &level) && level == LOG_LEVEL_WARNING);
	CHECK(log_level_parse("error", &level) && level == LOG_LEVEL_ERROR);
	level = LOG_LEVEL_INFO;
	CHECK(!log_level_parse("Debug", &level));
	CHECK(!log_level_parse("", &level));
	CHECK(!log_level_parse("warn", &level));
	CHECK_INT(level, LOG_LEVEL_INFO);
}

int main(void)
{
	test_start();
	fd = memfd_create("stderr", MFD_CLOEXEC);
	real_stderr = dup(STDERR_FILENO);
	if (fd < 0 || real_stderr < 0) {
		printf("Bail out! no file for stderr\n");
		return 1;
	}
	test_levels();
	test_journal();
	test_elsewhere();
	test_defused();
	test_long();
	test_errno();
	(void)close(fd);
	(void)close(real_stderr);
	return test_end();
}
