#include "keystore/record.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "crypto/roomkey.h"
#include "keystore/le.h"
#include "keystore/sealed_log.h"

#define VERSION	     3u
#define MAX_PKCS8    8192u
#define MIN_GRANT    5u /* bytes that one takes at least; bounds lists before they are allocated */
#define MIN_KEY	     24u
#define MIN_IDENTITY 32u
#define MIN_TOMB     20u
#define MIN_EVENT    34u

#define NONCE_SIZE   crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define SECRET_EXTRA (NONCE_SIZE + crypto_aead_xchacha20poly1305_ietf_ABYTES) /* what sealing adds to a secret */

_Static_assert(RECORD_APP_KEY_SIZE == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "an app's key is an AEAD key");

/*
 * One description of the layout serves measuring, writing and reading, so that they cannot drift apart. A failure is sticky and
 * makes the rest of the walk harmless.
 */
struct codec {
	enum { MEASURE, WRITE, READ } mode;
	uint8_t *out;		      /* WRITE */
	struct bytes in;	      /* READ: what is left */
	size_t n;		      /* bytes measured or written */
	const struct secret *app_key; /* MEASURE, WRITE */
	struct bytes app_id;	      /* secrets are bound to it */
	int err;
};

static struct bytes take(struct codec *c, size_t n)
{
	struct bytes got = bytes_sub(c->in, 0, n);

	if (got.n < n && !c->err)
		c->err = ERR_DAMAGED;
	if (c->err)
		return BYTES_NONE;
	c->in = bytes_sub(c->in, n, c->in.n);
	return got;
}

static void put(struct codec *c, const void *p, size_t n)
{
	if (c->mode == WRITE && n)
		memcpy(c->out + c->n, p, n);
	c->n += n;
}

static void code_u8(struct codec *c, uint8_t *v)
{
	if (c->mode == READ) {
		struct bytes b = take(c, 1);

		*v = b.n ? b.p[0] : 0;
		return;
	}
	put(c, v, 1);
}

static void code_u32(struct codec *c, uint32_t *v)
{
	uint8_t raw[4];

	if (c->mode == READ) {
		struct bytes b = take(c, sizeof(raw));

		*v = b.n ? le32_get(b.p) : 0;
		return;
	}
	le32_put(raw, *v);
	put(c, raw, sizeof(raw));
}

static void code_u64(struct codec *c, uint64_t *v)
{
	uint8_t raw[8];

	if (c->mode == READ) {
		struct bytes b = take(c, sizeof(raw));

		*v = b.n ? le64_get(b.p) : 0;
		return;
	}
	le64_put(raw, *v);
	put(c, raw, sizeof(raw));
}

static void code_i64(struct codec *c, int64_t *v)
{
	uint64_t u = (uint64_t)*v;

	code_u64(c, &u);
	*v = (int64_t)u;
}

static void code_bytes(struct codec *c, struct bytes *v)
{
	uint32_t n = (uint32_t)v->n;

	if (c->mode != READ && v->n > SEALED_LOG_MAX_RECORD) {
		c->err = ERR_TOO_LARGE;
		return;
	}
	code_u32(c, &n);
	if (c->mode == READ)
		*v = take(c, n);
	else
		put(c, v->p, v->n);
}

/* In the record: nonce | ciphertext | tag, or nothing where there is no secret. */
static void code_secret(struct codec *c, struct bytes *v)
{
	uint32_t n = (uint32_t)(v->n + SECRET_EXTRA);
	uint8_t *p;

	if (c->mode == READ || !v->n) {
		code_bytes(c, v);
		return;
	}
	assert(c->app_key);
	if (v->n > SEALED_LOG_MAX_RECORD) {
		c->err = ERR_TOO_LARGE;
		return;
	}
	code_u32(c, &n);
	if (c->mode == MEASURE) {
		c->n += n;
		return;
	}
	p = c->out + c->n;
	randombytes_buf(p, NONCE_SIZE);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(p + NONCE_SIZE, NULL, v->p, v->n, c->app_id.p, c->app_id.n,
							 NULL, p, secret_read(c->app_key)); /* cannot fail */
	c->n += n;
}

/* How many elements follow, each of at least @min bytes. */
static void code_count(struct codec *c, size_t *n, size_t min)
{
	uint32_t v = (uint32_t)*n;

	if (c->mode != READ && *n > SEALED_LOG_MAX_RECORD / min) {
		c->err = ERR_TOO_LARGE;
		return;
	}
	code_u32(c, &v);
	if (c->mode != READ)
		return;
	if (v > c->in.n / min && !c->err)
		c->err = ERR_DAMAGED;
	*n = c->err ? 0 : v;
}

static void code_perms(struct codec *c, unsigned *perms)
{
	uint8_t v = (uint8_t)*perms;

	code_u8(c, &v);
	if (c->mode == READ)
		*perms = v;
}

/* How many elements follow, and where one reads, room for them. @size of one in memory; Return: the list. */
static void *code_list(struct codec *c, void *list, size_t *n, size_t min, size_t size)
{
	code_count(c, n, min);
	if (c->mode != READ || !*n)
		return list;
	list = calloc(*n, size);
	if (!list) {
		c->err = ERR_NOMEM;
		*n = 0;
	}
	return list;
}

static void code_grants(struct codec *c, struct record *r)
{
	r->grants = code_list(c, r->grants, &r->n_grants, MIN_GRANT, sizeof(*r->grants));
	for (size_t i = 0; i < r->n_grants && !c->err; i++) {
		code_bytes(c, &r->grants[i].room_id);
		code_perms(c, &r->grants[i].perms);
	}
}

static void code_keys(struct codec *c, struct record *r)
{
	r->keys = code_list(c, r->keys, &r->n_keys, MIN_KEY, sizeof(*r->keys));
	for (size_t i = 0; i < r->n_keys && !c->err; i++) {
		code_u32(c, &r->keys[i].number);
		code_bytes(c, &r->keys[i].kid);
		code_secret(c, &r->keys[i].jwk);
		code_bytes(c, &r->keys[i].ts);
		code_i64(c, &r->keys[i].order_ms);
	}
	code_u32(c, &r->current);
}

static void code_identities(struct codec *c, struct record *r)
{
	r->identities = code_list(c, r->identities, &r->n_identities, MIN_IDENTITY, sizeof(*r->identities));
	for (size_t i = 0; i < r->n_identities && !c->err; i++) {
		code_bytes(c, &r->identities[i].key_id);
		code_i64(c, &r->identities[i].created_ms);
		code_i64(c, &r->identities[i].retired_ms);
		code_i64(c, &r->identities[i].expires_ms);
		code_secret(c, &r->identities[i].pkcs8);
	}
}

static void code_tombstones(struct codec *c, struct record *r)
{
	r->tombstones = code_list(c, r->tombstones, &r->n_tombstones, MIN_TOMB, sizeof(*r->tombstones));
	for (size_t i = 0; i < r->n_tombstones && !c->err; i++) {
		code_bytes(c, &r->tombstones[i].key_id);
		code_i64(c, &r->tombstones[i].created_ms);
		code_i64(c, &r->tombstones[i].revoked_ms);
	}
}

static void code_events(struct codec *c, struct record *r)
{
	r->events = code_list(c, r->events, &r->n_events, MIN_EVENT, sizeof(*r->events));
	for (size_t i = 0; i < r->n_events && !c->err; i++) {
		struct event *e = &r->events[i];
		uint8_t type = (uint8_t)e->type;

		code_u64(c, &e->seq);
		code_i64(c, &e->time_ms);
		code_u8(c, &type);
		e->type = (enum event_type)type;
		code_bytes(c, &e->app_id);
		code_bytes(c, &e->room_id);
		code_bytes(c, &e->kid);
		code_bytes(c, &e->key_id);
		code_perms(c, &e->perms);
	}
}

/* Everything behind version and operation. */
static void code_body(struct codec *c, struct record *r)
{
	uint8_t purge = r->purge;

	code_u64(c, &r->seq);
	code_i64(c, &r->time_ms);
	code_bytes(c, &r->app_id);
	c->app_id = r->app_id;
	switch (r->op) {
	case RECORD_APP_CREATED:
		code_bytes(c, &r->name);
		code_bytes(c, &r->app_key);
		code_secret(c, &r->token);
		code_bytes(c, &r->key_id);
		code_i64(c, &r->created_ms);
		code_secret(c, &r->pkcs8);
		code_grants(c, r);
		break;
	case RECORD_TOKEN_SET:
		code_secret(c, &r->token);
		break;
	case RECORD_IDENTITY_ADDED:
		code_bytes(c, &r->key_id);
		code_secret(c, &r->pkcs8);
		code_i64(c, &r->previous_expires_ms);
		break;
	case RECORD_GRANT_SET:
		code_bytes(c, &r->room_id);
		code_perms(c, &r->perms);
		break;
	case RECORD_GRANT_DROPPED:
		code_bytes(c, &r->room_id);
		code_u8(c, &purge);
		if (purge > 1 && !c->err)
			c->err = ERR_DAMAGED;
		r->purge = purge;
		break;
	case RECORD_ROOM_KEYS_ADDED:
	case RECORD_ROOM_KEY_CREATED:
		code_bytes(c, &r->room_id);
		code_keys(c, r);
		code_bytes(c, &r->current_kid);
		break;
	case RECORD_APP_REVOKED:
	case RECORD_SNAPSHOT_END:
		break;
	case RECORD_KEY_REVOKED:
	case RECORD_KEY_EXPIRED:
		code_bytes(c, &r->key_id);
		break;
	case RECORD_ESCROW_SET:
		code_secret(c, &r->escrow);
		break;
	case RECORD_CUSTODY:
		code_bytes(c, &r->custody);
		break;
	case RECORD_APP:
		code_bytes(c, &r->name);
		code_i64(c, &r->created_ms);
		code_i64(c, &r->revoked_ms);
		code_bytes(c, &r->app_key);
		code_secret(c, &r->token);
		code_u64(c, &r->token_seq);
		code_secret(c, &r->escrow);
		code_u64(c, &r->events_from);
		code_identities(c, r);
		code_tombstones(c, r);
		break;
	case RECORD_ROOM:
		code_bytes(c, &r->room_id);
		code_perms(c, &r->perms);
		code_u32(c, &r->next_number);
		code_keys(c, r);
		break;
	case RECORD_EVENTS:
		code_events(c, r);
		break;
	}
}

/* ---- what the fields may hold ---- */

/* Length of the UTF-8 sequence at @p (RFC 3629: no overlong forms, no surrogates, nothing past U+10FFFF); 0 if it is none. */
static size_t utf8_sequence(const uint8_t *p, size_t n)
{
	uint8_t low = 0x80, high = 0xbf; /* what the second byte may be */
	size_t len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		len = 2;
	else if ((p[0] & 0xf0) == 0xe0)
		len = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		len = 4;
	else
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	if (p[0] == 0xed)
		high = 0x9f;
	if (p[0] == 0xf0)
		low = 0x90;
	if (p[0] == 0xf4)
		high = 0x8f;
	if (len > n || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

static bool text_ok(struct bytes text, size_t max)
{
	size_t step;

	if (text.n > max)
		return false;
	for (size_t i = 0; i < text.n; i += step) {
		step = utf8_sequence(text.p + i, text.n - i);
		if (step == 0)
			return false;
	}
	return true;
}

static bool id_ok(struct bytes id)
{
	for (size_t i = 0; i < id.n; i++)
		if (id.p[i] < 0x20 || id.p[i] == 0x7f)
			return false;
	return id.n > 0 && text_ok(id, STORE_MAX_ID);
}

static bool uuid_ok(struct bytes id)
{
	static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

	if (id.n != UUID_SIZE - 1)
		return false;
	for (size_t i = 0; i < id.n; i++)
		if (shape[i] == '-' ? id.p[i] != '-' : !strchr("0123456789abcdef", id.p[i]) || !id.p[i])
			return false;
	return true;
}

static bool kid_ok(struct bytes kid)
{
	for (size_t i = 0; i < kid.n; i++)
		if (kid.p[i] < 0x20 || kid.p[i] > 0x7e)
			return false;
	return kid.n > 0 && kid.n <= ROOMKEY_MAX_KID;
}

static bool perms_ok(unsigned perms)
{
	return perms > 0 && perms <= PERM_ALL;
}

/* @extra: what sealing has added to secrets, SECRET_EXTRA or nothing */
static bool secret_ok(struct bytes s, size_t min, size_t max, size_t extra)
{
	return s.n >= min + extra && s.n <= max + extra;
}

static bool pkcs8_ok(struct bytes der, size_t extra)
{
	return secret_ok(der, 1, MAX_PKCS8, extra);
}

static bool token_ok(struct bytes token, size_t extra)
{
	return secret_ok(token, STORE_TOKEN_SIZE, STORE_TOKEN_SIZE, extra);
}

static bool escrow_ok(struct bytes escrow, size_t extra)
{
	return !escrow.n || secret_ok(escrow, 1, STORE_MAX_ESCROW, extra);
}

static bool grants_ok(const struct record *r)
{
	for (size_t i = 0; i < r->n_grants; i++)
		if (!id_ok(r->grants[i].room_id) || !perms_ok(r->grants[i].perms))
			return false;
	return true;
}

static bool keys_ok(const struct record *r, size_t extra)
{
	for (size_t i = 0; i < r->n_keys; i++) {
		const struct record_key *k = &r->keys[i];

		if (k->number == RECORD_SAME_CURRENT || !kid_ok(k->kid) ||
		    !secret_ok(k->jwk, 1, RECORD_MAX_JWK, extra) || !text_ok(k->ts, RECORD_MAX_TS))
			return false;
	}
	return true;
}

/* a change: its current key, if it makes one, is told by kid, too */
static bool addition_ok(const struct record *r, size_t extra)
{
	if (r->current == RECORD_SAME_CURRENT ? r->n_keys == 0 || r->current_kid.n > 0 : !kid_ok(r->current_kid))
		return false;
	return id_ok(r->room_id) && keys_ok(r, extra) && r->seq >= event_count(r);
}

static bool app_ok(const struct record *r, size_t extra)
{
	if (!text_ok(r->name, STORE_MAX_NAME) || !escrow_ok(r->escrow, extra))
		return false;
	if (r->revoked_ms)
		return r->app_key.n == 0 && r->token.n == 0 && r->escrow.n == 0 && r->n_identities == 0 &&
		       r->n_tombstones == 0;
	for (size_t i = 0; i < r->n_identities; i++)
		if (!uuid_ok(r->identities[i].key_id) || !pkcs8_ok(r->identities[i].pkcs8, extra))
			return false;
	for (size_t i = 0; i < r->n_tombstones; i++)
		if (!uuid_ok(r->tombstones[i].key_id))
			return false;
	return r->app_key.n == RECORD_APP_KEY_SIZE && token_ok(r->token, extra) && r->n_identities > 0;
}

static bool event_ok(const struct event *e)
{
	switch (e->type) {
	case EVENT_IDENTITY_ROTATED:
	case EVENT_IDENTITY_KEY_REVOKED:
	case EVENT_IDENTITY_RETIRED_KEY_EXPIRED:
		return !e->room_id.n && !e->kid.n && uuid_ok(e->key_id) && !e->perms;
	case EVENT_ROOM_AUTHORIZED:
		return id_ok(e->room_id) && !e->kid.n && !e->key_id.n && perms_ok(e->perms);
	case EVENT_ROOM_DEAUTHORIZED:
		return id_ok(e->room_id) && !e->kid.n && !e->key_id.n && !e->perms;
	case EVENT_ROOM_KEY_IMPORTED:
	case EVENT_ROOM_KEY_ROTATED:
		return id_ok(e->room_id) && kid_ok(e->kid) && !e->key_id.n && !e->perms;
	case EVENT_TOKEN_RESET:
		return !e->room_id.n && !e->kid.n && !e->key_id.n && !e->perms;
	}
	return false;
}

static bool events_ok(const struct record *r)
{
	for (size_t i = 0; i < r->n_events; i++)
		if (!id_ok(r->events[i].app_id) || !event_ok(&r->events[i]) || r->events[i].seq > r->seq ||
		    (i > 0 && r->events[i].seq <= r->events[i - 1].seq))
			return false;
	return r->n_events > 0;
}

static bool is_of_no_app(enum record_op op)
{
	return op == RECORD_CUSTODY || op == RECORD_EVENTS || op == RECORD_SNAPSHOT_END;
}

static bool record_ok(const struct record *r, size_t extra)
{
	if (is_of_no_app(r->op) ? r->app_id.n > 0 : !id_ok(r->app_id))
		return false;
	switch (r->op) {
	case RECORD_APP_CREATED:
		return text_ok(r->name, STORE_MAX_NAME) && r->app_key.n == RECORD_APP_KEY_SIZE &&
		       token_ok(r->token, extra) && uuid_ok(r->key_id) && pkcs8_ok(r->pkcs8, extra) && grants_ok(r) &&
		       r->seq >= event_count(r);
	case RECORD_TOKEN_SET:
		return token_ok(r->token, extra);
	case RECORD_IDENTITY_ADDED:
		return uuid_ok(r->key_id) && pkcs8_ok(r->pkcs8, extra);
	case RECORD_GRANT_SET:
		return id_ok(r->room_id) && perms_ok(r->perms);
	case RECORD_GRANT_DROPPED:
		return id_ok(r->room_id);
	case RECORD_ROOM_KEYS_ADDED:
		return addition_ok(r, extra);
	case RECORD_ROOM_KEY_CREATED:
		return addition_ok(r, extra) && r->n_keys == 1;
	case RECORD_KEY_REVOKED:
	case RECORD_KEY_EXPIRED:
		return uuid_ok(r->key_id);
	case RECORD_ESCROW_SET:
		return escrow_ok(r->escrow, extra);
	case RECORD_APP_REVOKED:
	case RECORD_SNAPSHOT_END:
		return true;
	case RECORD_CUSTODY:
		return r->custody.n == RECORD_CUSTODY_SIZE;
	case RECORD_APP:
		return app_ok(r, extra);
	case RECORD_ROOM:
		return id_ok(r->room_id) && r->perms <= PERM_ALL && keys_ok(r, extra);
	case RECORD_EVENTS:
		return events_ok(r);
	}
	return false;
}

/* ---- both ways ---- */

static int encode(struct codec *c, const struct record *record)
{
	struct record r = *record; /* walked, not changed */
	uint8_t version = VERSION, op = (uint8_t)r.op;

	c->n = 0;
	code_u8(c, &version);
	code_u8(c, &op);
	code_body(c, &r);
	return c->err;
}

int record_encode(const struct record *record, const struct secret *app_key, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *plain = NULL;
	struct codec c = { .mode = MEASURE, .app_key = app_key };
	int r;

	if (!record_ok(record, 0))
		return ERR_INVALID_PARAMS;
	r = encode(&c, record);
	if (r < 0)
		return r;
	if (c.n > SEALED_LOG_MAX_RECORD)
		return ERR_TOO_LARGE;
	r = secret_new(c.n, &plain);
	if (r < 0)
		return r;
	c = (struct codec){ .mode = WRITE, .out = secret_write(plain), .app_key = app_key };
	r = encode(&c, record);
	if (r < 0)
		return r;
	*ret = TAKE(plain);
	return 0;
}

bool record_destroys(const struct record *r)
{
	switch (r->op) {
	case RECORD_APP_REVOKED:
	case RECORD_KEY_REVOKED:
	case RECORD_KEY_EXPIRED:
	case RECORD_ESCROW_SET: /* the one before */
		return true;
	case RECORD_GRANT_DROPPED:
		return r->purge;
	default:
		return false;
	}
}

int record_open_secret(const struct record *record, struct bytes sealed, const struct secret *app_key,
		       struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *plain = NULL;
	int r;

	if (!app_key || sealed.n < SECRET_EXTRA)
		return ERR_DAMAGED;
	r = secret_new(sealed.n - SECRET_EXTRA, &plain);
	if (r < 0)
		return r;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(secret_write(plain), NULL, NULL, sealed.p + NONCE_SIZE,
						       sealed.n - NONCE_SIZE, record->app_id.p, record->app_id.n,
						       sealed.p, secret_read(app_key)) < 0)
		return ERR_DAMAGED;
	*ret = TAKE(plain);
	return 0;
}

static bool op_is_known(uint8_t op)
{
	return (op >= RECORD_APP_CREATED && op <= RECORD_ROOM_KEY_CREATED) ||
	       (op >= RECORD_CUSTODY && op <= RECORD_EVENTS);
}

int record_decode(struct bytes plain, struct buf *why, struct record *ret)
{
	struct codec c = { .mode = READ, .in = plain };
	uint8_t version, op;

	*ret = (struct record){ 0 };
	code_u8(&c, &version);
	code_u8(&c, &op);
	if (!c.err && (version != VERSION || !op_is_known(op))) {
		buf_printf(
			why,
			"a record is of a kind this version does not know (version %u, operation %u): a newer e2eed wrote it",
			version, op);
		return ERR_DAMAGED;
	}
	ret->op = (enum record_op)op;
	if (!c.err)
		code_body(&c, ret);
	if (c.err == ERR_NOMEM)
		return c.err;
	if (c.err || c.in.n || !record_ok(ret, SECRET_EXTRA)) {
		buf_put_str(why, "a record is sealed well but its content is not valid");
		return ERR_DAMAGED;
	}
	return 0;
}

void record_fini(struct record *record)
{
	free(record->grants);
	free(record->keys);
	free(record->identities);
	free(record->tombstones);
	free(record->events);
	record->grants = NULL;
	record->keys = NULL;
	record->identities = NULL;
	record->tombstones = NULL;
	record->events = NULL;
	record->n_grants = record->n_keys = record->n_identities = record->n_tombstones = record->n_events = 0;
}
