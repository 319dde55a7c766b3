#include "proto/service.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/jw.h"
#include "base/scan.h"
#include "crypto/rand.h"
#include "proto/methods.h"
#include "proto/rpc.h"

#define RETRY_AFTER_MS 1000
#define SCRATCH_MAX    ((size_t)128 << 20) /* well above the largest frame the configuration allows */

static const struct rpc_detail retry_later = { .name = "retryAfterMs", .number = RETRY_AFTER_MS, .is_number = true };

int service_init(struct service *svc, struct store *store, const char *audit_path, const struct service_hooks *hooks)
{
	*svc = (struct service){
		.store = store, .audit_path = audit_path, .hooks = *hooks, .started_ms = clock_now_ms()
	};
	atomic_init(&svc->locked, true);
	/* the default kind allocates nothing and cannot fail */
	(void)pthread_mutex_init(&svc->vault, NULL);
	(void)pthread_mutex_init(&svc->notes, NULL);
	(void)pthread_rwlock_init(&svc->workers_lock, NULL); /* the default kind: readers do not wait for writers */
	throttle_init(&svc->throttle);
	file_table_init(&svc->files);
	return rand_secret(STORE_TOKEN_SIZE, &svc->no_token);
}

void service_fini(struct service *svc)
{
	audit_close(svc->audit);
	file_table_fini(&svc->files);
	throttle_fini(&svc->throttle);
	secret_freep(&svc->no_token);
	(void)pthread_rwlock_destroy(&svc->workers_lock);
	(void)pthread_mutex_destroy(&svc->notes);
	(void)pthread_mutex_destroy(&svc->vault);
}

int service_worker_init(struct service *svc, struct service_worker *w)
{
	int r;

	*w = (struct service_worker){
		.svc = svc,
		.strings = BUF_INIT(SCRATCH_MAX),
		.plain = BUF_INIT(SCRATCH_MAX),
		.text = BUF_INIT(SCRATCH_MAX),
	};
	atomic_init(&w->turn, 0);
	atomic_init(&w->app, NULL);
	r = aes_new(&w->aes);
	if (r < 0)
		return r;
	(void)pthread_rwlock_wrlock(&svc->workers_lock);
	w->next = svc->workers;
	svc->workers = w;
	(void)pthread_rwlock_unlock(&svc->workers_lock);
	return 0;
}

void service_worker_fini(struct service_worker *w)
{
	struct service_worker **at = &w->svc->workers;

	(void)pthread_rwlock_wrlock(&w->svc->workers_lock);
	while (*at && *at != w) /* its init may have failed */
		at = &(*at)->next;
	if (*at)
		*at = w->next;
	(void)pthread_rwlock_unlock(&w->svc->workers_lock);
	aes_freep(&w->aes);
	content_fini(&w->content);
	buf_fini(&w->strings);
	buf_fini(&w->plain);
	buf_fini(&w->text);
}

/* ---- who is in ---- */

bool service_enter(struct service_worker *w)
{
	/* sequentially consistent, as is the other side: either it sees that we are in, or we see that it is locked */
	atomic_store(&w->turn, atomic_load_explicit(&w->turn, memory_order_relaxed) + 1);
	return !atomic_load(&w->svc->locked);
}

void service_leave(struct service_worker *w)
{
	uint64_t turn = atomic_load_explicit(&w->turn, memory_order_relaxed);

	if (turn & 1) {
		atomic_store_explicit(&w->app, NULL, memory_order_release);
		atomic_store(&w->turn, turn + 1);
	}
}

/* The end of the turn that @w is in, or, with @app, of its work with that app's state. */
static void await(struct service_worker *w, const struct app *app)
{
	const struct timespec pause = { .tv_nsec = 100000 };
	uint64_t turn = atomic_load(&w->turn);

	while ((turn & 1) && atomic_load(&w->turn) == turn && (!app || atomic_load(&w->app) == app))
		(void)nanosleep(&pause, NULL); /* woken early, it looks again */
}

void service_quiesce(struct service *svc, const struct service_worker *self)
{
	(void)pthread_rwlock_rdlock(&svc->workers_lock);
	for (struct service_worker *w = svc->workers; w; w = w->next)
		if (w != self)
			await(w, NULL);
	(void)pthread_rwlock_unlock(&svc->workers_lock);
}

void service_works_for(struct service_worker *w, const struct app *app)
{
	/*
	 * Either service_settle() sees this, or we see what was published before it. What lies under the app's lock: whoever has found
	 * the former state there let go of the lock before the publisher took it, so the store stands before his look at us. The
	 * token's epoch lies under none: this store and its load are sequentially consistent, as are its store and the look at us.
	 */
	atomic_store(&w->app, app);
}

void service_settle(struct service_worker *self, const struct app *app)
{
	struct service *svc = self->svc;

	/* two who settle do not wait for each other: neither has anything of the app's any more */
	atomic_store(&self->app, NULL);
	(void)pthread_rwlock_rdlock(&svc->workers_lock);
	for (struct service_worker *w = svc->workers; w; w = w->next)
		await(w, app);
	(void)pthread_rwlock_unlock(&svc->workers_lock);
	store_settle_walks(svc->store); /* who walks over all apps works with the state of none in particular */
}

void service_spread(struct service *svc, void (*item)(void *work, size_t i), void *work, size_t n)
{
	if (svc->hooks.spread) {
		svc->hooks.spread(svc->hooks.arg, item, work, n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		item(work, i);
}

/* ---- the audit trail ---- */

void service_put_audit_problem(struct service *svc, struct buf *b)
{
	struct audit_info info = { 0 };

	if (svc->audit) {
		audit_get_info(svc->audit, &info);
		if (info.problem)
			buf_printf(b, "audit log %s %s", info.path, info.problem);
		return;
	}
	(void)pthread_mutex_lock(&svc->notes);
	buf_put_str(b, svc->audit_why);
	(void)pthread_mutex_unlock(&svc->notes);
}

void service_note(struct service *svc, struct audit_entry *entry, bool durable)
{
	struct store_info info;
	int r;

	if (!svc->audit)
		return;
	store_get_info(svc->store, &info);
	entry->generation = info.log.generation;
	entry->seq = info.seq;
	r = audit_append(svc->audit, entry, durable);
	if (r < 0) {
		CLEANUP(buf_fini) struct buf why = BUF_INIT(8192);

		service_put_audit_problem(svc, &why);
		svc->hooks.failed(svc->hooks.arg, "the audit trail", r, buf_bytes(&why));
	}
}

void service_note_expired(void *svc, struct bytes app_id, const char *key_id)
{
	CLEANUP(buf_fini) struct buf target = BUF_INIT(1024);

	buf_put_bytes(&target, app_id);
	buf_put_byte(&target, ' ');
	buf_put_str(&target, key_id);
	service_note(
		svc,
		&(struct audit_entry){ .by = AUDIT_BY_DAEMON, .action = "keyExpired", .target = buf_bytes(&target) },
		false);
}

static void note_app_use(void *arg, struct app *app)
{
	static const char *const names[APP_USE_NR] = { "", "decrypt", "encrypt", "unwrap", "wrap" };
	CLEANUP(buf_fini) struct buf counts = BUF_INIT(256);
	unsigned long uses[APP_USE_NR];
	struct service *svc = arg;

	if (app_take_uses(app, uses))
		return;
	for (int i = APP_USE_NONE + 1; i < APP_USE_NR; i++)
		buf_printf(&counts, "%s%s=%lu", counts.n ? " " : "", names[i], uses[i]);
	service_note(
		svc,
		&(struct audit_entry){
			.by = AUDIT_BY_APP, .app_id = app_id(app), .action = "keyUse", .target = buf_bytes(&counts) },
		false);
}

void service_note_key_use(struct service *svc)
{
	if (svc->audit)
		store_each_app(svc->store, note_app_use, svc);
}

/* What an admin's call is about: the values of the parameters that its row names. */
static void put_target(const struct method *m, const void *params, struct buf *ret)
{
	for (size_t i = 0; m->target && i < m->n_params; i++) {
		const struct param *p = &m->params[i];
		const void *at = (const char *)params + p->offset;
		const char *named = strstr(m->target, p->name);

		if (!named)
			continue;
		if (ret->n)
			buf_put_byte(ret, ' ');
		if (p->type == PARAM_UINT)
			buf_printf(ret, "%llu", (unsigned long long)*(const uint64_t *)at);
		else
			buf_put_bytes(ret, *(const struct bytes *)at);
	}
}

static void note_admin_call(struct call *c, const struct method *m, int result)
{
	CLEANUP(buf_fini) struct buf target = BUF_INIT(8192);
	struct audit_entry entry = {
		.by = c->peer->is_process ? AUDIT_BY_PROCESS : AUDIT_BY_DAEMON,
		.uid = c->peer->uid,
		.pid = c->peer->pid,
		.action = m->name,
		.result = result,
	};

	if (!c->svc->audit || result == ERR_NEEDS_WORKER)
		return;
	if (result != ERR_INVALID_PARAMS)
		put_target(m, c->params, &target);
	entry.target = buf_bytes(&target);
	service_note(c->svc, &entry, m->audited == AUDIT_CHANGE);
}

/* No change by an admin without an entry: is one sure to be possible? */
static int may_change(struct call *c)
{
	if (!*c->svc->audit_path || (c->svc->audit && audit_ready(c->svc->audit) == 0))
		return 0;
	buf_reset(&c->w->text);
	service_put_audit_problem(c->svc, &c->w->text);
	return call_failed(c, ERR_STORAGE);
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

static int run_method(struct call *c, const struct method *m, struct bytes json)
{
	_Alignas(16) char params[CALL_MAX_PARAMS_SIZE] = { 0 };
	bool audited = m->audited != AUDIT_NOT && !c->locked && peer_role(c->peer) == ROLE_ADMIN;
	int r;

	assert(m->params_size <= sizeof(params));
	r = params_parse(m->params, m->n_params, json, &c->w->strings, params, &c->detail);
	c->method = m;
	c->params = params;
	if (r == 0 && m->check)
		r = m->check(c);
	if (r == 0 && c->locked && !m->when_locked)
		r = ERR_LOCKED;
	if (r == 0 && m->perms)
		r = call_ask_grant(c, call_room(c), m->perms, &c->ring);
	if (r == 0 && audited && m->audited == AUDIT_CHANGE)
		r = may_change(c);
	if (r == 0)
		r = m->handle(c);
	if (audited)
		note_admin_call(c, m, r);
	if (r == 0 && m->use && peer_role(c->peer) == ROLE_APP)
		app_count_use(c->peer->app, m->use);
	c->params = NULL;
	params_release(m->params, m->n_params, params);
	return r;
}

static struct bytes reason_of(const struct call *c)
{
	return c->detail.name && strcmp(c->detail.name, "why") == 0 ? c->detail.str : BYTES_NONE;
}

/*
 * One request to its reply, entered for by itself: those of a batch may lock and unlock, and who locks does not wait for all of it.
 * Whatever a failing handler had written is taken back before the error is written.
 * Return: 0; ERR_NEEDS_WORKER, nothing written, when it turns out too long for a loop.
 */
static int run(struct service *svc, struct service_worker *w, struct peer *peer, const struct rpc_request *q, int err,
	       bool may_block, struct buf *out)
{
	struct call c = {
		.svc = svc, .w = w, .peer = peer, .may_block = may_block, .locked = !service_enter(w), .out = out
	};
	const struct method *m = NULL;
	size_t start = out->n;
	int r = err;

	if (peer_role(peer) == ROLE_APP)
		service_works_for(w, peer->app);
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
		svc->hooks.failed(svc->hooks.arg, m->name, r, reason_of(&c));
	ring_unref(c.ring);
	json_decref(c.json);
	worker_forget(w);
	service_leave(w);
	return r == ERR_NEEDS_WORKER ? r : 0;
}

static enum served place_of(const struct method *m)
{
	if (!m || m->lane != LANE_POOL)
		return SERVED;
	return m->in_order ? SERVED_IN_ORDER : SERVED_BY_POOL;
}

static enum served place_of_request(const struct peer *peer, const struct rpc_request *q)
{
	int err;

	return place_of(find_method(peer, q, &err));
}

/*
 * A large frame goes to the pool unlooked at, but for whether it has to keep its place there. Its text is not even known to be JSON: a
 * worker will find that out, and of what is no JSON it executes nothing, in whatever place.
 */
static enum served place_of_unchecked(const struct peer *peer, struct bytes request)
{
	struct scan_iter it = scan_iter(request);
	struct scan_member m;

	while (scan_next_member(&it, &m)) {
		if (scan_str_is(m.key, BYTES_LIT("method")) && scan_type(m.value) == SCAN_STRING &&
		    place_of(methods_find(m.value, peer_role(peer))) == SERVED_IN_ORDER)
			return SERVED_IN_ORDER;
	}
	return SERVED_BY_POOL;
}

static enum served place_of_large(const struct peer *peer, struct bytes frame)
{
	struct scan_iter it = scan_iter(frame);
	enum served served = SERVED_BY_POOL;
	struct bytes element;

	if (!frame.n || scan_type(frame) != SCAN_ARRAY)
		return place_of_unchecked(peer, frame);
	while (served != SERVED_IN_ORDER && scan_next_element(&it, &element))
		served = place_of_unchecked(peer, element);
	return served;
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
static enum served place_of_batch(const struct peer *peer, struct bytes array)
{
	struct scan_iter it = scan_iter(array);
	enum served served = SERVED;
	struct rpc_request q;
	struct bytes element;

	while (served != SERVED_IN_ORDER && scan_next_element(&it, &element)) {
		enum served one;

		if (rpc_parse(element, &q) < 0)
			continue;
		one = place_of_request(peer, &q);
		if (one != SERVED)
			served = one;
		else if (served == SERVED && scan_str_is(q.method, BYTES_LIT("authenticate")))
			served = SERVED_BY_POOL;
	}
	return served;
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
	enum served place = SERVED;
	struct rpc_request q;
	int r;

	if (scan_type(frame) == SCAN_ARRAY) {
		unsigned n = count_elements(frame, RPC_MAX_BATCH);

		if (n == 0 || n > RPC_MAX_BATCH) {
			rpc_error(out, BYTES_LIT("null"), ERR_INVALID_REQUEST, NULL);
			return SERVED;
		}
		*ret_requests = n;
		if (fast)
			place = place_of_batch(peer, frame);
		if (place != SERVED)
			return place;
		return run_batch(svc, w, peer, frame, refusal, !fast, out) < 0 ? SERVED_BY_POOL : SERVED;
	}
	r = rpc_parse(frame, &q);
	if (fast && r == 0)
		place = place_of_request(peer, &q);
	if (place != SERVED)
		return place;
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
	w->subscription = (struct subscription){ .asked = false };
	if (fast && atomic_load_explicit(&svc->draining, memory_order_relaxed)) {
		refusal = ERR_SHUTTING_DOWN;
		fast = false; /* refusing is quick, so nothing goes to the pool any more */
	}
	if (fast && frame.n > SERVICE_INLINE_MAX)
		return place_of_large(peer, scan_trim(frame));
	r = scan_check(frame, SCAN_FRAME, RPC_MAX_DEPTH);
	if (r < 0) {
		rpc_error(out, BYTES_LIT("null"), r, r == ERR_NOMEM ? &retry_later : NULL);
	} else {
		enum served served;

		served = serve_checked(svc, w, peer, scan_trim(frame), fast, refusal, out, ret_requests);
		secret_wipe_registers(); /* the thread may wait for long now */
		if (served != SERVED)
			return served;
	}
	if (out->n > start)
		buf_put_byte(out, '\n');
	return SERVED;
}
