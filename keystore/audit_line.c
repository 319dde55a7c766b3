#include "keystore/audit_line.h"

#include <inttypes.h>
#include <sodium.h>

#include "base/jw.h"
#include "crypto/kdf.h"

/* How a line ends, from the first byte its MAC does not cover: ,"mac":"<64 hex>"} */
static const char mac_name[] = ",\"mac\":\"";
#define NAME_SIZE (sizeof(mac_name) - 1)
#define HEX_SIZE  (2u * AUDIT_MAC_SIZE)
#define TAIL_SIZE (NAME_SIZE + HEX_SIZE + 2)

#define ELLIPSIS "\xe2\x80\xa6" /* U+2026, in place of what was cut off */

_Static_assert(AUDIT_MAC_SIZE == SHA256_SIZE, "the MAC is HMAC-SHA-256");
/* each byte of the texts escaped as \u00xx, and generous room for names, numbers, the time and the MAC */
_Static_assert(AUDIT_MAX_LINE >= 2 * 6 * AUDIT_MAX_TEXT + 1024, "every line fits");

static int line_mac(const struct secret *key, const struct audit_place *at, struct bytes line,
		    uint8_t ret[AUDIT_MAC_SIZE])
{
	const struct bytes parts[] = { BYTES(at->mac, AUDIT_MAC_SIZE), line };

	return kdf_hmac_sha256(key, parts, 2, ret);
}

/* ---- writing ---- */

static void put_u64(struct buf *b, const char *name, uint64_t v)
{
	jw_key(b, name);
	buf_printf(b, "%" PRIu64, v);
}

/* What comes from outside is cut, so that nobody can write the disk full with one call. */
static void put_text(struct buf *b, const char *name, struct bytes text)
{
	uint8_t cut[AUDIT_MAX_TEXT];
	size_t n = AUDIT_MAX_TEXT - (sizeof(ELLIPSIS) - 1);

	if (text.n <= AUDIT_MAX_TEXT) {
		jw_bytes(b, name, text);
		return;
	}
	while (n > 0 && (text.p[n] & 0xc0) == 0x80) /* within a character */
		n--;
	memcpy(cut, text.p, n);
	memcpy(cut + n, ELLIPSIS, sizeof(ELLIPSIS) - 1);
	jw_bytes(b, name, BYTES(cut, n + sizeof(ELLIPSIS) - 1));
}

static void put_actor(struct buf *b, const struct audit_entry *entry)
{
	jw_object(b, "actor");
	if (entry->by == AUDIT_BY_PROCESS) {
		jw_int(b, "uid", entry->uid);
		jw_int(b, "pid", entry->pid);
	} else if (entry->by == AUDIT_BY_APP) {
		put_text(b, "appId", entry->app_id);
	}
	jw_object_end(b);
}

int audit_line_make(const struct secret *key, const struct audit_place *at, const struct audit_entry *entry,
		    int64_t now_ms, struct buf *ret, struct audit_place *ret_place)
{
	struct audit_place place = { .n = at->n + 1, .generation = entry->generation, .seq = entry->seq };
	char hex[HEX_SIZE + 1];
	size_t from = ret->n;
	int r;

	jw_object(ret, NULL);
	put_u64(ret, "n", place.n);
	jw_time(ret, "time", now_ms);
	put_actor(ret, entry);
	jw_str(ret, "action", entry->action);
	if (entry->target.p)
		put_text(ret, "target", entry->target);
	jw_str(ret, "result", entry->result == 0 ? "ok" : err_reason(entry->result));
	put_u64(ret, "generation", place.generation);
	put_u64(ret, "seq", place.seq);
	r = buf_err(ret);
	if (r == 0)
		r = line_mac(key, at, bytes_sub(buf_bytes(ret), from, SIZE_MAX), place.mac);
	if (r < 0)
		return r;
	jw_str(ret, "mac", sodium_bin2hex(hex, sizeof(hex), place.mac, AUDIT_MAC_SIZE));
	jw_object_end(ret);
	buf_put_byte(ret, '\n');
	if (buf_err(ret))
		return buf_err(ret);
	*ret_place = place;
	return 0;
}

/* ---- checking ---- */

/* A number as put_u64() writes it, no other: one way to write it, one line that has the MAC. */
static bool take_u64(struct bytes *text, uint64_t *ret)
{
	uint64_t v = 0;
	size_t n = 0;

	for (; n < text->n && text->p[n] >= '0' && text->p[n] <= '9'; n++)
		if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(text->p[n] - '0'), &v))
			return false;
	if (n == 0 || (n > 1 && text->p[0] == '0'))
		return false;
	*text = bytes_sub(*text, n, SIZE_MAX);
	*ret = v;
	return true;
}

static bool take_str(struct bytes *text, const char *s)
{
	const size_t n = strlen(s);

	if (text->n < n || memcmp(text->p, s, n) != 0)
		return false;
	*text = bytes_sub(*text, n, SIZE_MAX);
	return true;
}

/* The number at the start of the line, which its MAC may yet disown. */
static bool line_number(struct bytes line, uint64_t *ret)
{
	return take_str(&line, "{\"n\":") && take_u64(&line, ret);
}

/* The two numbers at the end of the part that the MAC covers. The quotes of a text are escaped, so none can pose as them. */
static bool line_keystore(struct bytes covered, uint64_t *ret_generation, uint64_t *ret_seq)
{
	static const char name[] = ",\"generation\":";
	const size_t most = sizeof(name) - 1 + sizeof(",\"seq\":") - 1 + 2 * sizeof("18446744073709551615");
	struct bytes end = covered.n > most ? bytes_sub(covered, covered.n - most, SIZE_MAX) : covered;
	const uint8_t *p = end.n ? memmem(end.p, end.n, name, sizeof(name) - 1) : NULL;

	if (!p)
		return false;
	end = bytes_sub(end, (size_t)(p - end.p), SIZE_MAX);
	return take_str(&end, name) && take_u64(&end, ret_generation) && take_str(&end, ",\"seq\":") &&
	       take_u64(&end, ret_seq) && end.n == 0;
}

/* The MAC a line states; digits in upper case are none, since we write none. */
static bool line_states_mac(struct bytes line, uint8_t ret[AUDIT_MAC_SIZE])
{
	struct bytes tail;
	size_t n;

	if (line.n < TAIL_SIZE)
		return false;
	tail = bytes_sub(line, line.n - TAIL_SIZE, SIZE_MAX);
	if (memcmp(tail.p, mac_name, NAME_SIZE) != 0 || memcmp(tail.p + NAME_SIZE + HEX_SIZE, "\"}", 2) != 0)
		return false;
	for (size_t i = 0; i < HEX_SIZE; i++)
		if (tail.p[NAME_SIZE + i] >= 'A' && tail.p[NAME_SIZE + i] <= 'F')
			return false;
	return sodium_hex2bin(ret, AUDIT_MAC_SIZE, (const char *)tail.p + NAME_SIZE, HEX_SIZE, NULL, &n, NULL) == 0 &&
	       n == AUDIT_MAC_SIZE;
}

int audit_line_check(const struct secret *key, const struct audit_place *at, struct bytes line, const char **what,
		     struct audit_place *ret_place)
{
	struct audit_place place = { 0 };
	uint8_t stated[AUDIT_MAC_SIZE];
	struct bytes covered;
	int r;

	if (!line_states_mac(line, stated)) {
		*what = "does not end in a MAC";
		return ERR_DAMAGED;
	}
	covered = bytes_sub(line, 0, line.n - TAIL_SIZE);
	r = line_mac(key, at, covered, place.mac);
	if (r < 0)
		return r;
	if (sodium_memcmp(place.mac, stated, AUDIT_MAC_SIZE) != 0) {
		*what = line_number(line, &place.n) && place.n != at->n + 1
				? "has the number of another: lines were removed, doubled or moved"
				: "does not authenticate: it or the line before it was changed, or the key is another one";
		return ERR_DAMAGED;
	}
	if (!line_number(line, &place.n) || place.n != at->n + 1 ||
	    !line_keystore(covered, &place.generation, &place.seq)) {
		*what = "authenticates, but is not as this version writes it: use the version that wrote it";
		return ERR_DAMAGED;
	}
	*ret_place = place;
	return 0;
}
