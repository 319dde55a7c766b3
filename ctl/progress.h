/*
 * progress - a line on the terminal for work that takes more than a second
 *
 * "e2eectl: checking the keystore, 3 s", rewritten each second and removed at the end. Only where standard error is a terminal.
 */
#ifndef E2EED_CTL_PROGRESS_H
#define E2EED_CTL_PROGRESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct progress {
	const char *what;	   /* static text */
	atomic_ullong count;	   /* of what is done, where there is something to count; any thread adds to it */
	bool running, over, shown; /* over: with the lock; shown: the thread's */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t end;
};

/** progress_start - without a terminal, or a thread, it does nothing */
void progress_start(struct progress *p, const char *what);
void progress_stop(struct progress *p);

#endif
