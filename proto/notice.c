#include "proto/notice.h"

#include "base/jw.h"
#include "proto/methods.h"

void notice_event(struct buf *b, const struct event *event, bool with_app)
{
	jw_object(b, NULL);
	jw_str(b, "jsonrpc", "2.0");
	jw_str(b, "method", "event");
	jw_object(b, "params");
	if (with_app)
		jw_bytes(b, "appId", event->app_id);
	jw_int(b, "seq", (int64_t)event->seq);
	jw_time(b, "time", event->time_ms);
	jw_str(b, "type", event_type_name(event->type));
	if (event->room_id.n)
		jw_bytes(b, "roomId", event->room_id);
	if (event->kid.n)
		jw_bytes(b, "kid", event->kid);
	if (event->key_id.n)
		jw_bytes(b, "keyId", event->key_id);
	if (event->perms)
		call_put_perms(b, "permissions", event->perms);
	jw_object_end(b);
	jw_object_end(b);
	buf_put_byte(b, '\n');
}

void notice_end(struct buf *b, int err, const struct rpc_detail *detail)
{
	rpc_error(b, BYTES_LIT("null"), err, detail);
	buf_put_byte(b, '\n');
}
