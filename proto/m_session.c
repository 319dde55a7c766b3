/*
 * m_session - hello, authenticate, ping (docs/protocol.md, section 2)
 */
#include <sodium.h>

#include "base/b64.h"
#include "base/clock.h"
#include "base/jw.h"
#include "base/scan.h"
#include "proto/handshake.h"
#include "proto/methods.h"

#define SERVER_NAME "e2eed/" E2EED_VERSION

static int speaks_our_version(struct bytes versions, bool *ret)
{
	struct scan_iter it = scan_iter(versions);
	struct bytes v;

	*ret = false;
	while (scan_next_element(&it, &v)) {
		if (scan_type(v) != SCAN_NUMBER)
			return ERR_INVALID_PARAMS;
		if (bytes_eq(v, BYTES_LIT("1")))
			*ret = true;
	}
	return 0;
}

int m_hello(struct call *c)
{
	const struct p_hello *p = c->params;
	uint8_t random[HANDSHAKE_NONCE_SIZE];
	char challenge[PEER_CHALLENGE_LEN + 1] = { 0 };
	bool fits;

	if (speaks_our_version(p->protocol, &fits) < 0)
		return call_bad_param(c, "protocol");
	if (!fits) {
		c->detail = (struct rpc_detail){ .name = "supported", .str = BYTES_LIT("[1]"), .is_json = true };
		return ERR_UNSUPPORTED_PROTOCOL;
	}
	randombytes_buf(random, sizeof(random));
	b64_encode(BYTES(random, sizeof(random)), challenge);
	peer_set_challenge(c->peer, challenge);

	jw_object(c->out, NULL);
	jw_int(c->out, "protocol", SERVICE_PROTOCOL);
	jw_str(c->out, "server", SERVER_NAME);
	jw_str(c->out, "challenge", challenge);
	jw_array(c->out, "capabilities");
	jw_str(c->out, NULL, "messages.v1");
	jw_str(c->out, NULL, "messages.v2");
	jw_str(c->out, NULL, "files");
	jw_str(c->out, NULL, "events");
	jw_str(c->out, NULL, "distribution");
	jw_array_end(c->out);
	jw_object(c->out, "limits");
	jw_int(c->out, "maxFrameBytes", (int64_t)atomic_load(&c->svc->max_frame_bytes));
	jw_int(c->out, "maxBatch", RPC_MAX_BATCH);
	jw_int(c->out, "maxInFlight", atomic_load(&c->svc->max_in_flight));
	jw_object_end(c->out);
	jw_object_end(c->out);
	return 0;
}

int m_authenticate_check(struct call *c)
{
	const struct p_authenticate *p = c->params;
	uint8_t bytes[B64_MAX_DECODED(B64_LEN(HANDSHAKE_NONCE_SIZE))];
	size_t n;

	if (p->nonce.n > B64_LEN(HANDSHAKE_NONCE_SIZE) || b64_decode(p->nonce, bytes, &n) < 0 ||
	    n != HANDSHAKE_NONCE_SIZE)
		return call_bad_param(c, "nonce");
	if (hex_decode(p->proof, bytes, HANDSHAKE_PROOF_SIZE) < 0)
		return call_bad_param(c, "proof");
	return 0;
}

/* The same work for an app that does not exist: a token of ours is tried that nobody knows. */
static int prove(struct call *c, struct app *app, const char *challenge, uint8_t ret_server[HANDSHAKE_PROOF_SIZE],
		 uint64_t *ret_epoch)
{
	const struct p_authenticate *p = c->params;
	CLEANUP(app_view_unrefp) const struct app_view *view = app ? app_get_view(app) : NULL;
	const struct secret *token = view && view->token ? view->token : c->svc->no_token; /* a revoked app has none */
	uint8_t want[HANDSHAKE_PROOF_SIZE], got[HANDSHAKE_PROOF_SIZE];
	struct bytes ch = bytes_str(challenge);
	int r;

	r = hex_decode(p->proof, got, sizeof(got));
	if (r < 0)
		return r;
	r = handshake_proof(HANDSHAKE_CLIENT, token, p->app_id, ch, p->nonce, want);
	if (r == 0)
		r = handshake_proof(HANDSHAKE_SERVER, token, p->app_id, ch, p->nonce, ret_server);
	if (r == 0 && (sodium_memcmp(got, want, sizeof(want)) != 0 || token == c->svc->no_token))
		r = ERR_AUTHENTICATION_FAILED;
	sodium_memzero(want, sizeof(want)); /* a proof for this challenge must not be lying about */
	if (r == 0)
		*ret_epoch = view->token_epoch;
	return r;
}

static void put_failure(struct call *c, struct bytes target)
{
	service_note(c->svc,
		     &(struct audit_entry){ .by = c->peer->is_process ? AUDIT_BY_PROCESS : AUDIT_BY_DAEMON,
					    .uid = c->peer->uid,
					    .pid = c->peer->pid,
					    .action = "authenticate",
					    .target = target,
					    .result = ERR_AUTHENTICATION_FAILED },
		     false);
}

/*
 * Into the audit trail, without a sync, since this is the loop's thread. The throttle bounds how many there are of a uid. Over TCP
 * anybody may take any source address of 127.0.0.0/8, and must not fill the disk by it, for without the trail admins can change
 * nothing: so all of TCP has as many entries as one peer, and the next one says how many were left out.
 */
static void note_failure(struct call *c, struct bytes app_id, int64_t now)
{
	static const char all_tcp[] = "trail:tcp";
	CLEANUP(buf_fini) struct buf more = BUF_INIT(64);
	unsigned long left_out;

	if (!c->peer->is_process) {
		if (throttle_wait_ms(&c->svc->throttle, all_tcp, now) > 0) {
			(void)atomic_fetch_add(&c->svc->unnoted, 1);
			return;
		}
		throttle_note_failure(&c->svc->throttle, all_tcp, now);
	}
	left_out = atomic_exchange(&c->svc->unnoted, 0);
	if (left_out) {
		buf_printf(&more, "(%lu more)", left_out);
		put_failure(c, buf_bytes(&more));
	}
	put_failure(c, app_id);
}

int m_authenticate(struct call *c)
{
	const struct p_authenticate *p = c->params;
	CLEANUP(app_unrefp) struct app *app = NULL;
	uint8_t server_proof[HANDSHAKE_PROOF_SIZE];
	char challenge[PEER_CHALLENGE_LEN + 1] = { 0 };
	char hex[(size_t)2 * HANDSHAKE_PROOF_SIZE + 1];
	uint64_t epoch = 0;
	int64_t wait;
	bool open;
	int r;

	if (peer_role(c->peer) != ROLE_NEW)
		return ERR_FORBIDDEN;
	wait = throttle_wait_ms(&c->svc->throttle, c->peer->origin, clock_mono_ms());
	if (wait > 0) {
		c->detail = (struct rpc_detail){ .name = "retryAfterMs", .number = wait, .is_number = true };
		return ERR_RATE_LIMITED;
	}
	open = peer_take_challenge(c->peer, challenge);
	app = store_find_app(c->svc->store, p->app_id);
	service_works_for(c->w, app);
	r = prove(c, app, challenge, server_proof, &epoch);
	if (r == 0 && !open)
		r = ERR_AUTHENTICATION_FAILED;
	if (r == ERR_AUTHENTICATION_FAILED) {
		throttle_note_failure(&c->svc->throttle, c->peer->origin, clock_mono_ms());
		note_failure(c, p->app_id, clock_mono_ms());
	}
	if (r < 0)
		return r;

	app_touch(app, clock_now_ms());
	hex_encode(BYTES(server_proof, sizeof(server_proof)), hex);
	jw_object(c->out, NULL);
	jw_bytes(c->out, "appId", p->app_id);
	jw_str(c->out, "serverProof", hex);
	jw_object_end(c->out);
	r = buf_err(c->out);
	if (r < 0)
		return r;
	peer_become_app(c->peer, TAKE(app), epoch);
	return 0;
}

int m_ping(struct call *c)
{
	jw_object(c->out, NULL);
	jw_time(c->out, "time", clock_now_ms());
	jw_object_end(c->out);
	return 0;
}
