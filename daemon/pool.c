#include "daemon/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/log.h"
#include "daemon/feed.h"
#include "daemon/loop.h"

#define WORKER_NICE 10
#define REPLY_MAX   ((size_t)1 << 30)
#define ANSWERS_MAX ((size_t)8 << 20) /* of one peer, on their way to its loop, which may be slower than the workers */

struct worker {
	struct pool *pool; /* borrowed */
	pthread_t thread;
	struct service_worker scratch;
};

struct queue {
	struct job *head, **tail;
	size_t n;
};

/* work in pieces; on the stack of whoever spreads it, who waits until nobody is at any of them */
struct spread {
	struct spread *next;
	void (*item)(void *work, size_t i);
	void *work;
	size_t n, taken;
	unsigned helpers; /* at an item, beside the one who spreads */
};

/* what a worker does next: a job, or an item */
struct task {
	struct job *job;
	struct spread *spread;
	size_t i;
};

struct pool {
	struct service *svc; /* borrowed */
	pthread_mutex_t lock;
	pthread_cond_t filled;
	pthread_cond_t helped;	     /* somebody's last helper is done */
	struct spread *spreads;	     /* lock; borrowed: with items that nobody has taken, the oldest first */
	struct queue admins, others; /* lock */
	unsigned limit;		     /* how many may be at work at once */
	unsigned working;	     /* lock; those that wait for a disk are not */
	bool stopping;		     /* lock */
	unsigned n_workers;	     /* threads that run */
	struct worker *workers;	     /* owned */
};

int job_new(struct conn *conn, struct loop *loop, struct peer *peer, struct bytes frame, unsigned requests,
	    struct job **ret)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return ERR_NOMEM;
	*job = (struct job){
		.loop = loop, .conn = conn, .requests = requests, .in = BUF_INIT(frame.n), .out = BUF_INIT(REPLY_MAX)
	};
	buf_put_bytes(&job->in, frame);
	if (buf_err(&job->in) < 0) {
		free(job);
		return ERR_NOMEM;
	}
	job->peer = peer_ref(peer);
	*ret = job;
	return 0;
}

void job_free(struct job *job)
{
	if (!job)
		return;
	buf_fini(&job->in);
	buf_fini(&job->out);
	peer_unref(job->peer);
	free(job);
}

/* ---- the queues; with the pool's lock ---- */

static void queue_put(struct queue *q, struct job *job)
{
	*q->tail = job;
	q->tail = &job->next;
	q->n++;
}

static struct job *queue_take(struct queue *q)
{
	struct job *job = q->head;

	q->head = job->next;
	if (!q->head)
		q->tail = &q->head;
	q->n--;
	job->next = NULL;
	return job;
}

static size_t queued(const struct pool *pool)
{
	return pool->admins.n + pool->others.n;
}

static bool may_take(const struct pool *pool)
{
	return (pool->admins.n && pool->working <= pool->limit) || (pool->others.n && pool->working < pool->limit);
}

static bool may_help(const struct pool *pool)
{
	return pool->spreads && pool->working < pool->limit;
}

/* After there is more to do, or more may be at work. Who has done a task needs no waking: he looks for the next one himself. */
static void wake_one(struct pool *pool)
{
	if (may_take(pool) || may_help(pool))
		(void)pthread_cond_signal(&pool->filled);
}

/* A spread whose last item is taken leaves the list, if it was on it. */
static size_t take_item(struct pool *pool, struct spread *s)
{
	struct spread **at = &pool->spreads;
	size_t i = s->taken++;

	if (s->taken == s->n) {
		while (*at && *at != s)
			at = &(*at)->next;
		if (*at)
			*at = s->next;
	}
	return i;
}

/* ---- the workers ---- */

static _Thread_local struct pool *pool_of_thread;

void pool_waits(bool waits)
{
	struct pool *pool = pool_of_thread;

	if (!pool)
		return;
	(void)pthread_mutex_lock(&pool->lock);
	if (waits) {
		pool->working--;
		wake_one(pool);
	} else {
		pool->working++; /* perhaps beyond the limit, until the next job is taken */
	}
	(void)pthread_mutex_unlock(&pool->lock);
}

static bool next_task(struct pool *pool, struct task *ret)
{
	bool going_on;

	(void)pthread_mutex_lock(&pool->lock);
	while (!pool->stopping && !may_take(pool) && !may_help(pool))
		(void)pthread_cond_wait(&pool->filled, &pool->lock);
	going_on = !pool->stopping;
	*ret = (struct task){ 0 };
	if (going_on && may_take(pool)) {
		ret->job = queue_take(pool->admins.n ? &pool->admins : &pool->others);
	} else if (going_on) {
		ret->spread = pool->spreads;
		ret->i = take_item(pool, ret->spread);
		ret->spread->helpers++;
	}
	if (going_on) {
		pool->working++;
		wake_one(pool); /* there may be something for another one, too */
	}
	(void)pthread_mutex_unlock(&pool->lock);
	return going_on;
}

static void task_done(struct pool *pool, struct task *task)
{
	(void)pthread_mutex_lock(&pool->lock);
	pool->working--;
	if (task->spread && --task->spread->helpers == 0)
		(void)pthread_cond_broadcast(&pool->helped);
	(void)pthread_mutex_unlock(&pool->lock);
}

static bool has_enough(struct peer *peer)
{
	return atomic_load_explicit(&peer->is_full, memory_order_relaxed) ||
	       atomic_load_explicit(&peer->answered, memory_order_relaxed) >= ANSWERS_MAX;
}

static void do_job(struct worker *w, struct job *job)
{
	struct service *svc = w->pool->svc;
	unsigned n;

	if (job->reads) {
		feed_read(svc, &w->scratch, job);
		return;
	}
	job->undone = has_enough(job->peer);
	if (job->undone)
		return;
	(void)service_handle(svc, &w->scratch, job->peer, buf_bytes(&job->in), SERVE_ALL, &job->out, &n);
	atomic_fetch_add_explicit(&job->peer->answered, job->out.n, memory_order_relaxed);
	job->subscription = w->scratch.subscription;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct task task;

	pool_of_thread = w->pool;
	if (setpriority(PRIO_PROCESS, 0, WORKER_NICE) < 0) /* of this thread, on Linux */
		log_warning("cannot lower the priority of a worker thread; slow requests may delay fast ones");
	while (next_task(w->pool, &task)) {
		if (task.job)
			do_job(w, task.job);
		else
			task.spread->item(task.spread->work, task.i);
		secret_wipe_stack();
		task_done(w->pool, &task);
		if (task.job)
			loop_post_job(task.job->loop, task.job);
	}
	return NULL;
}

void pool_spread(struct pool *pool, void (*item)(void *work, size_t i), void *work, size_t n)
{
	struct spread s = { .item = item, .work = work, .n = n }, **at = &pool->spreads;

	(void)pthread_mutex_lock(&pool->lock);
	if (n > 1) {
		while (*at)
			at = &(*at)->next;
		*at = &s;
		wake_one(pool);
	}
	while (s.taken < n) {
		size_t i = take_item(pool, &s);

		(void)pthread_mutex_unlock(&pool->lock);
		item(work, i);
		(void)pthread_mutex_lock(&pool->lock);
	}
	while (s.helpers)
		(void)pthread_cond_wait(&pool->helped, &pool->lock);
	(void)pthread_mutex_unlock(&pool->lock);
}

static int start_workers(struct pool *pool, unsigned threads)
{
	for (unsigned i = 0; i < threads; i++) {
		struct worker *w = &pool->workers[i];
		int r = service_worker_init(pool->svc, &w->scratch);

		if (r < 0)
			return r;
		w->pool = pool;
		if (pthread_create(&w->thread, NULL, work, w) != 0) {
			service_worker_fini(&w->scratch);
			return ERR_NOMEM;
		}
		pool->n_workers++;
	}
	return 0;
}

int pool_new(struct service *svc, unsigned threads, struct pool **ret)
{
	struct pool *pool = calloc(1, sizeof(*pool));
	int r = ERR_NOMEM;

	if (!pool)
		return ERR_NOMEM;
	pool->svc = svc;
	pool->admins.tail = &pool->admins.head;
	pool->others.tail = &pool->others.head;
	(void)pthread_mutex_init(&pool->lock, NULL);
	(void)pthread_cond_init(&pool->filled, NULL); /* with default attributes glibc cannot fail here */
	(void)pthread_cond_init(&pool->helped, NULL);
	pool->limit = threads;
	pool->workers = calloc((size_t)threads + POOL_SPARES, sizeof(*pool->workers));
	if (pool->workers)
		r = start_workers(pool, threads + POOL_SPARES);
	if (r < 0) {
		pool_free(pool);
		return r;
	}
	*ret = pool;
	return 0;
}

int pool_submit(struct pool *pool, struct job *job)
{
	struct queue *q = peer_role(job->peer) == ROLE_ADMIN ? &pool->admins : &pool->others;
	int r = 0;

	(void)pthread_mutex_lock(&pool->lock);
	if ((q->n >= POOL_MAX_QUEUED && !job->in_order && !job->reads) || pool->stopping) {
		r = ERR_OVERLOADED;
	} else {
		queue_put(q, job);
		wake_one(pool);
	}
	(void)pthread_mutex_unlock(&pool->lock);
	return r;
}

size_t pool_queued(struct pool *pool)
{
	size_t n;

	(void)pthread_mutex_lock(&pool->lock);
	n = queued(pool);
	(void)pthread_mutex_unlock(&pool->lock);
	return n;
}

void pool_cancel(struct pool *pool)
{
	struct job *job, *next, *all = NULL;

	(void)pthread_mutex_lock(&pool->lock);
	while (queued(pool)) {
		job = queue_take(pool->admins.n ? &pool->admins : &pool->others);
		job->next = all;
		all = job;
	}
	(void)pthread_mutex_unlock(&pool->lock);
	for (job = all; job; job = next) {
		next = job->next;
		loop_post_job(job->loop, job);
	}
}

void pool_free(struct pool *pool)
{

	if (!pool)
		return;
	(void)pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	(void)pthread_cond_broadcast(&pool->filled);
	(void)pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->n_workers; i++) {
		(void)pthread_join(pool->workers[i].thread, NULL);
		service_worker_fini(&pool->workers[i].scratch);
	}
	(void)pthread_cond_destroy(&pool->helped);
	(void)pthread_cond_destroy(&pool->filled);
	(void)pthread_mutex_destroy(&pool->lock);
	free(pool->workers);
	free(pool);
}
