/* audit tail, verify */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/b64.h"
#include "base/json.h"
#include "base/jw.h"
#include "base/scan.h"
#include "ctl/offline.h"
#include "ctl/progress.h"
#include "keystore/audit.h"

#define MAX_PARAMS 256
#define PAGE	   1000 /* the most that e2eed gives at once */
#define NEWEST	   10	/* shown without --since */
#define FOLLOW_MS  1000

static const char no_entries[] = "No entries; log.audit in e2eed.conf says whether a trail is kept.\n";

/* ---- pages ---- */

/* The entries behind number @since, as an array; borrowed from the client until the next call. */
static int read_page(struct ctl *x, uint64_t since, unsigned limit, struct bytes *ret)
{
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	struct answer answer = { 0 };
	int r;

	jw_object(&params, NULL);
	jw_int(&params, "since", (int64_t)since);
	jw_int(&params, "limit", limit);
	jw_object_end(&params);
	r = ctl_call(x, "readAudit", &params, &answer);
	if (r != CTL_OK)
		return r;
	if (answer.failed)
		return ctl_refused(x, &answer);
	if (scan_type(answer.json) != SCAN_OBJECT || !scan_find(answer.json, BYTES_LIT("entries"), ret) ||
	    scan_type(*ret) != SCAN_ARRAY) {
		say("e2eed's answer cannot be read; compare the --version of e2eed and e2eectl");
		return CTL_FAILED;
	}
	return CTL_OK;
}

/* The number of @entry; 0 where it has none. */
static uint64_t number_of(struct bytes entry)
{
	struct bytes value;
	uint64_t n;

	return scan_type(entry) == SCAN_OBJECT && scan_find(entry, BYTES_LIT("n"), &value) &&
			       ctl_number((const char *)value.p, value.n, &n)
		       ? n
		       : 0;
}

/* ---- tail ---- */

static int any_behind(struct ctl *x, uint64_t n, bool *ret)
{
	struct bytes entries = BYTES_NONE, entry;
	struct scan_iter it;
	int r = read_page(x, n, 1, &entries);

	if (r != CTL_OK)
		return r;
	it = scan_iter(entries);
	*ret = scan_next_element(&it, &entry);
	return CTL_OK;
}

/* The number of the newest entry, in some forty questions however long the trail is. 0: there is none. */
static int find_newest(struct ctl *x, uint64_t *ret)
{
	uint64_t below = 0,
		 end = 1; /* there is an entry behind the one, unless below is 0, and none behind the other */
	bool any;
	int r = any_behind(x, 0, &any);

	if (r != CTL_OK || !any) {
		*ret = 0;
		return r;
	}
	while (r == CTL_OK && any && end < (uint64_t)1 << 52) {
		r = any_behind(x, end, &any);
		if (any) {
			below = end;
			end *= 2;
		}
	}
	while (r == CTL_OK && end - below > 1) {
		uint64_t middle = below + (end - below) / 2;

		r = any_behind(x, middle, &any);
		if (any)
			below = middle;
		else
			end = middle;
	}
	*ret = end;
	return r;
}

static void put_actor(struct table *t, const json_t *actor)
{
	CLEANUP(buf_fini) struct buf text = BUF_INIT(4096);

	if (json_is_integer(json_object_get(actor, "uid"))) {
		buf_printf(&text, "uid %" PRId64 ", pid %" PRId64, ctl_int(actor, "uid"), ctl_int(actor, "pid"));
	} else if (json_is_string(json_object_get(actor, "appId"))) {
		buf_put_str(&text, "app ");
		buf_put_str(&text, ctl_str(actor, "appId"));
	} else {
		buf_put_str(&text, "e2eed");
	}
	buf_put_byte(&text, '\0');
	table_text(t, buf_err(&text) ? "?" : (const char *)text.p);
}

/* One page as rows, in columns as wide as those of the pages before. */
static int put_rows(struct ctl *x, struct table *t, struct bytes entries, bool header)
{
	struct scan_iter it = scan_iter(entries);
	struct bytes entry;

	table_restart(t);
	if (header) {
		table_pair(t, "N", "TIME");
		table_pair(t, "WHO", "ACTION");
		table_pair(t, "TARGET", "RESULT");
	}
	while (scan_next_element(&it, &entry)) {
		CLEANUP(json_decrefp) json_t *e = NULL;

		if (json_load(entry, &e) < 0) {
			say("an entry of the audit trail cannot be read");
			return CTL_FAILED;
		}
		table_int(t, ctl_int(e, "n"));
		table_text(t, ctl_str(e, "time"));
		put_actor(t, json_object_get(e, "actor"));
		table_pair(t, ctl_str(e, "action"), ctl_str(e, "target"));
		table_text(t, ctl_str(e, "result"));
	}
	table_print(t, &x->out);
	return CTL_OK;
}

static void put_lines(struct ctl *x, struct bytes entries)
{
	struct scan_iter it = scan_iter(entries);
	struct bytes entry;

	while (scan_next_element(&it, &entry))
		ctl_put_json(x, entry);
}

/* All pages behind @since, which moves. */
static int put_pages(struct ctl *x, struct table *t, uint64_t *since, bool *header)
{
	struct bytes entries = BYTES_NONE, entry;
	struct scan_iter it;
	uint64_t n;
	int r;

	for (;;) {
		r = read_page(x, *since, PAGE, &entries);
		if (r != CTL_OK)
			return r;
		n = 0;
		for (it = scan_iter(entries); scan_next_element(&it, &entry);)
			n = number_of(entry);
		if (n <= *since)
			return CTL_OK;
		*since = n;
		if (x->args.given[OPT_JSON])
			put_lines(x, entries);
		else
			r = put_rows(x, t, entries, *header);
		*header = false;
		if (r == CTL_OK)
			r = ctl_flush(x);
		if (r != CTL_OK)
			return r;
	}
}

/* Return: false when whoever reads our output has gone */
static bool wait_a_while(void)
{
	struct pollfd out = { .fd = STDOUT_FILENO };

	return poll(&out, 1, FOLLOW_MS) <= 0 || !(out.revents & (POLLERR | POLLHUP));
}

int cmd_audit_tail(struct ctl *x)
{
	CLEANUP(table_fini) struct table t;
	const char *text = x->args.value[OPT_SINCE];
	bool header = true;
	uint64_t since;
	int r = CTL_OK;

	table_init(&t, 6, 1U, "");
	if (x->args.given[OPT_SINCE]) {
		if (!ctl_number(text, strlen(text), &since) || since >= (uint64_t)1 << 53)
			return usage_error(x, "--since takes the number of an entry, not '%.100s'", text);
	} else {
		r = find_newest(x, &since);
		since -= since < NEWEST ? since : NEWEST;
	}
	do {
		if (r == CTL_OK)
			r = put_pages(x, &t, &since, &header);
	} while (r == CTL_OK && x->args.given[OPT_FOLLOW] && wait_a_while());
	if (r == CTL_OK && header && !x->args.given[OPT_JSON])
		buf_put_str(&x->out, x->args.given[OPT_SINCE] ? "No entries behind that number.\n" : no_entries);
	return r;
}

/* ---- verify ---- */

static void put_verified(struct ctl *x, const char *path, uint64_t n, const char *mac)
{
	if (x->args.given[OPT_JSON]) {
		jw_object(&x->out, NULL);
		jw_bool(&x->out, "ok", true);
		if (path)
			jw_str(&x->out, "path", path);
		jw_int(&x->out, "entries", (int64_t)n);
		jw_str(&x->out, "mac", mac);
		jw_object_end(&x->out);
		buf_put_byte(&x->out, '\n');
		return;
	}
	if (n == 0) { /* nothing was found whole here, least of all a trail that is not kept */
		buf_put_str(&x->out, path ? "No whole entry is in it.\n" : no_entries);
		return;
	}
	buf_printf(&x->out,
		   n == 1 ? "Whole: %" PRIu64 " entry, and it authenticates.\n"
			  : "Whole: %" PRIu64 " entries, none missing between them, and each authenticates.\n",
		   n);
	buf_printf(&x->out,
		   "The last one has the MAC %.64s;\nnoted elsewhere, it shows later that none was cut off the end.\n",
		   mac);
}

/* The daemon authenticates what it reads; that nothing is left out on the way shows in the numbers. */
static int check_page(struct bytes entries, uint64_t *n, char ret_mac[AUDIT_MAC_SIZE * 2 + 1])
{
	struct scan_iter it = scan_iter(entries);
	struct bytes entry, mac = BYTES_NONE;

	while (scan_next_element(&it, &entry)) {
		if (number_of(entry) != *n + 1) {
			say("the audit trail has a gap: entry %" PRIu64 " is followed by number %" PRIu64, *n,
			    number_of(entry));
			return CTL_FAILED;
		}
		++*n;
		if (scan_find(entry, BYTES_LIT("mac"), &mac) && scan_type(mac) == SCAN_STRING &&
		    scan_str_raw(mac, &mac) && mac.n == (size_t)AUDIT_MAC_SIZE * 2) {
			memcpy(ret_mac, mac.p, mac.n);
			ret_mac[mac.n] = '\0';
		}
	}
	return CTL_OK;
}

static int verify_online(struct ctl *x)
{
	char mac[AUDIT_MAC_SIZE * 2 + 1] = "";
	struct bytes entries = BYTES_NONE;
	uint64_t n = 0, before;
	int r;

	do {
		before = n;
		r = read_page(x, n, PAGE, &entries);
		if (r == CTL_OK)
			r = check_page(entries, &n, mac);
	} while (r == CTL_OK && n > before);
	if (r == CTL_OK)
		put_verified(x, NULL, n, mac);
	return r;
}

static int count_line(void *arg, struct bytes line)
{
	struct progress *progress = arg;

	(void)line; /* it is verified already */
	(void)atomic_fetch_add(&progress->count, 1);
	return 0;
}

static int audit_key(const struct ctl *x, struct buf *why, struct secret **ret, struct store_info *ret_info)
{
	CLEANUP(store_freep) struct store *store = NULL;
	int r = offline_read(x, x->args.value[OPT_KEYSTORE], why, &store);

	if (r < 0)
		return r;
	store_get_info(store, ret_info);
	return store_audit_key(store, ret);
}

static void put_notes(struct ctl *x, const struct audit_info *audit, const struct store_info *store)
{
	if (audit->torn)
		buf_printf(&x->out,
			   "Its last %" PRIu64 " bytes are an entry that a crash, or a look in mid-write, cut short.\n",
			   audit->torn);
	if (audit->n && anchor_mark_older((struct anchor_mark){ store->log.generation, store->seq },
					  (struct anchor_mark){ audit->generation, audit->seq }))
		buf_put_str(&x->out,
			    "The keystore given is older than its last entry: a backup, or it was put back.\n");
}

static int verify_file(struct ctl *x, const char *path)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(16384);
	CLEANUP(secret_freep) struct secret *key = NULL;
	char mac[AUDIT_MAC_SIZE * 2 + 1] = "";
	struct store_info store;
	struct audit_info audit;
	struct progress progress;
	int r = audit_key(x, &why, &key, &store);

	if (r < 0)
		return ctl_failed(x, r, &why);
	progress_start(&progress, "verifying entries");
	r = audit_verify(path, key, count_line, &progress, &why, &audit);
	progress_stop(&progress);
	if (r < 0)
		return ctl_failed(x, r, &why);
	if (audit.n)
		hex_encode(BYTES(audit.mac, sizeof(audit.mac)), mac);
	put_verified(x, path, audit.n, mac);
	if (!x->args.given[OPT_JSON])
		put_notes(x, &audit, &store);
	return CTL_OK;
}

int cmd_audit_verify(struct ctl *x)
{
	int r = offline_usage(x, x->n_operands == 1);

	if (r != CTL_OK)
		return r;
	if (x->n_operands && !x->args.given[OPT_KEYSTORE])
		return usage_error(x, "--keystore is missing: the trail's key comes out of the keystore");
	return x->n_operands ? verify_file(x, x->operands[0]) : verify_online(x);
}
