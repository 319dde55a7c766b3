#include "daemon/harden.h"

#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cleanup.h"

static enum conf_mlock wanted; /* set once, before threads */
static bool all_locked;

int harden_early(const struct conf *conf)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return ERR_IO;
	if (conf->sandbox && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return ERR_IO;
	return 0;
}

static bool has_cap_ipc_lock(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	return syscall(SYS_capget, &head, data) == 0 && (data[0].effective & 1u << CAP_IPC_LOCK);
}

static rlim_t lock_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return 0;
	return limit.rlim_cur == RLIM_INFINITY || has_cap_ipc_lock() ? RLIM_INFINITY : limit.rlim_cur;
}

int harden_memory(const struct conf *conf)
{
	static const enum arena_policy policies[] = {
		[CONF_MLOCK_AUTO] = ARENA_LOCK_AUTO,
		[CONF_MLOCK_REQUIRE] = ARENA_LOCK_REQUIRE,
		[CONF_MLOCK_OFF] = ARENA_LOCK_OFF,
	};

	wanted = conf->mlock;
	if (wanted != CONF_MLOCK_OFF && lock_limit() == RLIM_INFINITY)
		all_locked = mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
	return arena_init(policies[wanted]);
}

/* The kernel's own count covers mlockall, mlock and memfd_secret alike. */
static size_t locked_bytes(void)
{
	CLEANUP(file_closep) FILE *f = fopen("/proc/self/status", "re");
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "VmLck:", 6) == 0)
			return (size_t)strtoul(line + 6, NULL, 10) * 1024;
	}
	return 0;
}

void harden_status(struct service_status *ret)
{
	struct arena_status arena;
	rlim_t limit = lock_limit();

	arena_get_status(&arena);
	ret->locked_bytes = locked_bytes();
	ret->lock_limit_bytes = limit == RLIM_INFINITY ? SIZE_MAX : (size_t)limit;
	if (arena.locked_bytes < arena.mapped_bytes)
		ret->mlock = "none";
	else
		ret->mlock = all_locked ? "all" : "arena";
	if (wanted != CONF_MLOCK_OFF && arena.locked_bytes < arena.mapped_bytes)
		ret->problems[ret->n_problems++] =
			"some memory that holds keys is not locked and may be swapped out: raise LimitMEMLOCK (ulimit -l)";
}
