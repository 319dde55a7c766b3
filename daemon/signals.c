#include "daemon/signals.h"

#include <signal.h>
#include <stddef.h>

static void change(int how)
{
	sigset_t set;

	(void)sigemptyset(&set); /* these fail only for signals that do not exist */
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)pthread_sigmask(how, &set, NULL);
}

void signals_block(void)
{
	change(SIG_BLOCK);
}

void signals_unblock(void)
{
	change(SIG_UNBLOCK);
}
