#include "keystore/audit.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/scan.h"
#include "keystore/audit_index.h" /* its size */
#include "tests/unit/tap.h"
#include "tests/unit/tmpdir.h"

static struct tmpdir dir;
static char path[TMPDIR_PATH];
static char why_text[2048]; /* of the latest call that takes one */
static struct secret *key, *other_key;

/* ---- a disk that fails when told to ---- */

static int sync_error;	 /* errno of fdatasync(); 0: it works */
static off_t sync_drops; /* with the error: the file's bytes from here on are lost */

/* In libc's place: no test can make a sound disk fail. What works goes to the kernel. */
int fdatasync(int fd)
{
	static const uint8_t zeros[64];

	if (!sync_error)
		return (int)syscall(SYS_fdatasync, fd);
	if (sync_drops)
		tmpdir_need(pwrite(fd, zeros, sizeof(zeros), sync_drops) == sizeof(zeros), "pwrite");
	errno = sync_error;
	return -1;
}

/* ---- helpers ---- */

static void keep_why(const struct buf *why)
{
	memset(why_text, 0, sizeof(why_text));
	if (why->n)
		memcpy(why_text, why->p, why->n);
}

static int open_at(const char *at, const struct secret *with, struct audit **ret)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(sizeof(why_text) - 1);
	int r = audit_open(at, with, &why, ret);

	keep_why(&why);
	return r;
}

static struct audit *open_log(void)
{
	struct audit *a = NULL;

	CHECK_INT(open_at(path, key, &a), 0);
	tmpdir_need(a != NULL, why_text); /* nothing below makes sense without */
	return a;
}

static struct audit_info info_of(struct audit *a)
{
	struct audit_info info;

	audit_get_info(a, &info);
	return info;
}

static int verify_with(const struct secret *with, audit_line_fn fn, void *arg, struct audit_info *ret)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(sizeof(why_text) - 1);
	int r = audit_verify(path, with, fn, arg, &why, ret);

	keep_why(&why);
	return r;
}

static int verify(struct audit_info *ret)
{
	return verify_with(key, NULL, NULL, ret);
}

static int read_log(struct audit *a, uint64_t since, uint64_t limit, audit_line_fn fn, void *arg, uint64_t *ret_next)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(sizeof(why_text) - 1);
	int r = audit_read(a, since, limit, fn, arg, &why, ret_next);

	keep_why(&why);
	return r;
}

static struct audit_entry entry_at(uint64_t seq)
{
	return (struct audit_entry){
		.by = AUDIT_BY_PROCESS,
		.uid = 1000,
		.pid = 4711,
		.action = "createApp",
		.target = BYTES_LIT("bot"),
		.generation = 3,
		.seq = seq,
	};
}

static int append(struct audit *a, uint64_t seq)
{
	const struct audit_entry e = entry_at(seq);

	return audit_append(a, &e, false);
}

static off_t size_of(const char *file)
{
	struct stat st;

	tmpdir_need(stat(file, &st) == 0, file);
	return st.st_size;
}

#define MAX_LINES 8

/* a log in memory, and where its lines are, line feeds included */
struct lines {
	struct bytes file; /* owned: tmpdir_free() */
	struct bytes line[MAX_LINES];
	size_t n;
};

static void lines_fini(struct lines *l)
{
	tmpdir_free(l->file);
}

static struct lines read_lines(void)
{
	struct lines l = { .file = tmpdir_read(path) };
	struct bytes rest = l.file;

	while (rest.n && l.n < MAX_LINES) {
		const uint8_t *feed = memchr(rest.p, '\n', rest.n);
		const size_t n = feed ? (size_t)(feed - rest.p) + 1 : rest.n;

		l.line[l.n++] = bytes_sub(rest, 0, n);
		rest = bytes_sub(rest, n, SIZE_MAX);
	}
	return l;
}

/* A new log of @n entries, the first with the keystore at @seq. */
static void make_log(size_t n, uint64_t seq)
{
	struct audit *a;

	(void)unlink(path);
	a = open_log();
	for (size_t i = 0; i < n; i++)
		CHECK_INT(append(a, seq + i), 0);
	audit_close(a);
}

static struct lines write_log(size_t n, uint64_t seq)
{
	make_log(n, seq);
	return read_lines();
}

/* ---- what is written ---- */

/* docs/audit.md, with libsodium instead of what the daemon uses */
static bool chained(struct bytes line, const uint8_t before[AUDIT_MAC_SIZE], uint8_t ret[AUDIT_MAC_SIZE])
{
	crypto_auth_hmacsha256_state state;
	char hex[2 * AUDIT_MAC_SIZE + 1];
	struct bytes mac;

	if (line.n < 75)
		return false;
	crypto_auth_hmacsha256_init(&state, secret_read(key), AUDIT_KEY_SIZE);
	crypto_auth_hmacsha256_update(&state, before, AUDIT_MAC_SIZE);
	crypto_auth_hmacsha256_update(&state, line.p, line.n - 75);
	crypto_auth_hmacsha256_final(&state, ret);
	secret_wipe_stack();
	mac = bytes_sub(line, line.n - 75, SIZE_MAX);
	(void)sodium_bin2hex(hex, sizeof(hex), ret, AUDIT_MAC_SIZE);
	return memcmp(mac.p, ",\"mac\":\"", 8) == 0 && memcmp(mac.p + 8, hex, 64) == 0 &&
	       memcmp(mac.p + 72, "\"}\n", 3) == 0;
}

/* @line up to the MAC, its time replaced by T after a look at it */
static void check_line(struct bytes line, const char *want)
{
	const uint8_t *time = memmem(line.p, line.n, "\"time\":\"", 8);
	CLEANUP(buf_fini) struct buf got = BUF_INIT(AUDIT_MAX_LINE);
	const size_t to = time ? (size_t)(time - line.p) + 8 : 0;
	int64_t ms = 0;

	CHECK(time && clock_parse_iso(bytes_sub(line, to, 24), &ms) == 0 && ms <= clock_now_ms() &&
	      ms > clock_now_ms() - 600000);
	buf_put(&got, line.p, to);
	buf_put_str(&got, "T");
	buf_put_bytes(&got, bytes_sub(line, to + 24, line.n - to - 24 - 75));
	CHECK_BYTES(buf_bytes(&got), bytes_str(want));
}

static void test_lines(void)
{
	struct audit_entry e[] = {
		{ .by = AUDIT_BY_DAEMON, .action = "start", .target = BYTES_NONE, .generation = 1, .seq = 0 },
		{ .by = AUDIT_BY_PROCESS,
		  .uid = UINT32_MAX,
		  .pid = 4711,
		  .action = "revokeApp",
		  .target = BYTES_LIT("a \"b\"\n\\\x1b \xf0\x9f\x94\x91"),
		  .result = ERR_NOT_FOUND,
		  .generation = 1,
		  .seq = 120 },
		{ .by = AUDIT_BY_APP,
		  .app_id = BYTES_LIT("bot\",\"generation\":9"),
		  .action = "authenticate",
		  .target = BYTES_LIT(""),
		  .result = ERR_AUTHENTICATION_FAILED,
		  .generation = UINT64_MAX,
		  .seq = UINT64_MAX },
	};
	const char *want[] = {
		"{\"n\":1,\"time\":\"T\",\"actor\":{},\"action\":\"start\",\"result\":\"ok\",\"generation\":1,\"seq\":0",
		"{\"n\":2,\"time\":\"T\",\"actor\":{\"uid\":4294967295,\"pid\":4711},\"action\":\"revokeApp\","
		"\"target\":\"a \\\"b\\\"\\n\\\\\\u001b \xf0\x9f\x94\x91\",\"result\":\"NOT_FOUND\",\"generation\":1,\"seq\":120",
		"{\"n\":3,\"time\":\"T\",\"actor\":{\"appId\":\"bot\\\",\\\"generation\\\":9\"},\"action\":\"authenticate\","
		"\"target\":\"\",\"result\":\"AUTHENTICATION_FAILED\",\"generation\":18446744073709551615,"
		"\"seq\":18446744073709551615",
	};
	uint8_t mac[AUDIT_MAC_SIZE] = { 0 };
	struct audit *a;
	struct audit_info info;
	struct stat st;

	(void)unlink(path);
	a = open_log();
	info = info_of(a);
	CHECK(info.created && !info.failed && !info.problem);
	CHECK(info.n == 0 && info.bytes == 0 && info.generation == 0 && info.seq == 0 && info.torn == 0);
	CHECK(sodium_is_zero(info.mac, sizeof(info.mac)));
	CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
	for (size_t i = 0; i < 3; i++)
		CHECK_INT(audit_append(a, &e[i], i % 2), 0);
	CHECK_INT(info_of(a).n, 3);
	CHECK_INT(info_of(a).bytes, size_of(path));
	audit_close(a);

	CLEANUP(lines_fini) struct lines l = read_lines();
	CHECK_INT(l.n, 3);
	for (size_t i = 0; i < l.n; i++) {
		CHECK_INT(scan_check(l.line[i], 0, 2), 0);
		CHECK(chained(l.line[i], mac, mac));
		check_line(l.line[i], want[i]);
	}

	a = open_log();
	info = info_of(a);
	CHECK(!info.created && info.n == 3 && info.generation == UINT64_MAX && info.seq == UINT64_MAX);
	CHECK_BYTES(BYTES(info.mac, sizeof(info.mac)), BYTES(mac, sizeof(mac)));
	audit_close(a);
	CHECK_INT(verify(&info), 0);
	CHECK(info.n == 3 && info.generation == UINT64_MAX && info.seq == UINT64_MAX && info.torn == 0);
	CHECK_INT(info.bytes, size_of(path));
	CHECK_BYTES(BYTES(info.mac, sizeof(info.mac)), BYTES(mac, sizeof(mac)));
}

/* The log in docs/audit.md, whose MACs come from elsewhere. */
static const char documented[] =
	"{\"n\":1,\"time\":\"2026-11-23T06:00:00.000Z\",\"actor\":{\"uid\":0,\"pid\":4711},\"action\":\"createApp\",\"target\":\"invoice-bot\""
	",\"result\":\"ok\",\"generation\":3,\"seq\":120"
	",\"mac\":\"295430c993ad51ae4268e6c6729ad70817df8654327a92e4cd6f3485592f2ad2\"}\n"
	"{\"n\":2,\"time\":\"2026-11-23T06:00:01.500Z\",\"actor\":{\"uid\":998,\"pid\":4712},\"action\":\"authenticate\",\"target\":\"invoice-bot\""
	",\"result\":\"AUTHENTICATION_FAILED\",\"generation\":3,\"seq\":120"
	",\"mac\":\"451e562f0e57a1927a24504a3af03c7f02420815669b806f17b58c829634f1c7\"}\n"
	"{\"n\":3,\"time\":\"2026-11-23T06:05:00.000Z\",\"actor\":{\"appId\":\"invoice-bot\"},\"action\":\"keyUse\",\"target\":\"decrypt=12 encrypt=3 unwrap=0 wrap=0\""
	",\"result\":\"ok\",\"generation\":3,\"seq\":124"
	",\"mac\":\"cf6991a6eba6074c0fa0d1efbd42be144ca5086dd59de4dc7831c9bdf86c39e6\"}\n";

static void test_documented(void)
{
	struct audit_info info;

	tmpdir_write(path, bytes_str(documented));
	CHECK_INT(verify(&info), 0);
	CHECK(info.n == 3 && info.generation == 3 && info.seq == 124 && info.torn == 0);
}

/* Texts of every length around the ceiling, in characters of every size; and the longest line there can be. */
static void test_cut_texts(void)
{
	const struct bytes chars[] = { BYTES_LIT("x"), BYTES_LIT("\xc3\xa9"), BYTES_LIT("\xe2\x82\xac"),
				       BYTES_LIT("\xf0\x9f\x94\x91") };
	uint8_t text[AUDIT_MAX_TEXT + 16], control[2 * AUDIT_MAX_TEXT];
	struct audit_entry e = entry_at(1);
	struct audit_info info;
	struct audit *a;
	size_t bad = 0, at = 0;

	(void)unlink(path);
	a = open_log();
	for (size_t size = 0; size < 4; size++) {
		for (size_t lead = 0; lead < 4; lead++) { /* so that the cut falls on each byte of a character */
			size_t n = lead, keep;
			CLEANUP(buf_fini) struct buf want = BUF_INIT(AUDIT_MAX_LINE);

			memset(text, '-', lead);
			while (n + chars[size].n <= sizeof(text)) {
				memcpy(text + n, chars[size].p, chars[size].n);
				n += chars[size].n;
			}
			for (size_t len = AUDIT_MAX_TEXT - 4; len <= n; len++) {
				if ((len - lead) % chars[size].n)
					continue; /* no whole number of characters */
				e.target = BYTES(text, len);
				bad += audit_append(a, &e, false) != 0;
				keep = len;
				if (len > AUDIT_MAX_TEXT)
					keep = lead + (AUDIT_MAX_TEXT - 3 - lead) / chars[size].n * chars[size].n;
				buf_reset(&want);
				buf_put_str(&want, "\"target\":\"");
				buf_put(&want, text, keep);
				buf_put_str(&want, keep < len ? "\xe2\x80\xa6\",\"result\"" : "\",\"result\"");

				struct bytes file = tmpdir_read(path);
				bad += !memmem(file.p + at, file.n - at, want.p, want.n);
				bad += scan_check(bytes_sub(file, at, SIZE_MAX), 0, 2) != 0;
				at = file.n;
				tmpdir_free(file);
			}
		}
	}
	CHECK_INT(bad, 0);
	CHECK(info_of(a).n > 100);

	memset(control, 1, sizeof(control));
	e.by = AUDIT_BY_APP;
	e.app_id = e.target = BYTES(control, sizeof(control));
	e.generation = e.seq = UINT64_MAX;
	CHECK_INT(audit_append(a, &e, false), 0);
	info = info_of(a);
	CHECK(info.bytes - at > 2 * 6 * (AUDIT_MAX_TEXT - 3) && info.bytes - at <= AUDIT_MAX_LINE);
	audit_close(a);
	CHECK_INT(verify(&info), 0);
	a = open_log();
	audit_close(a);
}

/* ---- what a crash leaves ---- */

static void test_torn(void)
{
	CLEANUP(lines_fini) struct lines l = write_log(3, 1);
	const size_t before = l.file.n - l.line[2].n;
	size_t bad = 0;

	for (size_t n = 0; n < l.line[2].n; n++) {
		struct audit *a = NULL;
		struct audit_info info = { 0 };

		tmpdir_write(path, bytes_sub(l.file, 0, before + n));
		bad += verify(&info) != 0 || info.n != 2 || info.torn != n || info.bytes != before;
		bad += size_of(path) != (off_t)(before + n);
		bad += open_at(path, key, &a) != 0;
		if (!a)
			continue;
		info = info_of(a);
		bad += info.n != 2 || info.torn != n || info.bytes != before || info.seq != 2;
		bad += size_of(path) != (off_t)before;
		bad += append(a, 3) != 0;
		audit_close(a);
		bad += verify(&info) != 0 || info.n != 3 || info.torn != 0;
	}
	CHECK_INT(bad, 0);
}

/* Zeros up to the end are what is left of entries that had not been synced; zeros before anything else are damage. */
static void test_zeros(void)
{
	CLEANUP(lines_fini) struct lines l = write_log(3, 1);
	CLEANUP(buf_fini) struct buf file = BUF_INIT(1u << 20);
	struct audit_info info = { 0 };
	size_t end;

	for (size_t part = 0; part < 2; part++) {
		buf_reset(&file);
		buf_put(&file, l.file.p, l.file.n);
		buf_put(&file, "{\"n\":4", part ? 6 : 0);
		for (size_t i = 0; i < 200000; i++)
			buf_put_byte(&file, 0);
		tmpdir_write(path, buf_bytes(&file));
		CHECK_INT(verify(&info), 0);
		CHECK(info.n == 3 && info.torn == file.n - l.file.n);
	}
	end = file.n;
	buf_put_str(&file, "x");
	tmpdir_write(path, buf_bytes(&file));
	CHECK_INT(verify(&info), ERR_DAMAGED);
	buf_cut(&file, end);
	buf_put_str(&file, "x\n");
	tmpdir_write(path, buf_bytes(&file));
	CHECK_INT(verify(&info), ERR_DAMAGED);
	CHECK(strstr(why_text, path) && strstr(why_text, "line 4 at offset"));

	buf_cut(&file, l.file.n);
	for (size_t i = 0; i < AUDIT_MAX_LINE - 1; i++)
		buf_put_byte(&file, 'x');
	tmpdir_write(path, buf_bytes(&file));
	CHECK_INT(verify(&info), 0);
	CHECK_INT(info.torn, AUDIT_MAX_LINE - 1);
	buf_put_byte(&file, 'x'); /* no crash leaves that much without a line feed */
	tmpdir_write(path, buf_bytes(&file));
	CHECK_INT(verify(&info), ERR_DAMAGED);
}

/* ---- damage ---- */

static void test_every_bit(void)
{
	CLEANUP(lines_fini) struct lines l = write_log(4, 1);
	uint8_t *file = malloc(l.file.n);
	size_t bad = 0, torn = 0;
	int fd;

	tmpdir_need(file != NULL, "malloc");
	memcpy(file, l.file.p, l.file.n);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	for (size_t bit = 0; bit < 8 * l.file.n; bit += bit + TEST_STEP < 8 * (l.file.n - 1) ? TEST_STEP : 1) {
		const size_t at = bit / 8;
		struct audit_info info = { 0 };
		char place[TMPDIR_PATH + 64];
		size_t line = 0, start = 0;
		int r;

		file[at] ^= (uint8_t)(1u << bit % 8);
		tmpdir_need(pwrite(fd, file + at, 1, (off_t)at) == 1, "pwrite");
		r = verify(&info);
		if (at == l.file.n - 1) { /* the last line feed */
			torn += r == 0 && info.n == 3 && info.torn == l.line[3].n;
		} else {
			while (start + l.line[line].n <= at)
				start += l.line[line++].n;
			(void)snprintf(place, sizeof(place), "%s: line %zu at offset %zu ", path, line + 1, start);
			bad += r != ERR_DAMAGED || !strstr(why_text, place);
		}
		file[at] = l.file.p[at];
		tmpdir_need(pwrite(fd, file + at, 1, (off_t)at) == 1, "pwrite");
	}
	(void)close(fd);
	free(file);
	CHECK_INT(bad, 0);
	CHECK_INT(torn, 8);
}

/* The lines of @l in the order of @order, digits from 0; x to z: those of @other. */
static int verify_order(const struct lines *l, const struct lines *other, const char *order)
{
	CLEANUP(buf_fini) struct buf file = BUF_INIT(1u << 20);
	struct audit_info info;

	for (; *order; order++)
		buf_put_bytes(&file, *order >= 'x' ? other->line[*order - 'x'] : l->line[*order - '0']);
	tmpdir_write(path, buf_bytes(&file));
	return verify(&info);
}

static void test_rearranged(void)
{
	CLEANUP(lines_fini) struct lines other = write_log(3, 100); /* of the same key */
	CLEANUP(lines_fini) struct lines l = write_log(4, 1);
	const char *bad[] = { "123",  "023",  "013",  "1023", "0213", "0132",  "00123", "0113",	 "0122", "01233",
			      "x123", "0y23", "01z3", "0xyz", "01yz", "0123x", "0123z", "01230", "xy23" };
	struct audit_info info;
	struct audit *a = NULL;
	size_t missed = 0;

	CHECK_INT(verify_order(&l, &other, "0123"), 0);
	CHECK_INT(verify_order(&l, &other, "xyz"), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (verify_order(&l, &other, bad[i]) != ERR_DAMAGED) {
			printf("# not found: %s\n", bad[i]);
			missed++;
		}
	}
	CHECK_INT(missed, 0);
	CHECK_INT(verify_order(&l, &other, "013"), ERR_DAMAGED);
	CHECK(strstr(why_text, "line 3 at offset") && strstr(why_text, "lines were removed, doubled or moved"));
	CHECK_INT(open_at(path, key, &a), ERR_DAMAGED);
	CHECK(!a && strstr(why_text, "line 3 at offset") && strstr(why_text, "moved away"));
	CHECK_INT(size_of(path), l.line[0].n + l.line[1].n + l.line[3].n); /* left as it was */

	tmpdir_write(path, l.file);
	CHECK_INT(verify_with(other_key, NULL, NULL, &info), ERR_DAMAGED);
	CHECK(strstr(why_text, "line 1 at offset 0 does not authenticate") != NULL);
	CHECK_INT(open_at(path, other_key, &a), ERR_DAMAGED);
	tmpdir_write(path, BYTES_LIT("\n"));
	CHECK_INT(verify(&info), ERR_DAMAGED);
	tmpdir_write(path, BYTES_NONE);
	CHECK_INT(verify(&info), 0);
	CHECK_INT(info.n, 0);
}

/* What has a right MAC but was not written by us: only who has the key can make it, so another version of the daemon. */
static void test_foreign(void)
{
	const char *text[] = { "{\"n\":1,\"generation\":1,\"seq\":1",
			       "{\"n\":2,\"generation\":1,\"seq\":1",
			       "{\"n\":01,\"generation\":1,\"seq\":1",
			       "{\"n\":18446744073709551617,\"generation\":1,\"seq\":1",
			       "{\"n\":,\"generation\":1,\"seq\":1",
			       "{\"m\":1,\"generation\":1,\"seq\":1",
			       "{\"n\":1,\"generation\":1,\"seq\":",
			       "{\"n\":1,\"generation\":1,\"seq\":1,\"more\":1",
			       "{\"n\":1,\"generation\":-1,\"seq\":1",
			       "{\"n\":1,\"generation\":1",
			       "{\"n\":1",
			       "" };
	struct audit_info info;

	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		CLEANUP(buf_fini) struct buf file = BUF_INIT(AUDIT_MAX_LINE);
		uint8_t mac[AUDIT_MAC_SIZE] = { 0 };
		char hex[2 * AUDIT_MAC_SIZE + 1] = "";

		buf_printf(&file, "%s,\"mac\":\"%64s\"}\n", text[i], hex);
		(void)chained(buf_bytes(&file), mac, mac); /* for the MAC it yields */
		(void)sodium_bin2hex(hex, sizeof(hex), mac, sizeof(mac));
		buf_reset(&file);
		buf_printf(&file, "%s,\"mac\":\"%s\"}\n", text[i], hex);
		tmpdir_write(path, buf_bytes(&file));
		CHECK_INT(verify(&info), i == 0 ? 0 : ERR_DAMAGED);
		CHECK(i == 0 || strstr(why_text, "removed, doubled or moved") ||
		      strstr(why_text, "not as this version writes it"));
	}
}

/* ---- reading ---- */

/* what a page is held against */
struct page {
	uint64_t since;
	uint64_t n;
	bool wrong;
	int answer;
};

static int check_entry(void *arg, struct bytes line)
{
	struct page *p = arg;
	char want[64];

	p->n++;
	(void)snprintf(want, sizeof(want), "{\"n\":%llu,\"time\"", (unsigned long long)(p->since + p->n));
	if (line.n < strlen(want) || memcmp(line.p, want, strlen(want)) != 0 || line.p[line.n - 1] != '}')
		p->wrong = true;
	return p->answer;
}

static void check_page(struct audit *a, uint64_t since, uint64_t limit, uint64_t want)
{
	struct page p = { .since = since };
	uint64_t next = 0;

	CHECK_INT(read_log(a, since, limit, check_entry, &p, &next), 0);
	CHECK(!p.wrong);
	CHECK_INT(p.n, want);
	CHECK_INT(next, since + want);
}

static void test_pages(void)
{
	const uint64_t total = AUDIT_INDEX_MARKS * AUDIT_INDEX_STRIDE + 500; /* marks are thinned out once */
	struct page p = { .answer = ERR_TOO_LARGE };
	uint64_t next = 12345;
	struct audit_info info;
	struct audit *a;
	size_t bad = 0;

	(void)unlink(path);
	a = open_log();
	check_page(a, 0, 100, 0);
	for (uint64_t i = 0; i < total; i++)
		bad += append(a, i) != 0;
	CHECK_INT(bad, 0);
	for (int reopened = 0; reopened < 2; reopened++) {
		const uint64_t edges[] = {
			0, 1, 15, 16, 17, 31, 32, 33, 255, 4095, 8175, 8176, 8191, 8192, 8193, 8208
		};

		for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
			check_page(a, edges[i], 40, 40);
		check_page(a, 0, 0, 0);
		check_page(a, total - 1, 100, 1);
		check_page(a, total, 100, 0);
		check_page(a, total + 1, 100, 0);
		check_page(a, UINT64_MAX, 100, 0);
		check_page(a, 0, UINT64_MAX, total);
		p.since = 7000;
		p.n = 0;
		CHECK_INT(read_log(a, 7000, 10, check_entry, &p, &next), ERR_TOO_LARGE);
		CHECK(p.n == 1 && !p.wrong && next == 12345);
		audit_close(a);
		a = open_log();
		CHECK_INT(info_of(a).n, total);
	}
	audit_close(a);

	p = (struct page){ 0 };
	CHECK_INT(verify_with(key, check_entry, &p, &info), 0);
	CHECK(p.n == total && !p.wrong && info.n == total);
	p = (struct page){ .answer = ERR_NOMEM };
	CHECK_INT(verify_with(key, check_entry, &p, &info), ERR_NOMEM);
	CHECK_INT(p.n, 1);
}

/* Damage done while the log is open shows to who reads there. */
static void test_read_damage(void)
{
	CLEANUP(lines_fini) struct lines l = write_log(6, 1);
	struct audit *a = open_log();
	struct page p = { 0 };
	uint64_t next = 0;
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	tmpdir_need(pwrite(fd, "x", 1, (off_t)(l.line[0].n + l.line[1].n + 40)) == 1, "pwrite");
	(void)close(fd);
	CHECK_INT(read_log(a, 0, 2, check_entry, &p, &next), 0);
	CHECK_INT(next, 2);
	p = (struct page){ 0 };
	CHECK_INT(read_log(a, 0, 3, check_entry, &p, &next), ERR_DAMAGED);
	CHECK(p.n == 2 && next == 2 && strstr(why_text, "line 3 at offset"));
	tmpdir_need(truncate(path, (off_t)l.line[0].n) == 0, "truncate");
	p = (struct page){ 0 };
	CHECK_INT(read_log(a, 0, 3, check_entry, &p, &next), ERR_IO);
	CHECK(strstr(why_text, "cannot read audit log") && strstr(why_text, path));
	audit_close(a);
	CHECK_INT(size_of(path), l.line[0].n); /* closing does not make it longer */
}

/* ---- a disk that refuses ---- */

static void limit_file_size(rlim_t bytes)
{
	struct rlimit limit;

	tmpdir_need(getrlimit(RLIMIT_FSIZE, &limit) == 0, "getrlimit");
	limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
	tmpdir_need(setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit");
}

static bool has_problem(struct audit *a, bool failed, int err, const char *text)
{
	const struct audit_info info = info_of(a);

	if (info.failed == failed && info.last_errno == err && info.problem && strstr(info.problem, text))
		return true;
	printf("# failed %d, errno %d, problem \"%s\"\n", info.failed, info.last_errno,
	       info.problem ? info.problem : "none");
	return false;
}

static void check_gap(const char *want)
{
	struct bytes file = tmpdir_read(path);
	char text[128];

	(void)snprintf(text, sizeof(text),
		       "\"actor\":{},\"action\":\"auditGap\",\"target\":\"%s\",\"result\":\"STORAGE_ERROR\"", want);
	CHECK(memmem(file.p, file.n, text, strlen(text)) != NULL);
	tmpdir_free(file);
}

static void test_file_limit(void)
{
	CLEANUP(lines_fini) struct lines l = write_log(2, 1);
	struct audit *a = open_log();
	struct audit_info info;
	size_t bad = 0;
	uint64_t n = 0;

	(void)signal(SIGXFSZ, SIG_IGN); /* the write fails with EFBIG instead */
	limit_file_size(l.file.n + AUDIT_RESERVE - 1);
	CHECK_INT(audit_ready(a), ERR_STORAGE);
	CHECK(has_problem(a, false, EFBIG, "limit on the size of files"));
	CHECK_INT(append(a, 3), 0);			       /* no promise, but it works */
	for (rlim_t room = 0; room < l.line[1].n; room += 7) { /* short writes of many lengths, then the error */
		const uint64_t end = info_of(a).bytes;

		limit_file_size(end + room);
		bad += append(a, 4) != ERR_STORAGE || !has_problem(a, true, EFBIG, "cannot be written");
		bad += size_of(path) != (off_t)end;
		bad += append(a, 4) != ERR_STORAGE || audit_ready(a) != ERR_STORAGE; /* no second try by itself */
		bad += size_of(path) != (off_t)end || info_of(a).lost != 2;
		limit_file_size(RLIM_INFINITY);
		bad += append(a, 4) != ERR_STORAGE; /* until it was made ready */
		bad += audit_ready(a) != 0;
		info = info_of(a);
		bad += info.failed || info.problem || info.last_errno || info.lost;
		n++;
	}
	CHECK_INT(bad, 0);
	CHECK_INT(append(a, 5), 0);
	audit_close(a);
	CHECK_INT(verify(&info), 0);
	CHECK_INT(info.n, 4 + n);
	check_gap("3 entries lost");
}

/* The descriptor the log has open on @path. */
static int find_fd(void)
{
	struct stat want, st;

	tmpdir_need(stat(path, &want) == 0, path);
	for (int fd = 3; fd < 64; fd++)
		if (fstat(fd, &st) == 0 && st.st_dev == want.st_dev && st.st_ino == want.st_ino)
			return fd;
	tmpdir_need(false, "no descriptor on the log");
	return -1;
}

/* Neither writing nor cutting works, and it is half a line that stands there; then the disk is back. */
static void test_dead_disk(void)
{
	CLEANUP(lines_fini) struct lines l = write_log(2, 1);
	struct audit *a = open_log();
	const int fd = find_fd(), saved = dup(fd), read_only = open(path, O_RDONLY | O_CLOEXEC);
	struct audit_info info;

	tmpdir_need(saved >= 0 && read_only >= 0 && dup2(read_only, fd) == fd, "dup2");
	CHECK_INT(append(a, 3), ERR_STORAGE);
	CHECK(has_problem(a, true, EBADF, "cannot be written"));
	tmpdir_need(pwrite(saved, "{\"n\"", 4, (off_t)l.file.n) == 4, "pwrite");
	CHECK_INT(audit_ready(a), ERR_STORAGE);
	CHECK(has_problem(a, true, EINVAL, "cannot be cut back"));
	tmpdir_need(dup2(saved, fd) == fd, "dup2");
	CHECK_INT(audit_ready(a), 0);
	CHECK_INT(append(a, 4), 0);
	(void)close(saved);
	(void)close(read_only);
	audit_close(a);
	CHECK_INT(verify(&info), 0);
	CHECK_INT(info.n, 4);
	check_gap("1 entries lost");
}

/* A sync that fails: the entry stays, and what the disk may have dropped is written again. */
static void test_failing_sync(void)
{
	struct audit *a;
	struct audit_entry e = entry_at(3);
	struct audit_info info;

	make_log(2, 1);
	a = open_log();
	CHECK_INT(audit_append(a, &e, true), 0);
	CHECK_INT(append(a, 4), 0);
	sync_error = EIO;
	e.seq = 5;
	CHECK_INT(audit_append(a, &e, true), ERR_STORAGE);
	CHECK(has_problem(a, true, EIO, "brought to the disk"));
	CHECK_INT(append(a, 6), ERR_STORAGE);
	CHECK_INT(audit_ready(a), ERR_STORAGE);
	CHECK(has_problem(a, true, EIO, "brought to the disk"));
	sync_error = 0;
	CHECK_INT(audit_ready(a), 0);
	CHECK(!info_of(a).failed && !info_of(a).problem);
	CHECK_INT(append(a, 7), 0);
	CHECK_INT(verify(&info), 0);
	CHECK(info.n == 7 && info.seq == 7);
	check_gap("1 entries lost");

	/* the page is gone and what the disk had in its place is read back: that must not be blessed */
	sync_error = EIO;
	sync_drops = (off_t)info.bytes;
	e.seq = 8;
	CHECK_INT(audit_append(a, &e, true), ERR_STORAGE);
	sync_error = 0;
	sync_drops = 0;
	CHECK_INT(audit_ready(a), ERR_STORAGE);
	CHECK(has_problem(a, true, 0, "lost entries on the disk"));
	CHECK_INT(append(a, 9), ERR_STORAGE);
	audit_close(a);
	CHECK_INT(verify(&info), ERR_DAMAGED);
	CHECK(strstr(why_text, "line 8 at offset") != NULL);
}

/* Others at the file: nothing of theirs is overwritten, and no hole is made. */
static void test_changed(void)
{
	CLEANUP(lines_fini) struct lines l = write_log(2, 1);
	struct audit *a = open_log();
	char moved[TMPDIR_PATH];
	int fd;

	tmpdir_file(&dir, "moved", moved);
	CHECK_INT(audit_ready(a), 0);
	tmpdir_need(rename(path, moved) == 0, "rename");
	CHECK_INT(audit_ready(a), ERR_STORAGE);
	CHECK(has_problem(a, false, 0, "moved away or replaced"));
	tmpdir_write(path, l.file);
	CHECK_INT(audit_ready(a), ERR_STORAGE);
	tmpdir_need(rename(moved, path) == 0, "rename");
	CHECK_INT(audit_ready(a), 0);
	CHECK(!info_of(a).problem);

	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	tmpdir_need(write(fd, "x", 1) == 1, "write");
	CHECK_INT(append(a, 3), ERR_STORAGE);
	CHECK(has_problem(a, true, 0, "changed by another program"));
	CHECK_INT(audit_ready(a), ERR_STORAGE);
	CHECK_INT(size_of(path), l.file.n + 1);
	tmpdir_need(ftruncate(fd, (off_t)l.line[0].n) == 0, "ftruncate");
	CHECK_INT(audit_ready(a), ERR_STORAGE);
	CHECK_INT(append(a, 3), ERR_STORAGE);
	tmpdir_need(ftruncate(fd, 0) == 0 && write(fd, l.file.p, l.file.n) == (ssize_t)l.file.n, "write");
	(void)close(fd);
	CHECK_INT(audit_ready(a), 0); /* all is as it was */
	CHECK_INT(append(a, 3), 0);
	audit_close(a);
}

static void test_reserve(void)
{
	struct stat st;
	struct audit *a;
	int fd;

	(void)unlink(path);
	a = open_log();
	CHECK_INT(append(a, 1), 0);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4096) == 0) {
		for (uint64_t i = 0; i < 1500; i++) { /* some 300 KiB: it has to be renewed */
			if (i % 100 == 0) {
				CHECK_INT(audit_ready(a), 0);
				CHECK(fstat(fd, &st) == 0 && st.st_blocks * 512 >= st.st_size + (off_t)AUDIT_RESERVE);
			}
			tmpdir_need(append(a, i) == 0, "append");
		}
		audit_close(a);
		CHECK(fstat(fd, &st) == 0 && st.st_blocks * 512 < st.st_size + (off_t)AUDIT_RESERVE);
	} else {
		CHECK(errno == EOPNOTSUPP);
		CHECK_INT(audit_ready(a), 0);
		audit_close(a);
	}
	(void)close(fd);
}

/* A file system of our own, gone with the test. Return: false where the kernel does not let us. */
static bool mount_small(const char *at, const char *options)
{
	if (unshare(CLONE_NEWNS) < 0)
		return false;
	tmpdir_need(mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0, "mount");
	tmpdir_need(mkdir(at, 0700) == 0 && mount("tmpfs", at, "tmpfs", 0, options) == 0, "mount");
	return true;
}

/* Fill the file system. The last bytes too, since a page that is there takes them. */
static void fill(const char *file)
{
	static const uint8_t page[4096];
	int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	ssize_t n;

	do
		n = write(fd, page, sizeof(page));
	while (n > 0);
	tmpdir_need(n < 0 && errno == ENOSPC, "write until it is full");
	(void)close(fd);
}

static void check_full(const char *at)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(sizeof(why_text));
	char log[TMPDIR_PATH], filler[TMPDIR_PATH];
	struct audit_info info;
	struct audit *a = NULL;
	uint64_t n = 0;

	tmpdir_need(snprintf(log, sizeof(log), "%s/audit", at) < TMPDIR_PATH &&
			    snprintf(filler, sizeof(filler), "%s/filler", at) < TMPDIR_PATH,
		    "name is too long");
	CHECK_INT(open_at(log, key, &a), 0);
	if (!a)
		return;
	CHECK_INT(audit_ready(a), 0);
	fill(filler);
	while (info_of(a).bytes + AUDIT_MAX_LINE < AUDIT_RESERVE) { /* what was promised holds */
		tmpdir_need(append(a, n++) == 0, "append into the room that was reserved");
	}
	CHECK_INT(audit_ready(a), 0);
	while (append(a, n++) == 0) {
	}
	CHECK(info_of(a).bytes >= 2 * (uint64_t)AUDIT_RESERVE - AUDIT_MAX_LINE);
	CHECK(has_problem(a, true, ENOSPC, "cannot be written"));
	CHECK_INT(size_of(log), info_of(a).bytes);
	CHECK_INT(audit_ready(a), ERR_STORAGE);
	CHECK(info_of(a).problem && info_of(a).last_errno == ENOSPC);
	tmpdir_need(unlink(filler) == 0, "unlink");
	CHECK_INT(audit_ready(a), 0);
	CHECK_INT(append(a, n), 0);
	info = info_of(a);
	CHECK(!info.failed && !info.problem && info.lost == 0);
	CHECK_INT(info.n, n + 1); /* one was lost, one speaks of it */

	fill(filler); /* reserving fails while there is room from the last time */
	while (audit_ready(a) == 0)
		tmpdir_need(append(a, n++) == 0, "append");
	CHECK(has_problem(a, false, ENOSPC, "no room for more entries"));
	CHECK_INT(append(a, n), 0);
	audit_close(a);
	CHECK_INT(audit_verify(log, key, NULL, NULL, &why, &info), 0);
}

static void check_read_only(const char *at)
{
	char log[TMPDIR_PATH], none[TMPDIR_PATH];
	struct audit *a = NULL;

	tmpdir_need(snprintf(log, sizeof(log), "%s/audit", at) < TMPDIR_PATH &&
			    snprintf(none, sizeof(none), "%s/none", at) < TMPDIR_PATH,
		    "name is too long");
	tmpdir_need(mount("none", at, "none", MS_REMOUNT | MS_RDONLY, NULL) == 0, "remount");
	CHECK_INT(open_at(log, key, &a), ERR_IO);
	CHECK(strstr(why_text, log) && strstr(why_text, "Read-only file system; the log must lie where"));
	CHECK_INT(open_at(none, key, &a), ERR_IO);
	CHECK(strstr(why_text, none) && strstr(why_text, "Read-only file system; its folder must exist"));
	CHECK(!a);
}

static void test_full_disk(void)
{
	char at[TMPDIR_PATH];

	tmpdir_file(&dir, "small", at);
	if (!mount_small(at, "size=512k")) {
		printf("# no mounting here: a full disk and a read-only one are not shown; test_file_limit() takes the same paths\n");
		return;
	}
	check_full(at);
	check_read_only(at);
	tmpdir_need(umount(at) == 0, "umount");
}

/* ---- access ---- */

static void test_access(void)
{
	char name[TMPDIR_PATH];
	struct audit_info info;
	struct audit *a = NULL;

	make_log(1, 1);
	errno = EROFS; /* of some earlier failure */
	CHECK_INT(open_at("/dev/full", key, &a), ERR_IO);
	CHECK(strcmp(why_text, "audit log /dev/full is not a regular file") == 0);
	tmpdir_file(&dir, "link", name);
	tmpdir_need(symlink(path, name) == 0, "symlink");
	CHECK_INT(open_at(name, key, &a), ERR_IO);
	CHECK(strstr(why_text, "is a symbolic link") != NULL);
	tmpdir_file(&dir, "fifo", name);
	tmpdir_need(mkfifo(name, 0600) == 0, "mkfifo");
	CHECK_INT(open_at(name, key, &a), ERR_IO);
	CHECK(strstr(why_text, "is not a regular file") != NULL);
	tmpdir_file(&dir, "none/audit", name);
	CHECK_INT(open_at(name, key, &a), ERR_IO);
	CHECK(strstr(why_text, "No such file or directory; its folder must exist") != NULL);
	CHECK_INT(open_at(dir.path, key, &a), ERR_IO);
	tmpdir_need(chmod(path, 0640) == 0, "chmod");
	CHECK_INT(open_at(path, key, &a), ERR_IO);
	CHECK(strstr(why_text, "chmod 600") != NULL);
	CHECK(!a);
	CHECK_INT(verify(&info), 0); /* which does not mind */
	CHECK_INT(info.n, 1);
	(void)unlink(path);
	CHECK_INT(verify(&info), ERR_NOT_FOUND);
	CHECK(strstr(why_text, path) != NULL);
	tmpdir_need(mkdir(path, 0700) == 0, "mkdir");
	CHECK_INT(verify(&info), ERR_IO);
	CHECK(strstr(why_text, "is not a regular file") != NULL);
	tmpdir_need(rmdir(path) == 0, "rmdir");
}

/* The child holds the lock from the byte it writes to @to until @from ends. The arena, and so our key, does not come along. */
static void hold_lock(int to, int from)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char c = 'x';

	test_in_child();
	_exit(fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && write(to, &c, 1) == 1 && read(from, &c, 1) == 0 ? 0 : 1);
}

static void test_busy(void)
{
	struct audit *a, *second = NULL;
	int to_child[2], to_parent[2], status = -1;
	struct audit_info info;
	char pid[32], c;
	pid_t child;

	make_log(2, 1);
	a = open_log();
	CHECK_INT(open_at(path, key, &second), ERR_BUSY);
	CHECK(!second && strstr(why_text, path) && strstr(why_text, "in use by another process"));
	CHECK_INT(verify(&info), 0); /* which takes no lock */
	audit_close(a);

	tmpdir_need(pipe2(to_child, O_CLOEXEC) == 0 && pipe2(to_parent, O_CLOEXEC) == 0, "pipe2");
	child = fork();
	if (child == 0) {
		(void)close(to_child[1]);
		hold_lock(to_parent[1], to_child[0]);
	}
	(void)close(to_parent[1]);
	CHECK(child > 0 && read(to_parent[0], &c, 1) == 1);
	CHECK_INT(open_at(path, key, &second), ERR_BUSY);
	(void)snprintf(pid, sizeof(pid), "(pid %ld)", (long)child);
	if (access("/proc/locks", R_OK) == 0 && strstr(why_text, "(pid "))
		CHECK(strstr(why_text, pid) != NULL);
	(void)close(to_child[1]);
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	(void)close(to_child[0]);
	(void)close(to_parent[0]);
	a = open_log();
	audit_close(a);
}

/* ---- threads ---- */

#define THREADS	   4
#define PER_THREAD 60

struct shared {
	struct audit *a;
	uint64_t seq; /* the keystore's, so to speak */
	size_t bad;
};

static void *append_many(void *arg)
{
	struct shared *s = arg;

	for (size_t i = 0; i < PER_THREAD; i++) {
		const struct audit_entry e = entry_at(__atomic_add_fetch(&s->seq, 1, __ATOMIC_RELAXED));
		const bool ok = (i % 8 || audit_ready(s->a) == 0) && audit_append(s->a, &e, i % 4 == 0) == 0;

		__atomic_add_fetch(&s->bad, !ok, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Reads on until all entries have been seen. */
static void *follow(void *arg)
{
	struct shared *s = arg;
	struct page p = { 0 };
	uint64_t next = 0;

	while (next < (uint64_t)THREADS * PER_THREAD) {
		CLEANUP(buf_fini) struct buf why = BUF_INIT(1000);

		if (audit_read(s->a, next, 10, check_entry, &p, &why, &next) < 0 || p.wrong || p.n != next) {
			__atomic_add_fetch(&s->bad, 1, __ATOMIC_RELAXED);
			break;
		}
		if (__atomic_load_n(&s->bad, __ATOMIC_RELAXED)) /* then they may not come */
			break;
		(void)sched_yield();
	}
	return NULL;
}

static int check_order(void *arg, struct bytes line)
{
	uint64_t *last = arg;
	struct bytes value;
	uint64_t seq;

	if (!scan_find(line, BYTES_LIT("seq"), &value))
		return ERR_DAMAGED;
	seq = strtoull((const char *)value.p, NULL, 10); /* a comma ends it */
	if (seq < *last)
		return ERR_DAMAGED;
	*last = seq;
	return 0;
}

static void test_threads(void)
{
	struct shared s = { 0 };
	pthread_t threads[THREADS + 1];
	struct audit_info info;
	uint64_t last = 0;

	(void)unlink(path);
	s.a = open_log();
	for (size_t i = 0; i <= THREADS; i++)
		tmpdir_need(pthread_create(&threads[i], NULL, i < THREADS ? append_many : follow, &s) == 0,
			    "pthread_create");
	for (size_t i = 0; i <= THREADS; i++)
		tmpdir_need(pthread_join(threads[i], NULL) == 0, "pthread_join");
	CHECK_INT(s.bad, 0);
	CHECK_INT(info_of(s.a).n, THREADS * PER_THREAD);
	audit_close(s.a);
	CHECK_INT(verify_with(key, check_order, &last, &info), 0);
	CHECK_INT(info.n, THREADS * PER_THREAD);
	CHECK_INT(last, THREADS * PER_THREAD);
}

/* Within one opening the keystore's place never goes back; a new opening states what it is told. */
static void test_place(void)
{
	struct audit_entry e = entry_at(50);
	struct audit *a;

	(void)unlink(path);
	a = open_log();
	CHECK_INT(audit_append(a, &e, false), 0);
	e.seq = 49;
	CHECK_INT(audit_append(a, &e, false), 0);
	CHECK_INT(info_of(a).seq, 50);
	e.generation = 4;
	e.seq = 2;
	CHECK_INT(audit_append(a, &e, false), 0);
	CHECK(info_of(a).generation == 4 && info_of(a).seq == 2);
	e.generation = 3;
	e.seq = 60;
	CHECK_INT(audit_append(a, &e, false), 0);
	CHECK(info_of(a).generation == 4 && info_of(a).seq == 2);
	audit_close(a);
	a = open_log();
	CHECK(info_of(a).generation == 4 && info_of(a).seq == 2);
	CHECK_INT(audit_append(a, &e, false), 0);
	CHECK(info_of(a).generation == 3 && info_of(a).seq == 60);
	audit_close(a);
}

int main(void)
{
	uint8_t bytes[AUDIT_KEY_SIZE];

	test_start();
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	tmpdir_need(secret_dup(BYTES(bytes, sizeof(bytes)), &key) == 0, "secret_dup");
	bytes[0] ^= 1;
	tmpdir_need(secret_dup(BYTES(bytes, sizeof(bytes)), &other_key) == 0, "secret_dup");
	tmpdir_make(&dir);
	tmpdir_file(&dir, "audit", path);
	test_lines();
	test_documented();
	test_cut_texts();
	test_torn();
	test_zeros();
	test_every_bit();
	test_rearranged();
	test_foreign();
	test_pages();
	test_read_damage();
	test_file_limit();
	test_dead_disk();
	test_failing_sync();
	test_changed();
	test_reserve();
	test_full_disk();
	test_access();
	test_busy();
	test_threads();
	test_place();
	tmpdir_remove(&dir);
	secret_free(key);
	secret_free(other_key);
	return test_end();
}
