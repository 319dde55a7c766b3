/*
 * notice - frames that no request asked for: events, and what is said to a connection before it is closed
 */
#ifndef E2EED_PROTO_NOTICE_H
#define E2EED_PROTO_NOTICE_H

#include <stdbool.h>

#include "base/buf.h"
#include "keystore/event.h"
#include "proto/rpc.h"

/** notice_event - append the notification, with its line feed; @with_app: for those who see all apps' events */
void notice_event(struct buf *b, const struct event *event, bool with_app);

/** notice_end - append the last frame of a connection: why it is closed, with its line feed */
void notice_end(struct buf *b, int err, const struct rpc_detail *detail);

#endif
