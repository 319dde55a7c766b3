#include "proto/rpc.h"

#include "base/jw.h"
#include "base/scan.h"

#define NULL_ID BYTES_LIT("null")

/* Upper bound on what RPC_MAX_ID bytes take when every one is written as an escape, and the quotes. */
#define MAX_ID_TEXT (RPC_MAX_ID * 6 + 2)

static bool id_is_usable(struct bytes id)
{
	struct buf text = BUF_INIT(RPC_MAX_ID);
	struct bytes raw;
	bool fits;

	switch (scan_type(id)) {
	case SCAN_NULL:
		return true;
	case SCAN_NUMBER:
		return id.n <= RPC_MAX_ID;
	case SCAN_STRING:
		if (scan_str_raw(id, &raw))
			return raw.n <= RPC_MAX_ID;
		if (id.n > MAX_ID_TEXT)
			return false;
		fits = scan_str_decode(id, &text) == 0;
		buf_fini(&text);
		return fits;
	default:
		return false;
	}
}

int rpc_parse(struct bytes text, struct rpc_request *ret)
{
	struct rpc_request q = { .id = NULL_ID, .notification = true };
	bool version = false, method = false, bad = false;
	struct scan_member m;
	struct scan_iter it;

	*ret = (struct rpc_request){ .id = NULL_ID };
	if (scan_type(text) != SCAN_OBJECT)
		return ERR_INVALID_REQUEST;
	it = scan_iter(text);
	while (scan_next_member(&it, &m)) {
		enum scan_type type = scan_type(m.value);

		if (scan_str_is(m.key, BYTES_LIT("jsonrpc"))) {
			version = type == SCAN_STRING && scan_str_is(m.value, BYTES_LIT("2.0"));
		} else if (scan_str_is(m.key, BYTES_LIT("id"))) {
			q.notification = false;
			if (id_is_usable(m.value))
				q.id = m.value;
			else
				bad = true;
		} else if (scan_str_is(m.key, BYTES_LIT("method"))) {
			method = type == SCAN_STRING;
			q.method = m.value;
		} else if (scan_str_is(m.key, BYTES_LIT("params"))) {
			if (type != SCAN_OBJECT && type != SCAN_ARRAY)
				bad = true;
			q.params = m.value;
		}
	}
	if (bad || !version || !method) {
		ret->id = q.id;
		return ERR_INVALID_REQUEST;
	}
	*ret = q;
	return 0;
}

static void begin(struct buf *b, struct bytes id)
{
	jw_object(b, NULL);
	jw_str(b, "jsonrpc", "2.0");
	jw_raw(b, "id", id);
}

void rpc_result(struct buf *b, struct bytes id)
{
	begin(b, id);
	buf_put_str(b, ",\"result\":");
}

void rpc_result_end(struct buf *b)
{
	jw_object_end(b);
}

void rpc_error(struct buf *b, struct bytes id, int err, const struct rpc_detail *detail)
{
	begin(b, id);
	jw_object(b, "error");
	jw_int(b, "code", err_code(err));
	jw_str(b, "message", err_text(err));
	jw_object(b, "data");
	jw_str(b, "reason", err_reason(err));
	if (detail && detail->name) {
		if (detail->is_number)
			jw_int(b, detail->name, detail->number);
		else if (detail->is_json)
			jw_raw(b, detail->name, detail->str);
		else
			jw_bytes(b, detail->name, detail->str);
	}
	jw_object_end(b);
	jw_object_end(b);
	jw_object_end(b);
}
