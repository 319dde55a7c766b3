/*
 * rpc - the JSON-RPC 2.0 envelope
 *
 * Requests are read as spans of a frame that scan_check() has accepted; replies are written straight into the output buffer.
 */
#ifndef E2EED_PROTO_RPC_H
#define E2EED_PROTO_RPC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

#define RPC_MAX_BATCH 256
#define RPC_MAX_ID    128 /* bytes of a string, characters of a number */
#define RPC_MAX_DEPTH 64

struct rpc_request {
	struct bytes id;     /* as written, to be echoed; "null" where it could not be told */
	bool notification;   /* no id: executed, never answered */
	struct bytes method; /* with its quotes, as written */
	struct bytes params; /* an object, or an array (which is refused later); empty where left out */
};

/**
 * rpc_parse - one request out of its JSON text
 *
 * Return: 0; ERR_INVALID_REQUEST, with @ret->id set as far as it could be told and notification false.
 */
int rpc_parse(struct bytes text, struct rpc_request *ret) WARN_UNUSED;

/* the one extra member that an error's data may have besides `reason` */
struct rpc_detail {
	const char *name; /* NULL: none */
	struct bytes str; /* the value, unless is_number */
	int64_t number;
	bool is_number;
	bool is_json; /* str is JSON text */
};

/* {"jsonrpc":"2.0","id":ID,"result": the caller writes one value here with jw_*(b, NULL, ..) }, then rpc_result_end() */
void rpc_result(struct buf *b, struct bytes id);
void rpc_result_end(struct buf *b);

void rpc_error(struct buf *b, struct bytes id, int err, const struct rpc_detail *detail);

#endif
