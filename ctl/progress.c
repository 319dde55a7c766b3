#include "ctl/progress.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE 79

static void show(const char *line)
{
	char padded[LINE + 3];
	int n = snprintf(padded, sizeof(padded), "\r%-*.*s\r", LINE, LINE, line);

	if (n > 0)
		(void)!write(STDERR_FILENO, padded, (size_t)n); /* a line that does not show is no failure */
}

static void *run(void *arg)
{
	struct progress *p = arg;
	unsigned seconds = 0;
	struct timespec until;

	(void)pthread_mutex_lock(&p->lock);
	(void)clock_gettime(CLOCK_MONOTONIC, &until); /* cannot fail for this clock */
	while (!p->over) {
		unsigned long long count;
		char line[128];

		until.tv_sec++;
		while (!p->over && pthread_cond_timedwait(&p->end, &p->lock, &until) != ETIMEDOUT)
			;
		if (p->over)
			break;
		seconds++;
		count = atomic_load(&p->count);
		if (count)
			(void)snprintf(line, sizeof(line), "e2eectl: %s, %llu, %u s", p->what, count,
				       seconds); /* fits */
		else
			(void)snprintf(line, sizeof(line), "e2eectl: %s, %u s", p->what, seconds);
		show(line);
		p->shown = true;
	}
	(void)pthread_mutex_unlock(&p->lock);
	return NULL;
}

void progress_start(struct progress *p, const char *what)
{
	pthread_condattr_t attr;

	memset(p, 0, sizeof(*p));
	p->what = what;
	if (!isatty(STDERR_FILENO))
		return;
	(void)pthread_mutex_init(&p->lock, NULL); /* with these attributes glibc cannot fail here */
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&p->end, &attr);
	(void)pthread_condattr_destroy(&attr);
	p->running = pthread_create(&p->thread, NULL, run, p) == 0;
}

void progress_stop(struct progress *p)
{
	if (!p->running)
		return;
	(void)pthread_mutex_lock(&p->lock);
	p->over = true;
	(void)pthread_cond_signal(&p->end);
	(void)pthread_mutex_unlock(&p->lock);
	(void)pthread_join(p->thread, NULL);
	p->running = false;
	if (p->shown)
		show("");
	(void)pthread_cond_destroy(&p->end);
	(void)pthread_mutex_destroy(&p->lock);
}
