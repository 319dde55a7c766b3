/*
 * params - a params object into a method's own C struct, by table
 *
 * One row per parameter: its name and type, whether it is required, and where it goes. The same rows make the OpenRPC document.
 * Views point into the frame, or into the strings buffer where escapes had to be resolved.
 */
#ifndef E2EED_PROTO_PARAMS_H
#define E2EED_PROTO_PARAMS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"
#include "proto/rpc.h"

enum param_type {
	PARAM_STRING,	      /* struct bytes: any string that UTF-8 can hold */
	PARAM_ID,	      /* struct bytes: id of an app, room or user: 1 to 128 bytes, no control characters */
	PARAM_NAME,	      /* struct bytes: as PARAM_ID, 0 to 256 bytes */
	PARAM_KID,	      /* struct bytes: 1 to 64 printable ASCII characters */
	PARAM_SECRET,	      /* struct secret *: a string of at most 4096 bytes, owned by the struct */
	PARAM_SECRET_OR_NULL, /* the same; NULL for null */
	PARAM_BOOL,	      /* bool, false where left out */
	PARAM_BOOL_ON,	      /* bool, true where left out */
	PARAM_UINT,	      /* uint64_t: a whole number from 0 to 2^53 - 1 */
	PARAM_PAGE,	      /* uint64_t: how many entries at most: 1 to PARAM_MAX_PAGE, 100 where left out */
	PARAM_SEQ,	      /* uint64_t: as PARAM_UINT, PARAM_NO_SEQ where left out */
	PARAM_GRACE,	      /* uint64_t: seconds up to PARAM_MAX_GRACE, PARAM_GRACE_S where left out */
	PARAM_OBJECT,	      /* struct bytes: the object's JSON text */
	PARAM_ARRAY,	      /* struct bytes: the array's JSON text */
	PARAM_CONTENT,	      /* struct bytes: JSON text of an object or a string */
	PARAM_TEXT,	      /* struct bytes: a string's text, or an object's JSON text: what may hold an envelope */
	PARAM_TS,	      /* struct param_ts */
	PARAM_MESSAGE,	      /* struct param_message */
};

#define PARAM_MAX_TS   256 /* bytes of a date's JSON text */
#define PARAM_MAX_PAGE 1000
#define PARAM_NO_SEQ   UINT64_MAX

/* how long a former identity key goes on unwrapping */
#define PARAM_GRACE_S	604800
#define PARAM_MAX_GRACE 315360000 /* ten years */

struct param_ts {
	struct bytes json; /* as it came; empty where left out */
	int64_t ms;
};

struct param_message {
	struct bytes json;
	struct bytes rid; /* a PARAM_ID inside it */
};

struct param {
	const char *name;
	enum param_type type;
	bool required;
	size_t offset;
	const char *about; /* for the OpenRPC document */
};

/**
 * params_parse - fill @ret, which the caller has zeroed, from the params object @json (empty: {})
 * @strings: reset and used for strings with escapes; its content must live as long as @ret is used
 * @ret_detail: on ERR_INVALID_PARAMS, data.param: the name of the parameter
 *
 * Return: 0, ERR_INVALID_PARAMS, ERR_NOMEM. In each case params_release() what is in @ret.
 */
int params_parse(const struct param *table, size_t n, struct bytes json, struct buf *strings, void *ret,
		 struct rpc_detail *ret_detail) WARN_UNUSED;

/** params_release - free the secrets that params_parse() made */
void params_release(const struct param *table, size_t n, void *params);

const char *param_json_type(enum param_type type); /* for the OpenRPC document: the value of "schema", JSON text */

bool param_id_is_usable(struct bytes id);   /* by PARAM_ID's rule */
bool param_kid_is_usable(struct bytes kid); /* by PARAM_KID's rule */

/** params_parse_ts - @json: a string in ISO 8601, {"$date": integer}, or null for unknown. Return: 0, ERR_INVALID_PARAMS */
int params_parse_ts(struct bytes json, struct param_ts *ret) WARN_UNUSED;

#endif
