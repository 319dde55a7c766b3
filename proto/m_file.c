/*
 * m_file - files in and out, chunk by chunk (docs/protocol.md, section 3, Files)
 *
 * The key of a file is the sender's, or made here for a new one: it stands in the message, which the room key protects. The room's grant
 * is asked for with each request, so that an app that loses it does not go on.
 */
#include "base/b64.h"
#include "base/jw.h"
#include "crypto/aes_ctr.h"
#include "crypto/jwk.h"
#include "crypto/rand.h"
#include "proto/methods.h"

#define MAX_NAME  1024
#define MAX_CHUNK ((size_t)512 << 10)

static bool is_given(struct bytes param)
{
	return param.p != NULL;
}

static unsigned perm_of(enum file_mode mode)
{
	return mode == FILE_ENCRYPT ? PERM_WRITE : PERM_READ;
}

/* ---- fileOpen ---- */

static int check_encrypt(struct call *c)
{
	const struct p_file_open *p = c->params;

	if (p->name.n < 1 || p->name.n > MAX_NAME)
		return call_bad_param(c, "name");
	if (is_given(p->key))
		return call_bad_param(c, "key");
	if (is_given(p->iv))
		return call_bad_param(c, "iv");
	return is_given(p->sha256) ? call_bad_param(c, "sha256") : 0;
}

static int check_decrypt(struct call *c)
{
	const struct p_file_open *p = c->params;
	uint8_t hash[SHA256_SIZE];

	if (is_given(p->name))
		return call_bad_param(c, "name");
	if (!is_given(p->key))
		return call_bad_param(c, "key");
	if (!is_given(p->iv))
		return call_bad_param(c, "iv");
	return is_given(p->sha256) && hex_decode(p->sha256, hash, sizeof(hash)) < 0 ? call_bad_param(c, "sha256") : 0;
}

static bool encrypts(const struct p_file_open *p)
{
	return bytes_eq(p->mode, BYTES_LIT("encrypt"));
}

int m_file_open_check(struct call *c)
{
	const struct p_file_open *p = c->params;

	if (encrypts(p))
		return check_encrypt(c);
	return bytes_eq(p->mode, BYTES_LIT("decrypt")) ? check_decrypt(c) : call_bad_param(c, "mode");
}

/* With the answer complete, so that no file is left open that nobody knows of. */
static int keep(struct call *c, struct file **file)
{
	int r = buf_err(c->out);

	if (r == 0)
		r = files_add(&c->peer->files, &c->svc->files, *file);
	if (r == 0)
		*file = NULL; /* it is the peer's now */
	return r;
}

/* The key is fresh, so the IV need not be: with its counter in the lower half, 64 and 128 bits of counter never differ (interop.md 28). */
static void make_iv(uint8_t ret[AES_CTR_IV])
{
	rand_bytes(ret, AES_CTR_IV);
	ret[AES_CTR_IV / 2] &= 0x7f;
}

static int open_encrypting(struct call *c)
{
	const struct p_file_open *p = c->params;
	CLEANUP(secret_freep) struct secret *key = NULL, *jwk = NULL;
	CLEANUP(file_freep) struct file *file = NULL;
	uint8_t iv[AES_CTR_IV], hash[SHA256_SIZE];
	char name[2 * SHA256_SIZE + 1];
	int r;

	make_iv(iv);
	r = rand_secret(AES_CTR_KEY, &key);
	if (r == 0)
		r = jwk_write_file(key, &jwk);
	if (r == 0)
		r = file_new(FILE_ENCRYPT, p->room_id, key, BYTES(iv, sizeof(iv)), NULL, &file);
	if (r == 0)
		r = kdf_sha256(&p->name, 1, hash);
	if (r < 0)
		return r;
	hex_encode(BYTES(hash, sizeof(hash)), name);
	jw_object(c->out, NULL);
	jw_str(c->out, "fileId", file_id(file));
	jw_raw(c->out, "key", secret_bytes(jwk)); /* what the app puts into the message */
	jw_b64(c->out, "iv", BYTES(iv, sizeof(iv)));
	jw_str(c->out, "hashedName", name);
	jw_object_end(c->out);
	return keep(c, &file);
}

static int decode_iv(struct bytes text, uint8_t ret[AES_CTR_IV])
{
	uint8_t iv[B64_MAX_DECODED(B64_LEN(AES_CTR_IV))];
	size_t n;

	if (text.n > B64_LEN(AES_CTR_IV) || b64_decode(text, iv, &n) < 0 || n != AES_CTR_IV)
		return ERR_MALFORMED_ENVELOPE;
	memcpy(ret, iv, AES_CTR_IV);
	return 0;
}

static int open_decrypting(struct call *c)
{
	const struct p_file_open *p = c->params;
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(file_freep) struct file *file = NULL;
	uint8_t iv[AES_CTR_IV], want[SHA256_SIZE];
	int r;

	r = jwk_parse_file(p->key, &key);
	if (r == 0)
		r = decode_iv(p->iv, iv);
	if (r == 0 && is_given(p->sha256))
		r = hex_decode(p->sha256, want, sizeof(want));
	if (r == 0)
		r = file_new(FILE_DECRYPT, p->room_id, key, BYTES(iv, sizeof(iv)), is_given(p->sha256) ? want : NULL,
			     &file);
	if (r < 0)
		return r;
	jw_object(c->out, NULL);
	jw_str(c->out, "fileId", file_id(file));
	jw_object_end(c->out);
	return keep(c, &file);
}

int m_file_open(struct call *c)
{
	const struct p_file_open *p = c->params;
	int r = call_ask_grant(c, p->room_id, perm_of(encrypts(p) ? FILE_ENCRYPT : FILE_DECRYPT), &c->ring);

	if (r < 0)
		return r;
	return encrypts(p) ? open_encrypting(c) : open_decrypting(c);
}

/* ---- fileUpdate, fileClose: with the peer's files locked ---- */

static int too_large(struct call *c)
{
	c->detail = (struct rpc_detail){ .name = "limit", .number = (int64_t)MAX_CHUNK, .is_number = true };
	return ERR_TOO_LARGE;
}

/* All that can fail for want of memory comes before the cipher moves on: a chunk that was refused can be sent again. */
static int update(struct call *c, struct file *file, struct bytes text)
{
	struct buf *chunk = &c->w->plain;
	size_t room = B64_MAX_DECODED(text.n), n;
	uint8_t *p;
	int r;

	if (text.n > B64_LEN(MAX_CHUNK))
		return too_large(c);
	p = buf_room(chunk, room);
	if (!p)
		return buf_err(chunk);
	if (!buf_room(c->out, B64_LEN(room) + 64))
		return buf_err(c->out);
	r = b64_decode(text, p, &n);
	if (r < 0)
		return r;
	buf_added(chunk, n);
	if (n > MAX_CHUNK)
		return too_large(c);
	r = file_update(file, p, n);
	if (r < 0)
		return r;
	jw_object(c->out, NULL);
	jw_b64(c->out, "data", buf_bytes(chunk));
	jw_object_end(c->out);
	return 0;
}

int m_file_update(struct call *c)
{
	const struct p_file_update *p = c->params;
	struct files *files = &c->peer->files;
	struct file *file;
	int r = ERR_NOT_FOUND;

	files_lock(files);
	file = files_find(files, p->file_id);
	if (file)
		r = call_ask_grant(c, file_room(file), perm_of(file_mode(file)), &c->ring);
	if (r == 0)
		r = update(c, file, p->data);
	if (r == ERR_CRYPTO)
		file_free(files_take(files, file));
	files_unlock(files);
	return r;
}

int m_file_close(struct call *c)
{
	const struct p_file_close *p = c->params;
	CLEANUP(file_freep) struct file *file = NULL;
	struct files *files = &c->peer->files;
	char hex[2 * SHA256_SIZE + 1];
	uint8_t hash[SHA256_SIZE];
	uint64_t size = 0;
	int r;

	files_lock(files);
	file = files_find(files, p->file_id);
	if (file)
		file = files_take(files, file); /* closed, whatever the answer is */
	files_unlock(files);
	if (!file)
		return ERR_NOT_FOUND;
	r = call_ask_grant(c, file_room(file), perm_of(file_mode(file)), &c->ring);
	if (r == 0)
		r = file_final(file, hash, &size);
	if (r < 0)
		return r;
	hex_encode(BYTES(hash, sizeof(hash)), hex);
	jw_object(c->out, NULL);
	jw_str(c->out, "sha256", hex);
	jw_int(c->out, "size", (int64_t)size);
	jw_object_end(c->out);
	return 0;
}
