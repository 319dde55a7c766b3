#include <ctype.h>

#include "base/b64.h"
#include "tests/unit/sealing.h"

/* for the key a0 a1 ... b3, by Python's hashlib.blake2b from what docs/seals.md says */
#define KNOWN_TEXT "lclbld-lelflg-lhlilj-lkllln-lrltlu-lvncnb-ndnedc-lcicli"
#define KNOWN_KEK  "accb5934cfd18478465eadedf71e79e8a35867ced42035a5c807d2bf6cae6303"

static struct sealing said;

static int open_text(struct bytes text, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *given = sealing_secret(text);
	CLEANUP(seal_fini) struct seal seal = { 0 };

	CHECK_INT(seal_recovery_init(&seal, given), 0);
	return sealing_open(&said, &seal, BYTES_NONE, ret);
}

static int refused(const char *text)
{
	CLEANUP(secret_freep) struct secret *key = NULL;

	return open_text(bytes_str(text), &key);
}

static void opens_known(const char *text)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	uint8_t want[SEAL_KEY_SIZE];

	CHECK_INT(hex_decode(BYTES_LIT(KNOWN_KEK), want, sizeof(want)), 0);
	CHECK_INT(open_text(bytes_str(text), &key), 0);
	if (key)
		CHECK_BYTES(secret_bytes(key), BYTES(want, sizeof(want)));
}

static void test_made(void)
{
	CLEANUP(secret_freep) struct secret *key = NULL, *again = NULL, *second = NULL, *text = NULL;
	CLEANUP(seal_fini) struct seal seal = { 0 };
	struct bytes printed;

	CHECK_INT(seal_recovery_init(&seal, NULL), 0);
	CHECK(seal_recovery_text(&seal) == NULL);
	CHECK(!seal.made && !seal.existed);
	CHECK_INT(sealing_make(&said, &seal, &key), 0);
	CHECK_INT(said.params.n, 0);
	CHECK_INT(secret_len(key), SEAL_KEY_SIZE);
	printed = secret_bytes(seal_recovery_text(&seal));
	CHECK_INT(printed.n, 55);
	for (size_t i = 0; i < printed.n; i++) {
		if (i % 7 == 6)
			CHECK_INT(printed.p[i], '-');
		else
			CHECK(printed.p[i] && strchr("cbdefghijklnrtuv", printed.p[i]));
	}
	CHECK_INT(open_text(printed, &again), 0);
	CHECK(secret_equal(key, again));

	text = sealing_secret(printed);
	CHECK_INT(sealing_make(&said, &seal, &second), 0); /* another one */
	CHECK(!secret_equal(key, second));
	CHECK(!secret_equal(text, seal_recovery_text(&seal)));
}

static void test_forms(void)
{
	char upper[] = KNOWN_TEXT, bare[sizeof(upper)], spaced[4 * sizeof(upper)], *to = bare;

	for (size_t i = 0; upper[i]; i++) {
		if (upper[i] != '-')
			*to++ = upper[i];
		upper[i] = (char)toupper(upper[i]);
	}
	*to = '\0';
	opens_known(KNOWN_TEXT);
	opens_known(KNOWN_TEXT "\n");
	opens_known(upper);
	opens_known(bare);
	to = spaced;
	for (size_t i = 0; bare[i]; i++) {
		*to++ = bare[i];
		memcpy(to, &" -\t"[i % 3], 1);
		to++;
	}
	*to = '\0';
	opens_known(spaced);
}

static void test_mistakes(void)
{
	char text[] = KNOWN_TEXT;
	unsigned told = 0, changed = 0;

	CHECK_INT(refused(""), ERR_SEAL);
	CHECK(sealing_says(&said, "0 letters; it must have 48: some are missing"));
	CHECK_INT(refused("lclbld-lelflg-lhlilj-lkllln-lrltlu-lvncnb-ndnedc-lcicl"), ERR_SEAL);
	CHECK(sealing_says(&said, "47 letters"));
	CHECK_INT(refused(KNOWN_TEXT "-c"), ERR_SEAL);
	CHECK(sealing_says(&said, "49 letters; it must have 48: there are too many"));

	for (unsigned c = 1; c < 256; c++) { /* each byte in the place of the 9th character, an l */
		bool letter = strchr("cbdefghijklnrtuvCBDEFGHIJKLNRTUV", (int)c) != NULL;

		text[9] = (char)c;
		if (c == 'e' || c == 'E' || strchr("- \t\r\n", (int)c))
			continue;
		if (KNOWN_TEXT[9] == (char)tolower((int)c))
			continue;
		changed++;
		CHECK_INT(refused(text), ERR_SEAL);
		if (sealing_says(&said, letter ? "checksum does not fit" : "character 10 of the recovery key"))
			told++;
	}
	CHECK_INT(told, changed);
}

/* Every letter changed to its neighbour, and every two neighbours swapped, are found. */
static void test_checksum(void)
{
	static const char alphabet[] = "cbdefghijklnrtuv";
	unsigned found = 0, tried = 0;

	for (size_t i = 0; KNOWN_TEXT[i]; i++) {
		char text[] = KNOWN_TEXT, c = text[i];

		if (c == '-')
			continue;
		text[i] = alphabet[((size_t)(strchr(alphabet, c) - alphabet) + 1) % 16];
		tried++;
		found += refused(text) == ERR_SEAL && sealing_says(&said, "checksum");
		text[i] = c;
		if (text[i + 1] == '\0' || text[i + 1] == '-' || text[i + 1] == c)
			continue;
		text[i] = text[i + 1];
		text[i + 1] = c;
		tried++;
		found += refused(text) == ERR_SEAL && sealing_says(&said, "checksum");
	}
	CHECK(tried > 80);
	CHECK_INT(found, tried);
}

static void test_not_given(void)
{
	CLEANUP(secret_freep) struct secret *given = sealing_secret(BYTES_LIT(KNOWN_TEXT));
	CLEANUP(seal_fini) struct seal seal = { 0 }, none = { 0 };

	CHECK_INT(seal_recovery_init(&none, NULL), 0);
	CHECK_INT(sealing_refused(&said, &none, BYTES_NONE), ERR_SEAL);
	CHECK(sealing_says(&said, "no recovery key was given"));
	CHECK_INT(seal_recovery_init(&seal, given), 0);
	CHECK_INT(sealing_refused(&said, &seal, BYTES_LIT("x")), ERR_SEAL);
	CHECK(sealing_says(&said, "does not know"));
}

int main(void)
{
	test_start();
	test_made();
	test_forms();
	test_mistakes();
	test_checksum();
	test_not_given();
	sealing_fini(&said);
	return test_end();
}
