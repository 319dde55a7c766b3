#include "daemon/keeper.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

#define TICK_S		1
#define SUMMARY_MS	((int64_t)5 * 60 * 1000)
#define AFTER_FAILED_MS ((int64_t)60 * 1000) /* before a compaction that failed is tried again */
#define KEEPER_NICE	10

struct keeper {
	struct service *svc; /* borrowed */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t stop; /* with stopping */
	bool stopping;	     /* lock */
	struct service_worker scratch;
	int64_t summed_up_ms, failed_ms; /* monotonic; 0: never */
	bool expiry_failed;
};

static void compact(struct keeper *k, int64_t now)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(4096);
	struct store_info before, after;

	store_get_info(k->svc->store, &before);
	if (!before.compaction_due || (k->failed_ms && now - k->failed_ms < AFTER_FAILED_MS))
		return;
	if (store_rewrite(k->svc->store, &why) < 0) {
		k->failed_ms = now;
		buf_put_byte(&why, '\0');
		log_warning("the keystore could not be compacted, which will be tried again: %s",
			    buf_err(&why) ? "out of memory" : (const char *)why.p);
		return;
	}
	k->failed_ms = 0;
	store_get_info(k->svc->store, &after);
	log_info("keystore compacted: %llu bytes to %llu", (unsigned long long)before.log.bytes,
		 (unsigned long long)after.log.bytes);
}

static void note_expired(void *arg, struct bytes app_id, const char *key_id)
{
	struct keeper *k = arg;

	service_note_expired(k->svc, app_id, key_id);
	log_info("a retired identity key has expired and is destroyed: %s", key_id);
}

/* Nobody unwraps with a key whose time is up; here it is destroyed. Each look tries again what failed. */
static void expire_keys(struct keeper *k)
{
	int r = store_expire_keys(k->svc->store, clock_now_ms(), note_expired, k);

	if (r < 0 && !k->expiry_failed)
		log_warning("expired identity keys could not be destroyed, which will be tried again: %s", err_text(r));
	k->expiry_failed = r < 0;
}

static void look(struct keeper *k)
{
	int64_t now = clock_mono_ms();

	if (service_enter(&k->scratch)) {
		expire_keys(k);
		compact(k, now);
		if (now - k->summed_up_ms >= SUMMARY_MS) {
			k->summed_up_ms = now;
			service_note_key_use(k->svc);
		}
	}
	service_leave(&k->scratch);
}

static void *keep(void *arg)
{
	struct keeper *k = arg;
	struct timespec until;

	(void)setpriority(PRIO_PROCESS, 0,
			  KEEPER_NICE); /* of this thread; without it all works as well, if less smoothly */
	(void)pthread_mutex_lock(&k->lock);
	while (!k->stopping) {
		(void)clock_gettime(CLOCK_MONOTONIC, &until); /* cannot fail for this clock */
		until.tv_sec += TICK_S;
		(void)pthread_cond_timedwait(&k->stop, &k->lock, &until);
		if (k->stopping)
			break;
		(void)pthread_mutex_unlock(&k->lock);
		look(k);
		(void)pthread_mutex_lock(&k->lock);
	}
	(void)pthread_mutex_unlock(&k->lock);
	return NULL;
}

int keeper_new(struct service *svc, struct keeper **ret)
{
	struct keeper *k = calloc(1, sizeof(*k));
	pthread_condattr_t attr;
	int r;

	if (!k)
		return ERR_NOMEM;
	k->svc = svc;
	k->summed_up_ms = clock_mono_ms();
	(void)pthread_mutex_init(&k->lock, NULL); /* with these attributes glibc cannot fail here */
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&k->stop, &attr);
	(void)pthread_condattr_destroy(&attr);
	r = service_worker_init(svc, &k->scratch);
	if (r == 0 && pthread_create(&k->thread, NULL, keep, k) != 0) {
		service_worker_fini(&k->scratch);
		r = ERR_NOMEM;
	}
	if (r < 0) {
		free(k);
		return r;
	}
	*ret = k;
	return 0;
}

void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	(void)pthread_mutex_lock(&k->lock);
	k->stopping = true;
	(void)pthread_cond_signal(&k->stop);
	(void)pthread_mutex_unlock(&k->lock);
	(void)pthread_join(k->thread, NULL);
	service_worker_fini(&k->scratch);
	(void)pthread_cond_destroy(&k->stop);
	(void)pthread_mutex_destroy(&k->lock);
	free(k);
}
