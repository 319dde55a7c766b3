/*
 * handshake - mutual proof that both ends know an app's token (docs/protocol.md, section 2)
 *
 * proof = HMAC-SHA-256(token, label LF appId LF challenge LF nonce); the label tells the two directions apart, so that neither
 * side's proof can be reflected. The daemon and e2eectl share this file.
 */
#ifndef E2EED_PROTO_HANDSHAKE_H
#define E2EED_PROTO_HANDSHAKE_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"

#define HANDSHAKE_NONCE_SIZE   32
#define HANDSHAKE_PROOF_SIZE   32
#define HANDSHAKE_TOKEN_PREFIX "e2eed1_"

enum handshake_side { HANDSHAKE_CLIENT, HANDSHAKE_SERVER };

/**
 * handshake_proof - @challenge and @nonce as the base64 text that crossed the wire
 *
 * Return: 0, ERR_CRYPTO.
 */
int handshake_proof(enum handshake_side side, const struct secret *token, struct bytes app_id, struct bytes challenge,
		    struct bytes nonce, uint8_t ret[HANDSHAKE_PROOF_SIZE]) WARN_UNUSED;

/** handshake_put_token - append the token's text form: the prefix and base64url of its 32 bytes */
void handshake_put_token(struct buf *b, const struct secret *token);

/** handshake_parse_token - the reverse; white space at the end is allowed. Return: 0, ERR_INVALID_KEY, ERR_NOMEM. */
int handshake_parse_token(struct bytes text, struct secret **ret) WARN_UNUSED;

#endif
