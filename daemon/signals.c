#include "daemon/signals.h"

#include <signal.h>
#include <stddef.h>

void signals_block(void)
{
	sigset_t set;

	(void)sigemptyset(&set); /* these fail only for signals that do not exist */
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}
