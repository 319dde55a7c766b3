/*
 * m_event - subscribe, unsubscribe (docs/protocol.md, section 3, Events)
 *
 * What a connection subscribes to is noted in the worker, for whoever called service_handle(): that one alone knows when the answer
 * is on its way, before which no event may be.
 */
#include "base/jw.h"
#include "proto/methods.h"

int m_subscribe(struct call *c)
{
	const struct p_subscribe *p = c->params;
	uint64_t oldest, newest, since;
	int r = store_event_range(c->svc->store, c->peer->app, &oldest,
				  &newest); /* an admin has no app, and sees all */

	if (r < 0)
		return r;
	since = p->since == PARAM_NO_SEQ ? newest : p->since;
	if (since < oldest || since > newest) {
		c->detail = (struct rpc_detail){ .name = "oldest", .number = (int64_t)oldest, .is_number = true };
		return ERR_SEQ_TOO_OLD;
	}
	c->w->subscription = (struct subscription){
		.asked = true, .on = true, .since = since, .history = store_history(c->svc->store)
	};
	jw_object(c->out, NULL);
	jw_int(c->out, "seq", (int64_t)newest);
	jw_object_end(c->out);
	return 0;
}

int m_unsubscribe(struct call *c)
{
	c->w->subscription = (struct subscription){ .asked = true };
	jw_object(c->out, NULL);
	jw_object_end(c->out);
	return 0;
}
