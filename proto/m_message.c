/*
 * m_message - messages in and out (docs/protocol.md, section 3, Messages)
 *
 * What a sender wrote is carried on as he wrote it: payloads are spliced, never rebuilt, so number texts, escapes, \u0000 and lone
 * surrogates survive (interop.md 23 to 25).
 */
#include <stdlib.h>

#include "base/jw.h"
#include "base/map.h"
#include "base/scan.h"
#include "proto/methods.h"

static struct bytes scratch_string(struct call *c, struct bytes str, bool *ret_ok)
{
	struct buf *strings = &c->w->strings;
	struct bytes raw = BYTES_NONE;
	size_t from = strings->n;

	*ret_ok = true;
	if (scan_type(str) != SCAN_STRING)
		*ret_ok = false;
	else if (!scan_str_raw(str, &raw)) { /* base64 with \/ in it, as some encoders write */
		*ret_ok = scan_str_decode(str, strings) == 0;
		raw = bytes_sub(buf_bytes(strings), from, SIZE_MAX);
	}
	return raw;
}

/* ---- envelopes ---- */

static int decode_v1(struct call *c, struct bytes str, struct content *ret)
{
	bool ok;
	struct bytes text = scratch_string(c, str, &ok);

	return ok ? content_decode_v1(text, ret) : ERR_MALFORMED_ENVELOPE;
}

static int decode_v2(struct call *c, struct bytes object, struct content *ret)
{
	struct bytes kid, iv, ciphertext;
	bool ok[3];

	if (!scan_find(object, BYTES_LIT("kid"), &kid) || !scan_find(object, BYTES_LIT("iv"), &iv) ||
	    !scan_find(object, BYTES_LIT("ciphertext"), &ciphertext))
		return ERR_MALFORMED_ENVELOPE;
	kid = scratch_string(c, kid, &ok[0]);
	iv = scratch_string(c, iv, &ok[1]);
	ciphertext = scratch_string(c, ciphertext, &ok[2]);
	if (!ok[0] || !ok[1] || !ok[2])
		return ERR_MALFORMED_ENVELOPE;
	return content_decode_v2(kid, iv, ciphertext, ret);
}

/* The algorithm only names the shape; the cipher follows from the key (interop.md 13, 14). */
static int decode_content(struct call *c, struct bytes json, struct content *ret)
{
	struct bytes algorithm, ciphertext;

	if (scan_type(json) == SCAN_STRING)
		return decode_v1(c, json, ret);
	if (!scan_find(json, BYTES_LIT("algorithm"), &algorithm) || scan_type(algorithm) != SCAN_STRING)
		return ERR_MALFORMED_ENVELOPE;
	if (scan_str_is(algorithm, BYTES_LIT("rc.v2.aes-sha2")))
		return decode_v2(c, json, ret);
	if (scan_str_is(algorithm, BYTES_LIT("rc.v1.aes-sha2"))) {
		if (!scan_find(json, BYTES_LIT("ciphertext"), &ciphertext))
			return ERR_MALFORMED_ENVELOPE;
		return decode_v1(c, ciphertext, ret);
	}
	c->detail = (struct rpc_detail){ .name = "algorithm", .str = algorithm, .is_json = true };
	return ERR_UNSUPPORTED_ALGORITHM;
}

/* ---- finding the key that opens ---- */

struct opened {
	const struct ring_key *key;
	const char *state; /* "current", "old", "fallback" */
	struct bytes json; /* the payload, in the worker's plain buffer */
};

/* Bytes that a loop tries to decrypt for one request: a room with thousands of keys must not hold up everybody else. */
#define INLINE_WORK  ((size_t)256 << 10)
#define WORK_PER_KEY 2048 /* what a try costs besides its bytes, in bytes */

enum pass { PASS_SAME_KID, PASS_OTHERS };

/* Return: 0; ERR_DECRYPT_FAILED when no key of this pass opens it. The ring's order is the order of trying. */
static int try_keys(struct call *c, const struct content *content, enum pass pass, size_t *work, bool *ret_any,
		    struct opened *ret)
{
	for (size_t i = 0; i < ring_len(c->ring); i++) {
		const struct ring_key *key = ring_at(c->ring, i);
		int r;

		if (bytes_eq(key->kid, content->kid) != (pass == PASS_SAME_KID))
			continue;
		*ret_any = true;
		*work += content->cipher.n + WORK_PER_KEY;
		if (*work > INLINE_WORK && i > 0 && !c->may_block)
			return ERR_NEEDS_WORKER;
		r = content_open(c->w->aes, key->key, content, &c->w->plain, &ret->json);
		if (r == ERR_DECRYPT_FAILED)
			continue;
		if (r < 0)
			return r;
		ret->key = key;
		ret->state = pass == PASS_OTHERS ? "fallback" : key == ring_current(c->ring) ? "current" : "old";
		return 0;
	}
	return ERR_DECRYPT_FAILED;
}

static int open_content(struct call *c, struct bytes json, struct opened *ret)
{
	struct content *content = &c->w->content;
	bool same_kid = false, others = false;
	size_t work = 0;
	int r = decode_content(c, json, content);

	if (r < 0)
		return r;
	r = try_keys(c, content, PASS_SAME_KID, &work, &same_kid, ret);
	if (r == ERR_DECRYPT_FAILED)
		r = try_keys(c, content, PASS_OTHERS, &work, &others,
			     ret); /* the current key stands first in the ring */
	if (r == ERR_DECRYPT_FAILED && !same_kid) {
		c->detail = (struct rpc_detail){ .name = "kid", .str = content->kid };
		return ERR_NO_ROOM_KEY;
	}
	return r;
}

/* ---- payloads ---- */

/* Old clients wrote the text as `text` (interop.md 21): it is surfaced as `msg` where there is none. */
static bool text_is_msg(struct bytes payload)
{
	struct bytes value;

	return scan_find(payload, BYTES_LIT("text"), &value) && !scan_find(payload, BYTES_LIT("msg"), &value);
}

static void put_member(struct buf *out, struct scan_member m)
{
	jw_raw(out, NULL, m.key);
	buf_put_byte(out, ':');
	jw_raw(out, NULL, m.value);
}

static struct bytes shown_key(struct scan_member m, bool text_as_msg)
{
	return text_as_msg && scan_str_is(m.key, BYTES_LIT("text")) ? BYTES_LIT("\"msg\"") : m.key;
}

static void put_payload(struct buf *out, struct bytes payload)
{
	struct scan_iter it = scan_iter(payload);
	struct scan_member m;

	if (!text_is_msg(payload)) {
		jw_raw(out, "payload", payload);
		return;
	}
	jw_object(out, "payload");
	while (scan_next_member(&it, &m)) {
		m.key = shown_key(m, true);
		put_member(out, m);
	}
	jw_object_end(out);
}

int m_decrypt(struct call *c)
{
	const struct p_decrypt *p = c->params;
	struct opened opened = { 0 };
	int r = open_content(c, p->content, &opened);

	if (r < 0)
		return r;
	jw_object(c->out, NULL);
	jw_bytes(c->out, "kid", opened.key->kid);
	jw_str(c->out, "algorithm", room_alg_name(roomkey_alg(opened.key->key)));
	jw_str(c->out, "keyState", opened.state);
	put_payload(c->out, opened.json);
	jw_object_end(c->out);
	return 0;
}

static int seal(struct call *c, struct bytes plain)
{
	const struct ring_key *key = ring_current(c->ring);

	if (!key)
		return ERR_NO_ROOM_KEY;
	jw_key(c->out, "content");
	return content_seal(c->w->aes, key->key, key->kid, plain, &c->w->plain, c->out);
}

int m_encrypt(struct call *c)
{
	const struct p_encrypt *p = c->params;
	int r;

	jw_object(c->out, NULL);
	r = seal(c, p->payload);
	if (r < 0)
		return r;
	jw_object_end(c->out);
	return 0;
}

/* ---- whole messages ---- */

static bool is_one_of(struct bytes key, const char *const *names)
{
	for (; *names; names++) {
		if (scan_str_is(key, bytes_str(*names)))
			return true;
	}
	return false;
}

/* What the server vouches for, or what the message's place in the room hangs on: a sender must not forge it. */
static const char *const protected_names[] = { "_id",	  "rid",  "ts",		"u",	    "t",	"e2e",
					       "content", "tmid", "_updatedAt", "editedAt", "editedBy", NULL };

/* The names that a payload sets, for lookups that stay quick however many members a hostile message has. */
struct names {
	struct buf text;     /* decoded names, one after the other */
	struct bytes *names; /* owned */
	struct map map;
};

static struct bytes name_of(const void *value)
{
	return *(const struct bytes *)value;
}

static void names_fini(struct names *n)
{
	map_fini(&n->map);
	buf_fini(&n->text);
	free(n->names);
}

/* A name with a lone surrogate cannot be decoded; it stays as it is written, and so does a message's. */
static struct bytes decoded_name(struct bytes key, struct buf *text)
{
	size_t from = text->n;
	struct bytes raw;

	if (scan_str_raw(key, &raw))
		return raw;
	if (scan_str_decode(key, text) < 0) {
		buf_cut(text, from);
		return key;
	}
	return bytes_sub(buf_bytes(text), from, SIZE_MAX);
}

static int names_init(struct names *n, struct bytes payload, bool text_as_msg)
{
	struct scan_iter it = scan_iter(payload);
	struct scan_member m;
	size_t count = 0, i = 0;

	*n = (struct names){ .text = BUF_INIT(payload.n + 16), .map = MAP_INIT(name_of) };
	while (scan_next_member(&it, &m))
		count++;
	n->names = calloc(count ? count : 1, sizeof(*n->names));
	if (!n->names || map_reserve(&n->map, count) < 0 || !buf_room(&n->text, payload.n)) /* so that it never moves */
		return ERR_NOMEM;
	it = scan_iter(payload);
	while (scan_next_member(&it, &m) && i < count) {
		n->names[i] = decoded_name(shown_key(m, text_as_msg), &n->text);
		if (!map_find(&n->map, n->names[i]))
			map_add(&n->map, &n->names[i]);
		i++;
	}
	return 0;
}

static bool names_has(const struct names *n, struct bytes key, struct buf *scratch)
{
	size_t from = scratch->n;
	bool found = map_find(&n->map, decoded_name(key, scratch)) != NULL;

	buf_cut(scratch, from);
	return found;
}

/* Members of the message that the payload does not set, then the payload's that it may set, then e2e: done. */
static int put_merged(struct call *c, struct bytes message, struct bytes payload)
{
	CLEANUP(names_fini) struct names names;
	bool text_as_msg = text_is_msg(payload);
	struct scan_iter it;
	struct scan_member m;
	int r = names_init(&names, payload, text_as_msg);

	if (r < 0)
		return r;
	jw_object(c->out, "message");
	it = scan_iter(message);
	while (scan_next_member(&it, &m)) {
		if (scan_str_is(m.key, BYTES_LIT("e2e")))
			continue;
		if (!is_one_of(m.key, protected_names)) {
			if (names_has(&names, m.key, &c->w->text))
				continue;
			if (scan_str_is(m.key,
					BYTES_LIT("msg"))) /* ciphertext, or what the server would like to be read */
				m.value = BYTES_LIT("\"\"");
		}
		put_member(c->out, m);
	}
	it = scan_iter(payload);
	while (scan_next_member(&it, &m)) {
		m.key = shown_key(m, text_as_msg);
		if (!is_one_of(m.key, protected_names))
			put_member(c->out, m);
	}
	jw_str(c->out, "e2e", "done");
	jw_object_end(c->out);
	return 0;
}

static bool member_is(struct bytes object, const char *name, const char *value)
{
	struct bytes v;

	return scan_find(object, bytes_str(name), &v) && scan_type(v) == SCAN_STRING &&
	       scan_str_is(v, bytes_str(value));
}

int m_decrypt_message(struct call *c)
{
	const struct p_message *p = c->params;
	struct bytes message = p->message.json, content;
	struct opened opened = { 0 };
	bool legacy;
	int r;

	jw_object(c->out, NULL);
	if (!member_is(message, "t", "e2e") || member_is(message, "e2e", "done")) {
		jw_raw(c->out, "message", message);
		jw_object_end(c->out);
		return 0;
	}
	/* some mobile versions filled both; content counts (interop.md 22) */
	legacy = !scan_find(message, BYTES_LIT("content"), &content) || scan_type(content) == SCAN_NULL;
	if (legacy && !scan_find(message, BYTES_LIT("msg"), &content))
		return ERR_MALFORMED_ENVELOPE;
	if (scan_type(content) != SCAN_STRING && (legacy || scan_type(content) != SCAN_OBJECT))
		return ERR_MALFORMED_ENVELOPE;
	r = open_content(c, content, &opened);
	if (r == 0)
		r = put_merged(c, message, opened.json);
	if (r < 0)
		return r;
	jw_object_end(c->out);
	return 0;
}

/* what moves into the ciphertext, and what may stay outside because the server needs it and it holds no text */
static const char *const sealed_names[] = { "msg", "attachments", "files", "file", NULL };
static const char *const open_names[] = { "_id",	  "rid",       "tmid",	      "tshow",
					  "customFields", "groupable", "e2eMentions", "alias",
					  "avatar",	  "emoji",     NULL };

int m_encrypt_message(struct call *c)
{
	const struct p_message *p = c->params;
	struct scan_iter it = scan_iter(p->message.json);
	struct buf *plain = &c->w->text;
	struct scan_member m;
	int r;

	buf_reset(plain);
	jw_object(plain, NULL);
	jw_object(c->out, NULL);
	jw_object(c->out, "message");
	while (scan_next_member(&it, &m)) {
		if (is_one_of(m.key, sealed_names))
			put_member(plain, m);
		else if (is_one_of(m.key, open_names))
			put_member(c->out, m);
	}
	jw_object_end(plain);
	r = buf_err(plain);
	if (r < 0)
		return r;
	jw_str(c->out, "t", "e2e");
	jw_str(c->out, "e2e", "pending");
	jw_str(c->out, "msg", "");
	r = seal(c, buf_bytes(plain));
	if (r < 0)
		return r;
	jw_object_end(c->out);
	jw_object_end(c->out);
	return 0;
}
