/*
 * log - one line per event on stderr
 *
 * Only daemon/ and ctl/ log; lower layers return errors. Under systemd (JOURNAL_STREAM names our stderr) lines carry
 * <N> priority prefixes, elsewhere the time and the level. Control characters and what is no UTF-8 are replaced by '?',
 * so that a name cannot forge a line; a line over 2 KiB is cut. Any thread; errno is kept. Never given a secret, a
 * token or a message; the compiler helps, since there is no way to print a struct secret or a struct buf.
 */
#ifndef E2EED_BASE_LOG_H
#define E2EED_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level);

/** log_level_parse - "error", "warning", "info", "debug". Return: false on anything else */
bool log_level_parse(const char *name, enum log_level *ret);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
