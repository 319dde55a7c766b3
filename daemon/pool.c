#include "daemon/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/log.h"
#include "daemon/feed.h"
#include "daemon/loop.h"

#define WORKER_NICE 10
#define REPLY_MAX   ((size_t)1 << 30)

struct worker {
	struct pool *pool; /* borrowed */
	pthread_t thread;
	struct service_worker scratch;
};

struct queue {
	struct job *head, **tail;
	size_t n;
};

struct pool {
	struct service *svc; /* borrowed */
	pthread_mutex_t lock;
	pthread_cond_t filled;
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
		if (queued(pool))
			(void)pthread_cond_signal(&pool->filled);
	} else {
		pool->working++; /* perhaps beyond the limit, until the next job is taken */
	}
	(void)pthread_mutex_unlock(&pool->lock);
}

static struct job *next_job(struct pool *pool)
{
	struct job *job = NULL;

	(void)pthread_mutex_lock(&pool->lock);
	while ((!queued(pool) || pool->working >= pool->limit) && !pool->stopping)
		(void)pthread_cond_wait(&pool->filled, &pool->lock);
	if (!pool->stopping) {
		job = queue_take(pool->admins.n ? &pool->admins : &pool->others);
		pool->working++;
	}
	(void)pthread_mutex_unlock(&pool->lock);
	return job;
}

static void job_done(struct pool *pool)
{
	(void)pthread_mutex_lock(&pool->lock);
	pool->working--;
	if (queued(pool))
		(void)pthread_cond_signal(&pool->filled); /* one that had to stand by while this one worked */
	(void)pthread_mutex_unlock(&pool->lock);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct job *job;
	unsigned n;

	pool_of_thread = w->pool;
	if (setpriority(PRIO_PROCESS, 0, WORKER_NICE) < 0) /* of this thread, on Linux */
		log_warning("cannot lower the priority of a worker thread; slow requests may delay fast ones");
	while ((job = next_job(w->pool))) {
		if (job->reads) {
			feed_read(w->pool->svc, &w->scratch, job);
		} else {
			(void)service_handle(w->pool->svc, &w->scratch, job->peer, buf_bytes(&job->in), SERVE_ALL,
					     &job->out, &n);
			job->subscription = w->scratch.subscription;
		}
		secret_wipe_stack();
		job_done(w->pool);
		loop_post_job(job->loop, job);
	}
	return NULL;
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
	if (q->n >= POOL_MAX_QUEUED || pool->stopping) {
		r = ERR_OVERLOADED;
	} else {
		queue_put(q, job);
		(void)pthread_cond_signal(&pool->filled);
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
	(void)pthread_cond_destroy(&pool->filled);
	(void)pthread_mutex_destroy(&pool->lock);
	free(pool->workers);
	free(pool);
}
