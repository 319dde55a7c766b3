#include "keystore/event.h"

#include <assert.h>

#include "keystore/record.h"

static bool makes_current(const struct record *r)
{
	return r->current != RECORD_SAME_CURRENT;
}

size_t event_count(const struct record *r)
{
	switch (r->op) {
	case RECORD_APP_CREATED:
		return r->n_grants;
	case RECORD_TOKEN_SET:
	case RECORD_IDENTITY_ADDED:
	case RECORD_GRANT_SET:
	case RECORD_GRANT_DROPPED:
	case RECORD_KEY_REVOKED:
	case RECORD_KEY_EXPIRED:
		return 1;
	case RECORD_ROOM_KEYS_ADDED:
		return r->n_keys + makes_current(r);
	case RECORD_ROOM_KEY_CREATED:
		return makes_current(r);
	case RECORD_EVENTS:
		return r->n_events;
	case RECORD_APP_REVOKED:
	case RECORD_ESCROW_SET:
	case RECORD_CUSTODY:
	case RECORD_APP:
	case RECORD_ROOM:
	case RECORD_SNAPSHOT_END:
		break;
	}
	return 0;
}

static void get_room_key(const struct record *r, size_t i, struct event *ret)
{
	bool imported = r->op == RECORD_ROOM_KEYS_ADDED && i < r->n_keys;

	ret->type = imported ? EVENT_ROOM_KEY_IMPORTED : EVENT_ROOM_KEY_ROTATED;
	ret->kid = imported ? r->keys[i].kid : r->current_kid;
}

void event_get(const struct record *r, size_t i, struct event *ret)
{
	size_t n = event_count(r);

	assert(i < n);
	if (r->op == RECORD_EVENTS) {
		*ret = r->events[i];
		return;
	}
	*ret = (struct event){
		.seq = r->seq - (n - 1 - i), .time_ms = r->time_ms, .app_id = r->app_id, .room_id = r->room_id
	};
	switch (r->op) {
	case RECORD_APP_CREATED:
		ret->type = EVENT_ROOM_AUTHORIZED;
		ret->room_id = r->grants[i].room_id;
		ret->perms = r->grants[i].perms;
		break;
	case RECORD_TOKEN_SET:
		ret->type = EVENT_TOKEN_RESET;
		break;
	case RECORD_IDENTITY_ADDED:
		ret->type = EVENT_IDENTITY_ROTATED;
		ret->key_id = r->key_id;
		break;
	case RECORD_KEY_REVOKED:
		ret->type = EVENT_IDENTITY_KEY_REVOKED;
		ret->key_id = r->key_id;
		break;
	case RECORD_KEY_EXPIRED:
		ret->type = EVENT_IDENTITY_RETIRED_KEY_EXPIRED;
		ret->key_id = r->key_id;
		break;
	case RECORD_GRANT_SET:
		ret->type = EVENT_ROOM_AUTHORIZED;
		ret->perms = r->perms;
		break;
	case RECORD_GRANT_DROPPED:
		ret->type = EVENT_ROOM_DEAUTHORIZED;
		break;
	case RECORD_ROOM_KEYS_ADDED:
	case RECORD_ROOM_KEY_CREATED:
		get_room_key(r, i, ret);
		break;
	default: /* has none, or above */
		break;
	}
}

const char *event_type_name(enum event_type type)
{
	switch (type) {
	case EVENT_IDENTITY_ROTATED:
		return "identity.rotated";
	case EVENT_IDENTITY_KEY_REVOKED:
		return "identity.keyRevoked";
	case EVENT_IDENTITY_RETIRED_KEY_EXPIRED:
		return "identity.retiredKeyExpired";
	case EVENT_ROOM_AUTHORIZED:
		return "room.authorized";
	case EVENT_ROOM_DEAUTHORIZED:
		return "room.deauthorized";
	case EVENT_ROOM_KEY_IMPORTED:
		return "roomKey.imported";
	case EVENT_ROOM_KEY_ROTATED:
		return "roomKey.rotated";
	case EVENT_TOKEN_RESET:
		return "token.reset";
	}
	return "";
}
