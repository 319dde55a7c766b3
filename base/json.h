/*
 * json - jansson, set up for this project
 *
 * jansson serves nested parameter values, JWKs and key envelopes; frames and message payloads go through base/scan,
 * because jansson changes what it re-serialises. Its allocator is replaced by one that wipes what it frees; so text
 * leaves through json_put(): what json_dumps() returns must not meet free().
 */
#ifndef E2EED_BASE_JSON_H
#define E2EED_BASE_JSON_H

#include <jansson.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/cleanup.h" /* CLEANUP(json_decrefp): jansson brings its own json_decrefp() */
#include "base/err.h"

/** json_setup - install the wiping allocator and seed its hashes; once, before any other use of jansson */
void json_setup(void);

/**
 * json_load - parse one JSON text of any type, as JSON.parse resolves it (of duplicate members the last wins)
 *
 * Unlike JSON.parse, jansson refuses numbers no double can hold, lone surrogates and a NUL in a member's name, and keeps
 * integers and reals apart; in a text with an integer beyond 64 bits all of them become reals. Nesting is bounded by its
 * own limit of 2048.
 *
 * Return: 0 and a new reference, ERR_PARSE, ERR_NOMEM.
 */
int json_load(struct bytes text, json_t **ret) WARN_UNUSED;

/**
 * json_load_secret - as json_load(), for a text that holds a key: all of the tree lies in the arena
 *
 * Checking a private key takes long enough for the tree to be swapped out meanwhile. Not for texts of any size: the arena is
 * scarce where memory to lock is. Return: as json_load().
 */
int json_load_secret(struct bytes text, json_t **ret) WARN_UNUSED;

/** json_member_str - the string member @name of an object as a view into it. Return: false when absent or no string */
bool json_member_str(const json_t *object, const char *name, struct bytes *ret);

/** json_put - append the JSON text of @json, compact. Return: 0, buf_err(@b). */
int json_put(const json_t *json, struct buf *b) WARN_UNUSED;

#endif
