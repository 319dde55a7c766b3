/*
 * err - one enum for everything that can fail
 *
 * Every function that can fail returns 0 or one negative value of `enum err`. The table below is the only place
 * where a JSON-RPC code, a reason and its text meet (docs/protocol.md, section 5); a handler returns the enum and
 * never spells a code. `errno`, UV_* and OpenSSL's codes are translated at the call that gave them.
 */
#ifndef E2EED_BASE_ERR_H
#define E2EED_BASE_ERR_H

#define WARN_UNUSED __attribute__((warn_unused_result))

/* value, wire code, reason on the wire, text */
#define ERR_TABLE(X)                                                                                                \
	X(ERR_PARSE, -1, -32700, "PARSE_ERROR", "the frame is not valid JSON")                                      \
	X(ERR_INVALID_REQUEST, -2, -32600, "INVALID_REQUEST", "not a JSON-RPC 2.0 request")                         \
	X(ERR_METHOD_NOT_FOUND, -3, -32601, "METHOD_NOT_FOUND", "no such method here")                              \
	X(ERR_INVALID_PARAMS, -4, -32602, "INVALID_PARAMS", "a parameter is missing, unknown or out of range")      \
	X(ERR_INTERNAL, -5, -32603, "INTERNAL", "internal error; the daemon's log says more")                       \
	X(ERR_UNAUTHENTICATED, -6, -32001, "UNAUTHENTICATED", "authenticate first")                                 \
	X(ERR_AUTHENTICATION_FAILED, -7, -32002, "AUTHENTICATION_FAILED", "authentication failed")                  \
	X(ERR_ROOM_NOT_AUTHORIZED, -8, -32003, "ROOM_NOT_AUTHORIZED", "the app has no such permission on the room") \
	X(ERR_NO_ROOM_KEY, -9, -32004, "NO_ROOM_KEY", "no key of the room fits")                                    \
	X(ERR_DECRYPT_FAILED, -10, -32005, "DECRYPT_FAILED", "cannot decrypt")                                      \
	X(ERR_UNSUPPORTED_ALGORITHM, -11, -32006, "UNSUPPORTED_ALGORITHM", "the algorithm is not supported")        \
	X(ERR_MALFORMED_ENVELOPE, -12, -32007, "MALFORMED_ENVELOPE", "the envelope is malformed")                   \
	X(ERR_KEY_UNWRAP_FAILED, -13, -32008, "KEY_UNWRAP_FAILED", "cannot unwrap the key")                         \
	X(ERR_INVALID_KEY, -14, -32009, "INVALID_KEY", "the key is not usable")                                     \
	X(ERR_NOT_FOUND, -15, -32010, "NOT_FOUND", "not found")                                                     \
	X(ERR_ALREADY_EXISTS, -16, -32011, "ALREADY_EXISTS", "exists already")                                      \
	X(ERR_RATE_LIMITED, -17, -32012, "RATE_LIMITED", "too many attempts; try again later")                      \
	X(ERR_OVERLOADED, -18, -32013, "OVERLOADED", "overloaded; try again later")                                 \
	X(ERR_TOO_LARGE, -19, -32014, "TOO_LARGE", "too large")                                                     \
	X(ERR_LOCKED, -20, -32015, "LOCKED", "the keystore is locked")                                              \
	X(ERR_STORAGE, -21, -32016, "STORAGE_ERROR", "the keystore cannot be written; nothing was changed")         \
	X(ERR_SEQ_TOO_OLD, -22, -32017, "SEQ_TOO_OLD", "events since that number are no longer kept")               \
	X(ERR_HASH_MISMATCH, -23, -32018, "HASH_MISMATCH", "the file's hash differs")                               \
	X(ERR_SHUTTING_DOWN, -24, -32019, "SHUTTING_DOWN", "shutting down")                                         \
	X(ERR_UNSUPPORTED_PROTOCOL, -25, -32020, "UNSUPPORTED_PROTOCOL", "no protocol version in common")           \
	X(ERR_FORBIDDEN, -26, -32021, "FORBIDDEN", "not allowed in this state")                                     \
	/* below: never answered as such. Out of memory is an overload to a client, the rest a defect */            \
	X(ERR_NOMEM, -40, -32013, "OVERLOADED", "out of memory; try again later")                                   \
	X(ERR_IO, -41, -32603, "INTERNAL", "input or output error")                                                 \
	X(ERR_CRYPTO, -42, -32603, "INTERNAL", "the cryptographic library failed")                                  \
	X(ERR_CONFIG, -43, -32603, "INTERNAL", "the configuration is not usable")                                   \
	X(ERR_DAMAGED, -44, -32603, "INTERNAL", "the keystore is damaged")                                          \
	X(ERR_SEAL, -45, -32603, "INTERNAL", "the keystore's seal cannot be opened")                                \
	X(ERR_NEEDS_WORKER, -47, -32603, "INTERNAL", "too much work for an event loop")                             \
	X(ERR_BUSY, -46, -32603, "INTERNAL", "in use by another process")

enum err {
	ERR_OK = 0,
#define ERR_ENUM(name, value, code, reason, text) name = (value),
	ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
};

/* All three take any value that a function returned (0 included) and give static text; unknown: INTERNAL's. */
const char *err_reason(int err); /* "DECRYPT_FAILED" */
const char *err_text(int err);	 /* "cannot decrypt": what happened, never with content */
int err_code(int err);		 /* -32005 */

#endif
