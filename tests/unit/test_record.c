#include "keystore/record.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "crypto/rand.h"
#include "tests/unit/tap.h"

#define UUID "01234567-89ab-4def-8123-456789abcdef"

#define SEALED	    40 /* what sealing adds to a secret: nonce and tag */
#define MAX_SECRETS 8

static struct secret *app_key, *other_key;
static uint8_t token[STORE_TOKEN_SIZE] = { 1, 2, 3 }, custody[RECORD_CUSTODY_SIZE] = { 9, 8, 7 };
static struct room_grant grants[] = { { { (const uint8_t *)"GENERAL", 7 }, 15 },
				      { { (const uint8_t *)"r\xc3\xa4um", 5 }, PERM_READ } };
static struct record_key keys[] = {
	{ .number = 7,
	  .kid = { (const uint8_t *)"eyJhbGciOiJB", 12 },
	  .jwk = { (const uint8_t *)"{}", 2 },
	  .ts = { (const uint8_t *)"\"2026-11-23T06:00:00.000Z\"", 26 },
	  .order_ms = 1795413600000 },
	{ .number = 8, .kid = { (const uint8_t *)"k", 1 }, .jwk = { (const uint8_t *)"{\"a\":1}", 7 }, .order_ms = -1 },
};

static struct record_identity identities[] = {
	{ .key_id = { (const uint8_t *)UUID, 36 }, .created_ms = 3, .pkcs8 = { (const uint8_t *)"der", 3 } },
	{ .key_id = { (const uint8_t *)"76543210-89ab-4def-8123-456789abcdef", 36 },
	  .created_ms = 1,
	  .retired_ms = 3,
	  .expires_ms = INT64_MAX,
	  .pkcs8 = { (const uint8_t *)"DER", 3 } },
};

static struct record_tombstone tombstones[] = {
	{ .key_id = { (const uint8_t *)"00000000-89ab-4def-8123-456789abcdef", 36 }, .created_ms = 4, .revoked_ms = 9 },
};

#define EVENT(seq_, type_) .seq = (seq_), .time_ms = 5, .type = (type_), .app_id = { (const uint8_t *)"app-1", 5 }

static struct event events[] = {
	{ EVENT(3, EVENT_IDENTITY_ROTATED), .key_id = { (const uint8_t *)UUID, 36 } },
	{ EVENT(4, EVENT_IDENTITY_KEY_REVOKED), .key_id = { (const uint8_t *)UUID, 36 } },
	{ EVENT(6, EVENT_IDENTITY_RETIRED_KEY_EXPIRED), .key_id = { (const uint8_t *)UUID, 36 } },
	{ EVENT(7, EVENT_ROOM_AUTHORIZED), .room_id = { (const uint8_t *)"GENERAL", 7 }, .perms = 9 },
	{ EVENT(8, EVENT_ROOM_DEAUTHORIZED), .room_id = { (const uint8_t *)"GENERAL", 7 } },
	{ EVENT(9, EVENT_ROOM_KEY_IMPORTED), .room_id = { (const uint8_t *)"GENERAL", 7 },
	  .kid = { (const uint8_t *)"k", 1 } },
	{ EVENT(10, EVENT_ROOM_KEY_ROTATED), .room_id = { (const uint8_t *)"GENERAL", 7 },
	  .kid = { (const uint8_t *)"k", 1 } },
	{ EVENT(77, EVENT_TOKEN_RESET) },
};

#define APP .seq = 77, .time_ms = 1795413600123, .app_id = BYTES_LIT("app-1")

static const enum record_op ops[] = { RECORD_APP_CREATED, RECORD_TOKEN_SET,	RECORD_IDENTITY_ADDED,
				      RECORD_GRANT_SET,	  RECORD_GRANT_DROPPED, RECORD_APP_REVOKED,
				      RECORD_CUSTODY,	  RECORD_APP,		RECORD_ROOM_KEYS_ADDED,
				      RECORD_ROOM,	  RECORD_SNAPSHOT_END,	RECORD_KEY_REVOKED,
				      RECORD_KEY_EXPIRED, RECORD_ESCROW_SET,	RECORD_ROOM_KEY_CREATED,
				      RECORD_EVENTS };

static struct record sample(enum record_op op)
{
	switch (op) {
	case RECORD_APP_CREATED:
		return (struct record){ .op = op,
					APP,
					.name = BYTES_LIT("An app \xe2\x9c\x93"),
					.app_key = secret_bytes(app_key),
					.token = BYTES(token, sizeof(token)),
					.key_id = BYTES_LIT(UUID),
					.pkcs8 = BYTES_LIT("der"),
					.created_ms = 42,
					.grants = grants,
					.n_grants = 2 };
	case RECORD_TOKEN_SET:
		return (struct record){ .op = op, APP, .token = BYTES(token, sizeof(token)) };
	case RECORD_IDENTITY_ADDED:
		return (struct record){ .op = op,
					APP,
					.key_id = BYTES_LIT(UUID),
					.pkcs8 = BYTES_LIT("der"),
					.previous_expires_ms = INT64_MAX };
	case RECORD_GRANT_SET:
		return (struct record){ .op = op, APP, .room_id = BYTES_LIT("GENERAL"), .perms = 5 };
	case RECORD_GRANT_DROPPED:
		return (struct record){ .op = op, APP, .room_id = BYTES_LIT("GENERAL"), .purge = true };
	case RECORD_APP_REVOKED:
		return (struct record){ .op = op, APP };
	case RECORD_CUSTODY:
		return (struct record){ .op = op, .seq = 77, .time_ms = 5, .custody = BYTES(custody, sizeof(custody)) };
	case RECORD_APP:
		return (struct record){ .op = op,
					APP,
					.name = BYTES_LIT("An app"),
					.app_key = secret_bytes(app_key),
					.token = BYTES(token, sizeof(token)),
					.token_seq = 70,
					.escrow = BYTES_LIT("a passphrase"),
					.events_from = 66,
					.created_ms = 42,
					.identities = identities,
					.n_identities = 2,
					.tombstones = tombstones,
					.n_tombstones = 1 };
	case RECORD_ROOM:
		return (struct record){ .op = op,
					APP,
					.room_id = BYTES_LIT("GENERAL"),
					.next_number = 9,
					.keys = keys,
					.n_keys = 2,
					.current = 8 };
	case RECORD_SNAPSHOT_END:
		return (struct record){ .op = op, .seq = 77, .time_ms = 5 };
	case RECORD_KEY_REVOKED:
	case RECORD_KEY_EXPIRED:
		return (struct record){ .op = op, APP, .key_id = BYTES_LIT(UUID) };
	case RECORD_ESCROW_SET:
		return (struct record){ .op = op, APP, .escrow = BYTES_LIT("a passphrase") };
	case RECORD_EVENTS:
		return (struct record){ .op = op,
					.seq = 77,
					.time_ms = 5,
					.events = events,
					.n_events = sizeof(events) / sizeof(*events) };
	case RECORD_ROOM_KEYS_ADDED:
	case RECORD_ROOM_KEY_CREATED:
		break;
	}
	return (struct record){ .op = op,
				APP,
				.room_id = BYTES_LIT("GENERAL"),
				.keys = keys,
				.n_keys = op == RECORD_ROOM_KEY_CREATED ? 1 : 2,
				.current = 8,
				.current_kid = BYTES_LIT("k") };
}

static int decode(struct bytes plain, struct record *ret, bool *ret_said)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(1024);
	int r = record_decode(plain, &why, ret);

	*ret_said = why.n > 0;
	return r;
}

/* Return: is @plain refused as damaged, with a sentence? */
static bool refused(struct bytes plain)
{
	struct record record;
	bool said;
	int r = decode(plain, &record, &said);

	record_fini(&record);
	return r == ERR_DAMAGED && said;
}

/* A secret as it lies in a decoded record, opened, must be the one that went in. */
static void check_secret(const struct record *record, struct bytes sealed, struct bytes want)
{
	CLEANUP(secret_freep) struct secret *plain = NULL, *other = NULL;

	CHECK_INT(sealed.n, want.n ? want.n + SEALED : 0);
	if (!want.n)
		return;
	CHECK_INT(record_open_secret(record, sealed, app_key, &plain), 0);
	CHECK_BYTES(secret_bytes(plain), want);
	CHECK(!memmem(sealed.p, sealed.n, want.p, want.n));
	CHECK_INT(record_open_secret(record, sealed, other_key, &other), ERR_DAMAGED);
	CHECK(!other);
}

static void check_same_event(const struct event *got, const struct event *want)
{
	CHECK(got->seq == want->seq && got->time_ms == want->time_ms && got->type == want->type &&
	      got->perms == want->perms);
	CHECK_BYTES(got->app_id, want->app_id);
	CHECK_BYTES(got->room_id, want->room_id);
	CHECK_BYTES(got->kid, want->kid);
	CHECK_BYTES(got->key_id, want->key_id);
}

/* @got was decoded from what @want was encoded to */
static void check_same(const struct record *got, const struct record *want)
{
	CHECK(got->op == want->op && got->seq == want->seq && got->time_ms == want->time_ms &&
	      got->created_ms == want->created_ms && got->revoked_ms == want->revoked_ms &&
	      got->token_seq == want->token_seq && got->events_from == want->events_from &&
	      got->n_tombstones == want->n_tombstones && got->n_events == want->n_events &&
	      got->next_number == want->next_number && got->previous_expires_ms == want->previous_expires_ms &&
	      got->perms == want->perms && got->purge == want->purge && got->current == want->current &&
	      got->n_grants == want->n_grants && got->n_keys == want->n_keys &&
	      got->n_identities == want->n_identities);
	CHECK_BYTES(got->app_id, want->app_id);
	CHECK_BYTES(got->custody, want->custody);
	CHECK_BYTES(got->name, want->name);
	CHECK_BYTES(got->app_key, want->app_key);
	CHECK_BYTES(got->key_id, want->key_id);
	CHECK_BYTES(got->room_id, want->room_id);
	CHECK_BYTES(got->current_kid, want->current_kid);
	check_secret(got, got->token, want->token);
	check_secret(got, got->escrow, want->escrow);
	check_secret(got, got->pkcs8, want->pkcs8);
	for (size_t i = 0; i < got->n_identities && i < want->n_identities; i++) {
		const struct record_identity *g = &got->identities[i], *w = &want->identities[i];

		CHECK(g->created_ms == w->created_ms && g->retired_ms == w->retired_ms &&
		      g->expires_ms == w->expires_ms);
		CHECK_BYTES(g->key_id, w->key_id);
		check_secret(got, g->pkcs8, w->pkcs8);
	}
	for (size_t i = 0; i < got->n_tombstones && i < want->n_tombstones; i++) {
		CHECK_BYTES(got->tombstones[i].key_id, want->tombstones[i].key_id);
		CHECK_INT(got->tombstones[i].created_ms, want->tombstones[i].created_ms);
		CHECK_INT(got->tombstones[i].revoked_ms, want->tombstones[i].revoked_ms);
	}
	for (size_t i = 0; i < got->n_events && i < want->n_events; i++)
		check_same_event(&got->events[i], &want->events[i]);
	for (size_t i = 0; i < got->n_grants && i < want->n_grants; i++) {
		CHECK_BYTES(got->grants[i].room_id, want->grants[i].room_id);
		CHECK_INT(got->grants[i].perms, want->grants[i].perms);
	}
	for (size_t i = 0; i < got->n_keys && i < want->n_keys; i++) {
		CHECK_INT(got->keys[i].number, want->keys[i].number);
		CHECK_INT(got->keys[i].order_ms, want->keys[i].order_ms);
		CHECK_BYTES(got->keys[i].kid, want->keys[i].kid);
		CHECK_BYTES(got->keys[i].ts, want->keys[i].ts);
		check_secret(got, got->keys[i].jwk, want->keys[i].jwk);
	}
}

/* Where a decoded record has secrets, or could have. */
static size_t list_secrets(struct record *record, struct bytes *ret[MAX_SECRETS])
{
	size_t n = 0;

	ret[n++] = &record->token;
	ret[n++] = &record->pkcs8;
	ret[n++] = &record->escrow;
	for (size_t i = 0; i < record->n_identities && n < MAX_SECRETS; i++)
		ret[n++] = &record->identities[i].pkcs8;
	for (size_t i = 0; i < record->n_keys && n < MAX_SECRETS; i++)
		ret[n++] = &record->keys[i].jwk;
	return n;
}

/* @plain with zeros in the place of its sealed secrets, which differ each time they are sealed; to be freed */
static uint8_t *without_secrets(struct bytes plain, struct record *record)
{
	struct bytes *secrets[MAX_SECRETS];
	size_t n = list_secrets(record, secrets);
	uint8_t *copy = malloc(plain.n);

	memcpy(copy, plain.p, plain.n);
	for (size_t i = 0; i < n; i++)
		if (secrets[i]->n)
			memset(copy + (secrets[i]->p - plain.p), 0, secrets[i]->n);
	return copy;
}

/*
 * Is @plain, which has decoded to @record, the one encoding of what it says? A secret that does not open is refused, and so it is
 * one that nobody takes for true.
 */
static bool is_canonical(struct bytes plain, struct record *record)
{
	CLEANUP(record_fini) struct record back = { 0 };
	CLEANUP(secret_freep) struct secret *again = NULL;
	struct secret *kept[MAX_SECRETS] = { NULL };
	struct bytes *secrets[MAX_SECRETS];
	size_t n = list_secrets(record, secrets);
	uint8_t *want = without_secrets(plain, record), *got = NULL;
	bool said, opens = true, same;

	for (size_t i = 0; i < n && opens; i++) {
		if (!secrets[i]->n)
			continue;
		opens = record_open_secret(record, *secrets[i], app_key, &kept[i]) == 0;
		if (opens)
			*secrets[i] = secret_bytes(kept[i]);
	}
	same = !opens || (record_encode(record, app_key, &again) == 0 && secret_len(again) == plain.n &&
			  decode(secret_bytes(again), &back, &said) == 0);
	if (same && opens) {
		got = without_secrets(secret_bytes(again), &back);
		same = memcmp(got, want, plain.n) == 0;
	}
	for (size_t i = 0; i < n; i++)
		secret_free(kept[i]);
	free(want);
	free(got);
	return same;
}

static void check_flips(struct bytes plain)
{
	uint8_t *copy = malloc(plain.n);
	size_t wrong = 0;

	memcpy(copy, plain.p, plain.n);
	for (size_t bit = 0; bit < 8 * plain.n; bit++) {
		CLEANUP(record_fini) struct record record = { 0 };
		bool said;
		int r;

		copy[bit / 8] = (uint8_t)(copy[bit / 8] ^ 1u << (bit % 8));
		r = decode(BYTES(copy, plain.n), &record, &said);
		wrong += r == 0 ? !is_canonical(BYTES(copy, plain.n), &record) : r != ERR_DAMAGED || !said;
		copy[bit / 8] = plain.p[bit / 8];
	}
	CHECK_INT(wrong, 0);
	free(copy);
}

static void test_each_op(void)
{
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
		CLEANUP(secret_freep) struct secret *plain = NULL;
		CLEANUP(record_fini) struct record back = { 0 };
		struct record record = sample(ops[i]);
		size_t accepted = 0;
		uint8_t *longer;
		bool said;

		CHECK_INT(record_encode(&record, app_key, &plain), 0);
		CHECK_INT(decode(secret_bytes(plain), &back, &said), 0);
		check_same(&back, &record);
		CHECK(is_canonical(secret_bytes(plain), &back));
		for (size_t n = 0; n < secret_len(plain); n++)
			accepted += !refused(bytes_sub(secret_bytes(plain), 0, n));
		CHECK_INT(accepted, 0);
		longer = calloc(1, secret_len(plain) + 1);
		memcpy(longer, secret_read(plain), secret_len(plain));
		CHECK(refused(BYTES(longer, secret_len(plain) + 1)));
		free(longer);
		check_flips(secret_bytes(plain));
	}
}

/* A secret is bound to its app, and to its key: neither another app nor a revoked one's record gives it away. */
static void test_secret_is_bound(void)
{
	CLEANUP(secret_freep) struct secret *plain = NULL, *got = NULL;
	CLEANUP(record_fini) struct record back = { 0 };
	struct record record = sample(RECORD_TOKEN_SET);
	bool said;

	CHECK_INT(record_encode(&record, app_key, &plain), 0);
	CHECK_INT(decode(secret_bytes(plain), &back, &said), 0);
	record = back;
	record.app_id = BYTES_LIT("app-2");
	CHECK_INT(record_open_secret(&record, back.token, app_key, &got), ERR_DAMAGED);
	CHECK_INT(record_open_secret(&back, back.token, NULL, &got), ERR_DAMAGED);
	CHECK_INT(record_open_secret(&back, bytes_sub(back.token, 0, SEALED - 1), app_key, &got), ERR_DAMAGED);
	CHECK_INT(record_open_secret(&back, BYTES_NONE, app_key, &got), ERR_DAMAGED);
	CHECK(!got);
	CHECK_INT(record_open_secret(&back, back.token, app_key, &got), 0);
}

static void test_newer(void)
{
	CLEANUP(secret_freep) struct secret *plain = NULL;
	CLEANUP(buf_fini) struct buf why = BUF_INIT(1024);
	struct record record = sample(RECORD_TOKEN_SET);
	size_t wrong = 0;

	CHECK_INT(record_encode(&record, app_key, &plain), 0);
	secret_write(plain)[0] = 4;
	CHECK_INT(record_decode(secret_bytes(plain), &why, &record), ERR_DAMAGED);
	CHECK(memmem(why.p, why.n, "newer e2eed", 11) != NULL);
	for (unsigned op = 0; op < 256; op++) {
		bool known = false;

		for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++)
			known |= op == ops[i];
		if (known)
			continue;
		buf_reset(&why);
		secret_write(plain)[0] = 3;
		secret_write(plain)[1] = (uint8_t)op;
		wrong += record_decode(secret_bytes(plain), &why, &record) != ERR_DAMAGED ||
			 !memmem(why.p, why.n, "newer e2eed", 11);
	}
	CHECK_INT(wrong, 0);
}

static bool encodes(struct record record)
{
	CLEANUP(secret_freep) struct secret *plain = NULL;

	return record_encode(&record, app_key, &plain) == 0;
}

#define WITH(op_, member_, value_)                 \
	__extension__({                            \
		struct record with_ = sample(op_); \
		with_.member_ = (value_);          \
		encodes(with_);                    \
	})

static void test_not_written(void)
{
	char big[4097];

	memset(big, 'x', sizeof(big));
	CHECK(WITH(RECORD_GRANT_SET, app_id, BYTES(big, 128)));
	CHECK(!WITH(RECORD_GRANT_SET, app_id, BYTES(big, 129)));
	CHECK(!WITH(RECORD_GRANT_SET, app_id, BYTES_NONE));
	CHECK(!WITH(RECORD_GRANT_SET, app_id, BYTES_LIT("a\nb")));
	CHECK(!WITH(RECORD_GRANT_SET, room_id, BYTES_LIT("a\xff")));
	CHECK(!WITH(RECORD_GRANT_SET, room_id, BYTES_LIT("\xc0\xaf")));		/* overlong */
	CHECK(!WITH(RECORD_GRANT_SET, room_id, BYTES_LIT("\xed\xa0\x80")));	/* a surrogate */
	CHECK(!WITH(RECORD_GRANT_SET, room_id, BYTES_LIT("\xf4\x90\x80\x80"))); /* past U+10FFFF */
	CHECK(!WITH(RECORD_GRANT_SET, room_id, BYTES_LIT("\xe2\x9c")));		/* cut short */
	CHECK(WITH(RECORD_GRANT_SET, room_id, BYTES_LIT("\xf0\x9f\x94\x91")));
	CHECK(!WITH(RECORD_GRANT_SET, perms, 0));
	CHECK(!WITH(RECORD_GRANT_SET, perms, 16));
	CHECK(!WITH(RECORD_GRANT_SET, perms, 256 + 1));
	CHECK(!WITH(RECORD_TOKEN_SET, token, BYTES(token, 31)));
	CHECK(!WITH(RECORD_IDENTITY_ADDED, key_id, BYTES_LIT("01234567-89AB-4def-8123-456789abcdef")));
	CHECK(!WITH(RECORD_IDENTITY_ADDED, pkcs8, BYTES_NONE));
	CHECK(!WITH(RECORD_CUSTODY, app_id, BYTES_LIT("app-1")));
	CHECK(!WITH(RECORD_CUSTODY, custody, BYTES(custody, 31)));
	CHECK(!WITH(RECORD_SNAPSHOT_END, app_id, BYTES_LIT("app-1")));
	CHECK(!WITH(RECORD_APP_REVOKED, app_id, BYTES_NONE));
	CHECK(!WITH(RECORD_APP_CREATED, app_key, BYTES(big, 31)));
	CHECK(!WITH(RECORD_APP, app_key, BYTES_NONE));
	CHECK(!WITH(RECORD_APP, token, BYTES_NONE));
	CHECK(!WITH(RECORD_APP, n_identities, 0));
	CHECK(!WITH(RECORD_APP, revoked_ms, 1)); /* with secrets: there are none in what is revoked */
	CHECK(encodes((struct record){ .op = RECORD_APP, APP, .revoked_ms = 1 }));
	CHECK(WITH(RECORD_ROOM, perms, PERM_ALL));
	CHECK(!WITH(RECORD_ROOM, perms, 16));
	CHECK(WITH(RECORD_ROOM, n_keys, 0));
	CHECK(WITH(RECORD_APP_CREATED, name, BYTES_NONE));
	CHECK(WITH(RECORD_APP_CREATED, n_grants, 0));
	CHECK(!WITH(RECORD_APP_CREATED, name, BYTES(big, 257)));
	CHECK(!WITH(RECORD_ROOM_KEYS_ADDED, current,
		    RECORD_SAME_CURRENT)); /* it has a current kid, and no current key */
	CHECK(!WITH(RECORD_ROOM_KEYS_ADDED, current_kid, BYTES_NONE));
	CHECK(!WITH(RECORD_ROOM_KEYS_ADDED, seq, 2)); /* it tells three things */
	CHECK(!WITH(RECORD_ROOM_KEY_CREATED, n_keys, 2));
	CHECK(!WITH(RECORD_KEY_REVOKED, key_id, BYTES_NONE));
	CHECK(WITH(RECORD_ESCROW_SET, escrow, BYTES_NONE));
	CHECK(WITH(RECORD_ESCROW_SET, escrow, BYTES(big, 1024)));
	CHECK(!WITH(RECORD_ESCROW_SET, escrow, BYTES(big, 1025)));
	CHECK(!WITH(RECORD_EVENTS, app_id, BYTES_LIT("app-1")));
	CHECK(!WITH(RECORD_EVENTS, n_events, 0));
	CHECK(!WITH(RECORD_EVENTS, seq, 76)); /* behind the newest change */
	events[0].seq = 4;
	CHECK(!encodes(sample(RECORD_EVENTS))); /* not in order */
	events[0].seq = 3;
	events[0].kid = BYTES_LIT("k");
	CHECK(!encodes(sample(RECORD_EVENTS)));
	events[0].kid = BYTES_NONE;
	events[0].type = (enum event_type)9;
	CHECK(!encodes(sample(RECORD_EVENTS)));
	events[0].type = EVENT_IDENTITY_ROTATED;
	CHECK(WITH(RECORD_ROOM_KEYS_ADDED, n_keys, 0)); /* makes key 8 current */
	CHECK(!encodes((struct record){ .op = RECORD_ROOM_KEYS_ADDED,
					APP,
					.room_id = BYTES_LIT("r"),
					.current = RECORD_SAME_CURRENT })); /* says nothing */
	keys[0].kid = BYTES_NONE;
	CHECK(!encodes(sample(RECORD_ROOM_KEYS_ADDED)));
	keys[0].kid = BYTES(big, 65);
	CHECK(!encodes(sample(RECORD_ROOM_KEYS_ADDED)));
	keys[0].kid = BYTES(big, 64);
	CHECK(encodes(sample(RECORD_ROOM_KEYS_ADDED)));
	keys[0].ts = BYTES(big, 4097);
	CHECK(!encodes(sample(RECORD_ROOM_KEYS_ADDED)));
}

int main(void)
{
	test_start();
	CHECK_INT(rand_secret(RECORD_APP_KEY_SIZE, &app_key), 0);
	CHECK_INT(rand_secret(RECORD_APP_KEY_SIZE, &other_key), 0);
	test_each_op();
	test_secret_is_bound();
	test_newer();
	test_not_written();
	secret_free(app_key);
	secret_free(other_key);
	return test_end();
}
