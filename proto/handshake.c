#include "proto/handshake.h"

#include <sodium.h>

#include "base/b64.h"
#include "crypto/kdf.h"
#include "keystore/store.h"

int handshake_proof(enum handshake_side side, const struct secret *token, struct bytes app_id, struct bytes challenge,
		    struct bytes nonce, uint8_t ret[HANDSHAKE_PROOF_SIZE])
{
	const struct bytes lf = BYTES_LIT("\n");
	const struct bytes parts[] = {
		side == HANDSHAKE_CLIENT ? BYTES_LIT("e2eed-v1 client") : BYTES_LIT("e2eed-v1 server"),
		lf,
		app_id,
		lf,
		challenge,
		lf,
		nonce,
	};

	return kdf_hmac_sha256(token, parts, sizeof(parts) / sizeof(parts[0]), ret);
}

void handshake_put_token(struct buf *b, const struct secret *token)
{
	uint8_t *to;

	buf_put_str(b, HANDSHAKE_TOKEN_PREFIX);
	to = buf_room(b, B64URL_LEN(secret_len(token)));
	if (!to)
		return;
	b64url_encode(secret_bytes(token), (char *)to);
	buf_added(b, B64URL_LEN(secret_len(token)));
}

int handshake_parse_token(struct bytes text, struct secret **ret)
{
	const struct bytes prefix = BYTES_LIT(HANDSHAKE_TOKEN_PREFIX);
	CLEANUP(secret_freep) struct secret *token = NULL;
	size_t n;
	int r;

	while (text.n && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r' || text.p[text.n - 1] == ' '))
		text.n--;
	if (text.n != prefix.n + B64URL_LEN(STORE_TOKEN_SIZE) || !bytes_eq(bytes_sub(text, 0, prefix.n), prefix))
		return ERR_INVALID_KEY;
	text = bytes_sub(text, prefix.n, SIZE_MAX);
	r = secret_new(B64_MAX_DECODED(text.n), &token);
	if (r < 0)
		return r;
	r = b64url_decode(text, secret_write(token), &n);
	if (r < 0 || n != STORE_TOKEN_SIZE)
		return ERR_INVALID_KEY;
	secret_cut(token, n);
	*ret = TAKE(token);
	return 0;
}
