/*
 * signals - which thread takes the signals that the daemon listens to
 *
 * Only the main thread does, through its event loop, and only while that loop runs.
 */
#ifndef E2EED_DAEMON_SIGNALS_H
#define E2EED_DAEMON_SIGNALS_H

/**
 * signals_block - SIGTERM, SIGINT and SIGHUP wait until signals_unblock()
 *
 * Of the calling thread and of those it starts meanwhile: whoever starts threads does so with them blocked.
 */
void signals_block(void);
void signals_unblock(void);

#endif
