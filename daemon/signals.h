/*
 * signals - which thread takes the signals that the daemon listens to
 *
 * Only the main thread does, through its event loop, and only while that loop runs.
 */
#ifndef E2EED_DAEMON_SIGNALS_H
#define E2EED_DAEMON_SIGNALS_H

/** signals_block - the calling thread takes none of SIGTERM, SIGINT, SIGHUP from now on */
void signals_block(void);

#endif
