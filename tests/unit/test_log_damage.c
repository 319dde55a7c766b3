/* What a replay makes of files that were damaged, cut, rearranged or left half-written. */
#include "tests/unit/log_fixture.h"

#define SECTOR 512u

static const struct sealed_log_options accepting = { .create = true, .accept_damaged_tail = true };

/* ---- single bits ---- */

/*
 * Is what an open gave right for a file in which the record @which (or the header: -1) was changed? Refused; but with
 * accept_damaged_tail the last record is given up, and no other.
 */
static bool right_for_damage(struct expect *e, size_t ends_last, long which, bool accept)
{
	struct sealed_log_info info = { 0 };
	bool last = which == (long)e->n - 1;
	int r = try_open_as(e, accept ? accepting : (struct sealed_log_options){ .create = true }, &info);

	if (e->wrong)
		return false;
	if (r == 0)
		return last && accept && e->seen == e->n - 1 && info.bytes == ends_last && info.cut_tail > 0;
	return (r == ERR_DAMAGED || r == ERR_SEAL) && why_text[0] && !(last && accept);
}

static void check_every_bit(struct expect *e, bool batch)
{
	size_t ends[MAX_RECORDS + 1], bad = 0;
	struct bytes file = write_log_as(e, batch, ends);
	uint8_t *copy = malloc(file.n);
	long which = -1;

	memcpy(copy, file.p, file.n);
	for (size_t bit = 0; bit < 8 * file.n; bit += TEST_STEP) {
		while (bit / 8 >= ends[which + 1])
			which++;
		for (int accept = 0; accept < 2; accept++) {
			copy[bit / 8] = (uint8_t)(copy[bit / 8] ^ 1u << (bit % 8));
			tmpdir_write(path, BYTES(copy, file.n));
			if (!right_for_damage(e, ends[e->n - 1], which, accept)) {
				bad++;
				printf("# bit %zu of byte %zu, record %ld, accept %d: %s\n", bit % 8, bit / 8, which,
				       accept, why_text);
			}
			copy[bit / 8] = file.p[bit / 8];
		}
	}
	CHECK_INT(bad, 0);
	printf("# %zu bits flipped in %zu bytes\n", 8 * file.n / TEST_STEP, file.n);
	free(copy);
	tmpdir_free(file);
}

static void test_every_bit(void)
{
	struct expect e = small();

	check_every_bit(&e, false);
	check_every_bit(&e, true);
}

/* The sentence names the last record's way out, and does not promise it where there is none. */
static void test_sentence(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct bytes file = write_log(&e, ends);
	struct sealed_log_info info;
	uint8_t *copy = malloc(file.n);

	for (size_t i = 0; i < 3; i++) {
		for (size_t at = ends[i] + 4; at < ends[i + 1];
		     at += LOG_FRAME_HEAD) { /* in the head, then behind it */
			memcpy(copy, file.p, file.n);
			copy[at] ^= 1;
			tmpdir_write(path, BYTES(copy, file.n));
			CHECK_INT(try_open(&e, &info), ERR_DAMAGED);
			CHECK((strstr(why_text, "--accept-damaged-tail") != NULL) == (i == 2));
			CHECK(strstr(why_text, path) && strstr(why_text, "offset") && strstr(why_text, "restore"));
		}
	}
	free(copy);
	tmpdir_free(file);
}

/* Several heads in a row are damaged, and one good record behind them shows that they were not the last. */
static void test_many_heads(void)
{
	struct expect e = { .n = 12 };
	size_t ends[MAX_RECORDS + 1];
	struct sealed_log_info info;
	struct bytes file;
	uint8_t *copy;

	for (size_t i = 0; i < e.n; i++)
		e.records[i] = BYTES_LIT("a record among others");
	file = write_log(&e, ends);
	copy = malloc(file.n);
	memcpy(copy, file.p, file.n);
	for (size_t i = 2; i < 11; i++)
		copy[ends[i]] ^= 1;
	tmpdir_write(path, BYTES(copy, file.n));
	CHECK_INT(try_open_as(&e, accepting, &info), ERR_DAMAGED);
	CHECK(!e.wrong && e.seen == 2 && strstr(why_text, "record 3"));
	copy[ends[11]] ^= 1; /* now nothing good is behind them */
	tmpdir_write(path, BYTES(copy, file.n));
	CHECK_INT(try_open(&e, &info), ERR_DAMAGED);
	CHECK_INT(try_open_as(&e, accepting, &info), 0);
	CHECK(!e.wrong && e.seen == 2 && info.cut_tail == file.n - ends[2]);
	free(copy);
	tmpdir_free(file);
}

/* ---- torn tails ---- */

static void check_every_length(struct expect *e, bool batch)
{
	size_t ends[MAX_RECORDS + 1], bad = 0;
	struct bytes file = write_log_as(e, batch, ends), after;

	for (size_t n = 0; n < file.n; n++) {
		struct sealed_log_info info = { 0 };
		size_t whole = 0;
		int r;

		tmpdir_write(path, BYTES(file.p, n));
		r = try_open(e, &info);
		if (n < ends[0]) {
			bad += r != ERR_DAMAGED;
			continue;
		}
		while (ends[whole + 1] <= n)
			whole++;
		bad += r != 0 || e->wrong || e->seen != whole || info.cut_tail != n - ends[whole] ||
		       info.bytes != ends[whole];
		after = tmpdir_read(path); /* the tail is gone from the file */
		bad += after.n != ends[whole];
		tmpdir_free(after);
		r = try_open(e, &info);
		bad += r != 0 || e->seen != whole || info.cut_tail != 0;
	}
	CHECK_INT(bad, 0);
	tmpdir_free(file);
}

static void test_every_length(void)
{
	struct expect e = small();

	check_every_length(&e, false);
	check_every_length(&e, true);
}

/* A look changes nothing: the tail is counted, and stays. */
static void test_read_only(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct bytes file = write_log(&e, ends), after;
	struct sealed_log_info info = { 0 };

	tmpdir_write(path, BYTES(file.p, file.n - 1));
	CHECK_INT(try_open_as(&e, (struct sealed_log_options){ .read_only = true }, &info), 0);
	CHECK(!e.wrong && e.seen == 2 && info.cut_tail == file.n - 1 - ends[2] && info.records == 2);
	after = tmpdir_read(path);
	CHECK_INT(after.n, file.n - 1);
	tmpdir_free(after);
	tmpdir_free(file);
}

static void test_append_after_cut(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct bytes file = write_log(&e, ends);
	struct sealed_log *log = NULL;
	struct sealed_log_info info;

	tmpdir_write(path, BYTES(file.p, ends[3] - 1));
	CHECK_INT(open_log(&e, &log), 0);
	CHECK_INT(info_of(log).cut_tail, ends[3] - 1 - ends[2]);
	CHECK_INT(append(log, BYTES_LIT("instead")), 0);
	sealed_log_close(log);
	e.records[2] = BYTES_LIT("instead");
	CHECK_INT(try_open(&e, &info), 0);
	CHECK(!e.wrong && e.seen == 3 && info.records == 3);
	tmpdir_free(file);
}

/*
 * Zeros from each offset on, instead of what a crash kept from the disk, in a batch of records that span sectors: given up from the
 * record they start in if they start in its head, at a sector's boundary before its end, or (the last record's) take its tag.
 */
static void test_zeros(void)
{
	uint8_t long_text[1500];
	struct expect e = { .records = { BYTES_LIT("first"), BYTES(long_text, 700), BYTES_LIT("short"),
					 BYTES(long_text, sizeof(long_text)) },
			    .n = 4 };
	size_t ends[MAX_RECORDS + 1], bad = 0, n_torn = 0, k = 0, step = TEST_STEP > 1 ? 7 : 1;
	struct bytes file;
	uint8_t *copy;

	memset(long_text, 'z', sizeof(long_text));
	file = write_log_as(&e, true, ends);
	copy = malloc(file.n);
	memcpy(copy, file.p, file.n);
	for (size_t from = ends[0]; from < file.n; from += step) {
		struct sealed_log_info info = { 0 };
		bool torn, last;
		int r;

		while (from >= ends[k + 1])
			k++;
		last = k == e.n - 1;
		torn = from < ends[k] + LOG_FRAME_HEAD || (from + SECTOR - 1) / SECTOR * SECTOR < ends[k + 1] ||
		       (last && file.n - from >= LOG_FRAME_TAG);
		memcpy(copy, file.p, from);
		memset(copy + from, 0, file.n - from);
		if (copy[from - 1] == 0 || file.p[from] == 0)
			continue; /* zero by chance: they start elsewhere */
		tmpdir_write(path, BYTES(copy, file.n));
		r = try_open(&e, &info);
		if (torn)
			bad += r != 0 || e.wrong || e.seen != k || info.cut_tail != file.n - ends[k];
		else
			bad += r != ERR_DAMAGED || e.seen != k;
		n_torn += torn;
		tmpdir_write(path, BYTES(copy, file.n));
		r = try_open_as(&e, accepting, &info);
		bad += torn || last ? r != 0 || e.seen != k : r != ERR_DAMAGED;
	}
	CHECK_INT(bad, 0);
	CHECK(n_torn > 1000 / step && n_torn < file.n - ends[0]);
	free(copy);
	tmpdir_free(file);
}

/* A batch of more than a record can hold, of which nothing but its length has reached the disk. */
static void test_many_zeros(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct bytes file = write_log(&e, ends);
	struct sealed_log_info info = { 0 };

	CHECK(truncate(path, (off_t)(file.n + 2 * (size_t)SEALED_LOG_MAX_RECORD + 777)) == 0);
	CHECK_INT(try_open(&e, &info), 0);
	CHECK(!e.wrong && e.seen == 3 && info.cut_tail == 2 * (size_t)SEALED_LOG_MAX_RECORD + 777);
	CHECK_INT(info.bytes, file.n);
	tmpdir_free(file);
}

static void test_zeros_elsewhere(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1], bad = 0;
	uint8_t *copy, long_text[2000];
	struct bytes file;

	memset(long_text, 'z', sizeof(long_text));
	e.records[2] = BYTES(long_text, sizeof(long_text));
	file = write_log(&e, ends);
	copy = malloc(file.n + 4096);

	/* zeros behind a good last record */
	for (size_t more = 1; more <= 4096; more += 455) {
		struct sealed_log_info info = { 0 };

		memcpy(copy, file.p, file.n);
		memset(copy + file.n, 0, more);
		tmpdir_write(path, BYTES(copy, file.n + more));
		bad += try_open(&e, &info) != 0 || e.wrong || e.seen != 3 || info.cut_tail != more;
	}
	CHECK_INT(bad, 0);

	/* zeros that stop before the end are not what a crash leaves */
	memcpy(copy, file.p, file.n);
	memset(copy + ends[2] + 100, 0, 600);
	tmpdir_write(path, BYTES(copy, file.n));
	CHECK(!e.wrong && try_open(&e, &(struct sealed_log_info){ 0 }) == ERR_DAMAGED);
	CHECK(strstr(why_text, "record 3") && strstr(why_text, "offset"));

	/* a record in the middle is gone, and good ones follow */
	memcpy(copy, file.p, file.n);
	memset(copy + ends[0], 0, ends[1] - ends[0]);
	tmpdir_write(path, BYTES(copy, file.n));
	CHECK_INT(try_open(&e, &(struct sealed_log_info){ 0 }), ERR_DAMAGED);
	CHECK_INT(try_open_as(&e, accepting, &(struct sealed_log_info){ 0 }), ERR_DAMAGED);
	CHECK(!e.wrong && e.seen == 0);
	free(copy);
	tmpdir_free(file);
}

/* ---- records out of their place ---- */

/* Write the header and the frames of @order ('0' is the first) from @file, and open that. */
static int open_rearranged(struct expect *e, struct bytes file, const size_t *ends, const char *order, bool accept)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(1 << 20);

	buf_put(&b, file.p, ends[0]);
	for (const char *c = order; *c; c++)
		buf_put(&b, file.p + ends[*c - '0'], ends[*c - '0' + 1] - ends[*c - '0']);
	tmpdir_write(path, buf_bytes(&b));
	return try_open_as(e, accept ? accepting : (struct sealed_log_options){ .create = true },
			   &(struct sealed_log_info){ 0 });
}

static struct expect four(void)
{
	return (struct expect){
		.records = { BYTES_LIT("same"), BYTES_LIT("size"), BYTES_LIT("each"), BYTES_LIT("here") }, .n = 4
	};
}

static void check_rearranged(bool batch)
{
	struct expect e = four();
	static const struct {
		const char *order;
		long accepted; /* with the flag: how many records, the rest being a damaged tail; -1: refused all the same */
	} orders[] = { { "123", -1 },  { "023", -1 },	{ "013", -1 },	 { "1023", -1 },  { "0213", -1 },
		       { "0132", -1 }, { "00123", -1 }, { "01123", -1 }, { "01223", -1 }, { "01233", 4 },
		       { "3", -1 },    { "0120", 3 },	{ "3210", -1 },	 { "1", -1 },	  { "0123012", 4 } };
	size_t ends[MAX_RECORDS + 1];
	struct bytes file = write_log_as(&e, batch, ends);

	CHECK_INT(open_rearranged(&e, file, ends, "0123", false), 0);
	for (size_t i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
		int r;

		CHECK_INT(open_rearranged(&e, file, ends, orders[i].order, false), ERR_DAMAGED);
		CHECK(!e.wrong);
		r = open_rearranged(&e, file, ends, orders[i].order, true);
		CHECK(!e.wrong);
		if (orders[i].accepted < 0)
			CHECK_INT(r, ERR_DAMAGED);
		else
			CHECK(r == 0 && (long)e.seen == orders[i].accepted);
	}
	tmpdir_free(file);
}

/* Frames of another keystore, or of another generation of this one, under the same secret and at the same place. */
static void check_transplanted(struct bytes file, struct bytes other, const size_t *ends)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(1 << 20);
	struct expect e = four();

	CHECK_INT(other.n, file.n);
	for (size_t i = 0; i < 4; i++) {
		buf_reset(&b);
		buf_put(&b, file.p, ends[i]);
		buf_put(&b, other.p + ends[i], ends[i + 1] - ends[i]);
		buf_put(&b, file.p + ends[i + 1], file.n - ends[i + 1]);
		tmpdir_write(path, buf_bytes(&b));
		CHECK_INT(try_open(&e, &(struct sealed_log_info){ 0 }), ERR_DAMAGED);
		CHECK(!e.wrong && e.seen == i);
	}
	/* one's header before the other's records */
	buf_reset(&b);
	buf_put(&b, file.p, ends[0]);
	buf_put(&b, other.p + ends[0], other.n - ends[0]);
	tmpdir_write(path, buf_bytes(&b));
	CHECK_INT(try_open(&e, &(struct sealed_log_info){ 0 }), ERR_DAMAGED);
	CHECK(!e.wrong && e.seen == 0);
	tmpdir_write(path, file);
	CHECK_INT(try_open(&e, &(struct sealed_log_info){ 0 }), 0);
	CHECK(!e.wrong && e.seen == 4);
}

static void test_transplanted(void)
{
	struct expect e = four();
	size_t ends[MAX_RECORDS + 1];
	CLEANUP(buf_fini) struct buf why = BUF_INIT(1024);
	struct bytes other = write_log(&e, ends), file = write_log(&e, ends), next;
	struct sealed_log *log = NULL;

	check_transplanted(file, other, ends);
	CHECK_INT(open_log(&e, &log), 0);
	CHECK_INT(sealed_log_rewrite(log, &(struct log_rewrite){ .remove = -1, .emit = emit_expected, .arg = &e }, &why,
				     NULL),
		  0);
	sealed_log_close(log);
	next = tmpdir_read(path);
	check_transplanted(next, file, ends);
	tmpdir_free(next);
	tmpdir_free(other);
	tmpdir_free(file);
}

/* Something that is not a record behind the last one: refused, and given up where a person has looked. */
static void test_garbage(void)
{
	struct expect e = four();
	size_t ends[MAX_RECORDS + 1];
	struct bytes file = write_log(&e, ends);
	CLEANUP(buf_fini) struct buf b = BUF_INIT(1 << 20);
	struct sealed_log_info info = { 0 };

	buf_put_bytes(&b, file);
	buf_put_str(&b, "garbage that was appended");
	tmpdir_write(path, buf_bytes(&b));
	CHECK_INT(try_open(&e, &info), ERR_DAMAGED);
	CHECK(!e.wrong && e.seen == 4 && strstr(why_text, "record 5"));
	CHECK_INT(try_open_as(&e, accepting, &info), 0);
	CHECK(!e.wrong && e.seen == 4 && info.cut_tail == 25);
	CHECK_INT(try_open(&e, &info), 0);
	CHECK_INT(info.cut_tail, 0);

	/* fewer bytes than a head has could be the start of one */
	tmpdir_write(path, bytes_sub(buf_bytes(&b), 0, file.n + LOG_FRAME_HEAD - 1));
	CHECK_INT(try_open(&e, &info), 0);
	CHECK_INT(info.cut_tail, LOG_FRAME_HEAD - 1);
	tmpdir_free(file);
}

int main(void)
{
	test_start();
	log_fixture_make();
	test_every_bit();
	test_sentence();
	test_many_heads();
	test_every_length();
	test_read_only();
	test_append_after_cut();
	test_zeros();
	test_many_zeros();
	test_zeros_elsewhere();
	check_rearranged(false);
	check_rearranged(true);
	test_transplanted();
	test_garbage();
	tmpdir_remove(&dir);
	return test_end();
}
