// A daemon as the tests of memory start it: as an ordinary user or as root, under a limit, with memfd_secret or without.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, startDaemon, temporaryFolder } from '../../e2e/lib/daemon.mjs';

const NOBODY = 65534;
const HELPER = join(ROOT, 'build/release/without_memfd_secret');

// As that user the program cannot be run from any folder, so it gets a copy. $0: the folder; then the program and its arguments.
const AS_USER = `chown -R ${NOBODY}:${NOBODY} "$0" && install -o ${NOBODY} -m 0500 "$1" "$0/e2eed" && shift && exec setpriv \
--reuid=${NOBODY} --regid=${NOBODY} --clear-groups --inh-caps=-all --bounding-set=-all "$HELPER" "$0/e2eed" "$@"`;
const AS_ROOT = 'exec "$HELPER" "$@"';

// user: 'root' (may lock everything) or 'nobody'; limit: RLIMIT_MEMLOCK in bytes; secretmem: false hides memfd_secret
export function startScene({ user = 'nobody', limit, secretmem = true, mlock = 'auto', expectExit = false, threads = 2 }) {
	if (process.getuid() !== 0) throw new Error('the memory of an undumpable process is for root alone: run this test as root');
	if (!existsSync(HELPER)) throw new Error(`${HELPER} is missing: make memory-programs`);
	const dir = temporaryFolder();
	const script = (user === 'root' ? AS_ROOT : AS_USER).replace('"$HELPER"', secretmem ? '' : `"${HELPER}"`);
	const wrap = [...(limit === undefined ? [] : ['prlimit', `--memlock=${limit}:${limit}`]), 'sh', '-c', script, dir];
	return startDaemon({ dir, wrap, expectExit, config: { security: { mlock }, workers: { threads } } });
}

// What the kernel would write into a core file, had the daemon not forbidden it: gdb goes by the same rules (core(5), madvise(2)).
export function dumpCore(pid, dir) {
	const path = join(dir, 'core');
	execFileSync('gdb', ['-nx', '-batch', '-iex', 'set auto-solib-add off', '-iex', 'set debuginfod enabled off',
		'-ex', 'set use-coredump-filter on', '-ex', 'set dump-excluded-mappings off', '-ex', `attach ${pid}`,
		'-ex', `gcore ${path}`, '-ex', 'detach'], { stdio: ['ignore', 'pipe', 'pipe'] });
	return path;
}
