#include "proto/service.h"

#include <assert.h>
#include <sodium.h>

#include "base/clock.h"
#include "base/jw.h"
#include "base/scan.h"
#include "crypto/rand.h"
#include "proto/methods.h"
#include "proto/rpc.h"

#define RETRY_AFTER_MS 1000
#define SCRATCH_MAX    ((size_t)128 << 20) /* well above the largest frame the configuration allows */

static const struct rpc_detail retry_later = { .name = "retryAfterMs", .number = RETRY_AFTER_MS, .is_number = true };

int service_init(struct service *svc, struct store *store, const struct service_hooks *hooks)
{
	*svc = (struct service){ .store = store, .hooks = *hooks, .started_ms = clock_now_ms() };
	throttle_init(&svc->throttle);
	return rand_secret(STORE_TOKEN_SIZE, &svc->no_token);
}

void service_fini(struct service *svc)
{
	throttle_fini(&svc->throttle);
	secret_freep(&svc->no_token);
}

int service_worker_init(struct service_worker *w)
{
	*w = (struct service_worker){
		.strings = BUF_INIT(SCRATCH_MAX),
		.plain = BUF_INIT(SCRATCH_MAX),
		.text = BUF_INIT(SCRATCH_MAX),
	};
	return aes_new(&w->aes);
}

void service_worker_fini(struct service_worker *w)
{
	aes_freep(&w->aes);
	content_fini(&w->content);
	buf_fini(&w->strings);
	buf_fini(&w->plain);
	buf_fini(&w->text);
}

/* Nothing of one request is left for the next: plaintext, strings, composed text. One large message does not pin memory. */
static void worker_forget(struct service_worker *w)
{
	struct buf *bufs[] = { &w->strings, &w->plain, &w->text };

	for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++) {
		if (bufs[i]->cap > SERVICE_INLINE_MAX)
			buf_fini(bufs[i]);
		else
			buf_reset(bufs[i]);
	}
	if (w->content.cipher.cap > SERVICE_INLINE_MAX)
		content_fini(&w->content);
	aes_forget(w->aes);
}

static const struct method *find_method(const struct peer *peer, const struct rpc_request *q, int *ret_err)
{
	enum role role = peer_role(peer);
	const struct method *m = methods_find(q->method, role);

	if (m)
		*ret_err = peer_is_stale(peer) ? ERR_UNAUTHENTICATED : 0;
	else
		*ret_err = role == ROLE_NEW ? ERR_UNAUTHENTICATED : ERR_METHOD_NOT_FOUND;
	return *ret_err == 0 ? m : NULL;
}

static int ask_grant(struct call *c, const struct method *m, void *params)
{
	const struct bytes *room = (const void *)((const char *)params + m->room_offset);
	int r = app_get_ring(c->peer->app, *room, m->perms, &c->ring);

	if (r == ERR_ROOM_NOT_AUTHORIZED)
		c->detail = (struct rpc_detail){ .name = "permission", .str = bytes_str(call_perm_name(m->perms)) };
	return r;
}

static int run_method(struct call *c, const struct method *m, struct bytes json)
{
	_Alignas(16) char params[CALL_MAX_PARAMS_SIZE] = { 0 };
	int r;

	assert(m->params_size <= sizeof(params));
	r = params_parse(m->params, m->n_params, json, &c->w->strings, params, &c->detail);
	c->params = params;
	if (r == 0 && m->check)
		r = m->check(c);
	if (r == 0 && m->perms)
		r = ask_grant(c, m, params);
	if (r == 0)
		r = m->handle(c);
	c->params = NULL;
	params_release(m->params, m->n_params, params);
	return r;
}

/*
 * One request to its reply. Whatever a failing handler had written is taken back before the error is written.
 * Return: 0; ERR_NEEDS_WORKER, nothing written, when it turns out too long for a loop.
 */
static int run(struct service *svc, struct service_worker *w, struct peer *peer, const struct rpc_request *q, int err,
	       bool may_block, struct buf *out)
{
	struct call c = { .svc = svc, .w = w, .peer = peer, .may_block = may_block, .out = out };
	const struct method *m = NULL;
	size_t start = out->n;
	int r = err;

	if (r == 0)
		m = find_method(peer, q, &r);
	if (r == 0 && q->params.n && scan_type(q->params) == SCAN_ARRAY) {
		c.detail = (struct rpc_detail){ .name = "param", .str = BYTES_LIT("params") };
		r = ERR_INVALID_PARAMS;
	}
	if (r == 0) {
		rpc_result(out, q->id);
		r = run_method(&c, m, q->params);
		if (r == 0)
			rpc_result_end(out);
		if (r == 0)
			r = buf_err(out);
	}
	if (r < 0 || q->notification)
		buf_cut(out, start);
	if (r == ERR_OVERLOADED || r == ERR_NOMEM)
		c.detail = retry_later;
	if (r < 0 && r != ERR_NEEDS_WORKER && !q->notification)
		rpc_error(out, q->id, r, &c.detail);
	if (m && r < 0 && r != ERR_NEEDS_WORKER &&
	    (err_code(r) == err_code(ERR_INTERNAL) || r == ERR_STORAGE || r == ERR_NOMEM))
		svc->hooks.failed(svc->hooks.arg, m->name, r);
	ring_unref(c.ring);
	json_decref(c.json);
	worker_forget(w);
	return r == ERR_NEEDS_WORKER ? r : 0;
}

static bool is_slow(const struct peer *peer, const struct rpc_request *q)
{
	int err;
	const struct method *m = find_method(peer, q, &err);

	return m && m->lane == LANE_POOL;
}

void service_refuse(struct buf *out, int err, size_t limit)
{
	struct rpc_detail detail = { .name = limit ? "limit" : NULL, .number = (int64_t)limit, .is_number = true };

	if (err == ERR_OVERLOADED || err == ERR_NOMEM)
		detail = retry_later;
	rpc_error(out, BYTES_LIT("null"), err, &detail);
	buf_put_byte(out, '\n');
}

static unsigned count_elements(struct bytes array, unsigned at_most)
{
	struct scan_iter it = scan_iter(array);
	struct bytes element;
	unsigned n = 0;

	while (n <= at_most && scan_next_element(&it, &element))
		n++;
	return n;
}

/* A batch may be begun again on a worker (ERR_NEEDS_WORKER), so one that authenticates goes there at once. */
static bool batch_is_slow(const struct peer *peer, struct bytes array)
{
	struct scan_iter it = scan_iter(array);
	struct rpc_request q;
	struct bytes element;

	while (scan_next_element(&it, &element)) {
		if (rpc_parse(element, &q) == 0 &&
		    (is_slow(peer, &q) || scan_str_is(q.method, BYTES_LIT("authenticate"))))
			return true;
	}
	return false;
}

static int run_batch(struct service *svc, struct service_worker *w, struct peer *peer, struct bytes array, int refusal,
		     bool may_block, struct buf *out)
{
	struct scan_iter it = scan_iter(array);
	size_t start = out->n, first;
	struct rpc_request q;
	struct bytes element;

	buf_put_byte(out, '[');
	first = out->n;
	while (scan_next_element(&it, &element)) {
		int err = rpc_parse(element, &q);

		if (run(svc, w, peer, &q, err < 0 ? err : refusal, may_block, out) < 0) { /* jw puts the comma */
			buf_cut(out, start);
			return ERR_NEEDS_WORKER;
		}
	}
	if (out->n == first)
		buf_cut(out, start); /* nothing but notifications */
	else
		buf_put_byte(out, ']');
	return 0;
}

static enum served serve_checked(struct service *svc, struct service_worker *w, struct peer *peer, struct bytes frame,
				 bool fast, int refusal, struct buf *out, unsigned *ret_requests)
{
	struct rpc_request q;
	int r;

	if (scan_type(frame) == SCAN_ARRAY) {
		unsigned n = count_elements(frame, RPC_MAX_BATCH);

		if (n == 0 || n > RPC_MAX_BATCH) {
			rpc_error(out, BYTES_LIT("null"), ERR_INVALID_REQUEST, NULL);
			return SERVED;
		}
		*ret_requests = n;
		if (fast && batch_is_slow(peer, frame))
			return SERVED_BY_POOL;
		return run_batch(svc, w, peer, frame, refusal, !fast, out) < 0 ? SERVED_BY_POOL : SERVED;
	}
	r = rpc_parse(frame, &q);
	if (fast && r == 0 && is_slow(peer, &q))
		return SERVED_BY_POOL;
	return run(svc, w, peer, &q, r < 0 ? r : refusal, !fast, out) < 0 ? SERVED_BY_POOL : SERVED;
}

enum served service_handle(struct service *svc, struct service_worker *w, struct peer *peer, struct bytes frame,
			   enum serve_mode mode, struct buf *out, unsigned *ret_requests)
{
	bool fast = mode == SERVE_FAST;
	size_t start = out->n;
	int refusal = mode == SERVE_OVERLOADED ? ERR_OVERLOADED : 0;
	int r;

	*ret_requests = 1;
	if (fast && atomic_load_explicit(&svc->draining, memory_order_relaxed)) {
		refusal = ERR_SHUTTING_DOWN;
		fast = false; /* refusing is quick, so nothing goes to the pool any more */
	}
	if (fast && frame.n > SERVICE_INLINE_MAX)
		return SERVED_BY_POOL;
	r = scan_check(frame, SCAN_FRAME, RPC_MAX_DEPTH);
	if (r < 0)
		rpc_error(out, BYTES_LIT("null"), r, r == ERR_NOMEM ? &retry_later : NULL);
	else if (serve_checked(svc, w, peer, scan_trim(frame), fast, refusal, out, ret_requests) == SERVED_BY_POOL)
		return SERVED_BY_POOL;
	if (out->n > start)
		buf_put_byte(out, '\n');
	return SERVED;
}
