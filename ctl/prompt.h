/*
 * prompt - secrets and decisions from whoever sits at the terminal
 *
 * Questions go to /dev/tty, so that standard input and output stay free for data. What is typed goes from the kernel straight into
 * a struct secret. Sentences for failures are appended to a buffer.
 */
#ifndef E2EED_CTL_PROMPT_H
#define E2EED_CTL_PROMPT_H

#include "base/buf.h"
#include "base/secret.h"

#define PROMPT_MAX_SECRET 1024 /* bytes */

/**
 * prompt_secret - ask without echo
 * @question: "Passphrase of FILE: "; control characters in it are replaced
 * @again:    NULL, or the question that has it typed once more
 *
 * A signal that ends or stops the program takes effect when the terminal is as it was. Return: 0; ERR_INVALID_PARAMS (no
 * terminal); ERR_FORBIDDEN (nothing, too much, or not twice the same); ERR_IO; ERR_NOMEM.
 */
int prompt_secret(const char *question, const char *again, struct buf *why, struct secret **ret) WARN_UNUSED;

/**
 * prompt_fd - all that can be read from the descriptor @number, without a line feed at its end
 *
 * Return: 0; ERR_INVALID_PARAMS (no descriptor that can be read); ERR_FORBIDDEN (nothing, or too much); ERR_IO; ERR_NOMEM.
 */
int prompt_fd(const char *number, struct buf *why, struct secret **ret) WARN_UNUSED;

/** prompt_yes - ask; only "y" and "yes" are one. Return: 1, 0 (no); ERR_INVALID_PARAMS (no terminal); ERR_IO */
int prompt_yes(const char *question, struct buf *why) WARN_UNUSED;

#endif
